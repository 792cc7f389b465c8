//! Bad input at the command line and at the door of a real shard: a clear answer, and nobody else notices.

use std::path::Path;
use std::process::{Command, Output};

use everhold::testing::player::{OldConnections, Player, ticket};
use everhold_protocol::client::Notice;
use everhold_protocol::{Credential, RefusalCode};

use crate::world::{World, all_zones, meadow};

fn everhold(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_everhold"))
        .args(arguments)
        .output()
        .expect("the binary runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_unknown_configuration_key_ends_the_start_and_names_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("shard.toml");
    std::fs::write(&config, "[lease]\nttl = 3\n").unwrap();
    let output = everhold(&["shard", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        stderr(&output).contains("did you mean `lease.ttl_ms`?"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_zone_that_the_world_does_not_have_ends_the_start() {
    let output = everhold(&["shard", "--zone", "atlantis"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        stderr(&output).contains("this world has no zone `atlantis`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_unwritable_state_directory_ends_the_start_and_is_named() {
    // Not even root can make a directory below a file.
    let file = tempfile::NamedTempFile::new().unwrap();
    let state = file.path().join("world");
    let keys = tempfile::tempdir().unwrap();
    let output = everhold(&[
        "shard",
        "--state",
        state.to_str().unwrap(),
        "--keys",
        keys.path().to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(state.to_str().unwrap()), "{}", stderr(&output));
}

#[test]
fn inspecting_a_world_that_is_not_there_says_so() {
    let output = everhold(&["inspect", "--state", "/nonexistent/world"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("there is no world at /nonexistent/world"),
        "{}",
        stderr(&output)
    );
    assert!(!Path::new("/nonexistent").exists(), "looking makes nothing");
}

/// The code by which this credential is refused, while another player goes on playing.
async fn refusal_beside_a_player(world: &World, credential: Credential) -> RefusalCode {
    let addrs = vec![world.fleet.all[0].addr];
    let mut bystander = world.player(1_000, &meadow(), OldConnections::Close);
    bystander.until_attached_above(0).await;
    let mut intruder = Player::start(&world.keys, addrs, credential, 9, OldConnections::Close);
    let refused = intruder.until("a refusal", |notice| match notice {
        Notice::Refused { code, .. } => Some(*code),
        _ => None,
    });
    let code = refused.await;
    let tick = bystander.until_snapshot().await;
    assert!(bystander.until_snapshot().await > tick, "the bystander's world goes on");
    code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_was_used_is_refused() {
    let mut world = World::new();
    let shard = world.shard(&all_zones());
    let used = ticket(&world.keys, 5, &meadow());
    let addrs = vec![world.fleet.all[shard].addr];
    let credential = Credential::Ticket(used.clone());
    let mut first = Player::start(&world.keys, addrs, credential.clone(), 5, OldConnections::Close);
    first.until_attached_above(0).await;
    assert_eq!(
        refusal_beside_a_player(&world, credential).await,
        RefusalCode::TicketUsed
    );
    first.until_snapshot().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_for_a_zone_that_does_not_exist_is_refused() {
    let mut world = World::new();
    world.shard(&all_zones());
    let credential = Credential::Ticket(ticket(&world.keys, 5, &"atlantis".parse().unwrap()));
    assert_eq!(
        refusal_beside_a_player(&world, credential).await,
        RefusalCode::ZoneUnknown
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_does_not_exist_is_not_resumed() {
    let mut world = World::new();
    world.shard(&all_zones());
    let credential = Credential::Resume {
        zone: meadow(),
        session: everhold_protocol::EntityId::new(1, 77_777),
        secret: [7; 32],
        epoch: 0,
        event_seq: 0,
    };
    assert_eq!(
        refusal_beside_a_player(&world, credential).await,
        RefusalCode::SessionUnknown
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_logs_in_again_takes_its_session_over() {
    let mut world = World::new();
    let shard = world.shard(&all_zones());
    let mut first = world.player(5, &meadow(), OldConnections::Close);
    first.until_attached_above(0).await;
    let mut second = Player::login(
        &world.keys,
        vec![world.fleet.all[shard].addr],
        5,
        // A ticket names where a *new* character is born; this one lives in the meadow.
        &"harbor".parse().unwrap(),
        OldConnections::Close,
    );
    let zone = second.until("attached", |notice| match notice {
        Notice::Attached { zone, .. } => Some(zone.clone()),
        _ => None,
    });
    assert_eq!(zone.await, meadow());
    first
        .until("superseded", |notice| {
            matches!(notice, Notice::Superseded).then_some(())
        })
        .await;
}
