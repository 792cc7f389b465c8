//! Accounts: operators ban them, and a ticket is good once, wherever it is shown.

use std::process::Command;
use std::time::{Duration, Instant};

use everhold_protocol::{Credential, Epoch, RefusalCode, ServerMessage};
use everhold_testing::player::ticket;
use everhold_testing::postgres::{Disk, PostgresServer};
use everhold_testing::redis::{Persistence, RedisServer};
use rustix::process::Signal;

use crate::visitor::{Visitor, resume};
use crate::world::{PATIENCE, World, meadow};

const DATABASE: &str = "world";

/// The time within which a ban ends a session while the store answers, as OPERATIONS.md says, and as much again for a
/// busy machine.
const BAN_HEARD: Duration = Duration::from_secs(10);

/// Runs `everhold account` on the world, and returns what it prints.
#[track_caller]
fn account(world: &World, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everhold"));
    command.arg("account").args(words);
    command.arg("--state").arg(world.cluster.world());
    command.arg("--config").arg(world.world_file("other.toml"));
    if let Some(redis) = &world.redis {
        command.args(["--store", &redis.url()]);
    }
    let output = command.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ban(world: &World, number: &str) {
    let said = account(world, &["ban", number, "--by", "anne", "--reason", "spam"]);
    assert!(said.contains("is banned without an end"), "{said}");
}

/// Waits until a log-in at the first living shard has an answer other than that the client waits, and returns it.
async fn answer_to_login(world: &World, account: u64) -> Result<(), RefusalCode> {
    let mut visitor = Visitor::log_in(world, account).await;
    loop {
        match visitor.hear().await {
            ServerMessage::Wait => {}
            ServerMessage::Attached(_) => return Ok(()),
            ServerMessage::Refused { code, .. } => return Err(code),
            other => panic!("neither attached nor refused: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ban_ends_the_session_and_refuses_ticket_and_secret_until_it_is_lifted() {
    let mut world = World::with_default_leases();
    let shard = world.shard_configured(&[meadow()], "");
    let mut player = Visitor::log_in(&world, 7).await;
    let (session, secret, epoch) = player.hear_attached().await;
    let mut other = Visitor::log_in(&world, 8).await;
    other.hear_attached().await;

    let asked = Instant::now();
    ban(&world, "7");
    assert_eq!(player.close_code().await, RefusalCode::Banned);
    assert!(asked.elapsed() < BAN_HEARD, "{:?}", asked.elapsed());
    assert_eq!(answer_to_login(&world, 7).await, Err(RefusalCode::Banned));
    let addr = world.cluster.all[shard].addr;
    let credential = resume(&meadow(), session, secret, epoch);
    let mut back = Visitor::knock(&world.keys, addr, credential).await;
    assert_eq!(back.hear_refusal().await, RefusalCode::Banned);
    assert_eq!(answer_to_login(&world, 9).await, Ok(()), "others play");
    assert!(account(&world, &["show", "7"]).contains("\"holds\": true"));

    account(&world, &["unban", "7", "--by", "anne"]);
    assert_eq!(answer_to_login(&world, 7).await, Ok(()));
    assert!(account(&world, &["show", "7"]).contains("\"holds\": false"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ban_with_an_end_is_over_by_itself() {
    let mut world = World::with_default_leases();
    world.shard_configured(&[meadow()], "");
    assert_eq!(answer_to_login(&world, 7).await, Ok(()));
    account(&world, &["ban", "7", "--by", "anne", "--for", "5s"]);
    assert_eq!(answer_to_login(&world, 7).await, Err(RefusalCode::Banned));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(answer_to_login(&world, 7).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn ban_holds_though_the_owner_dies_before_it_hears_of_it_and_redis_forgets_and_all_shards_restart() {
    let server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    let mut world = World::on_redis(Persistence::None);
    let lines = format!("[archive]\nurl = \"{}\"\n", server.url(DATABASE));
    let owner = world.shard_configured(&[meadow()], &lines);
    let mut player = Visitor::log_in(&world, 7).await;
    let (session, secret, epoch) = player.hear_attached().await;
    let heir = world.shard_configured(&[], &lines);

    world.cluster.signal(owner, Signal::STOP).expect("a signal");
    ban(&world, "7");
    world.cluster.kill(owner).expect("a kill");
    let (epoch, _) = world.until_adopted(&meadow(), heir, epoch);
    let addr = world.cluster.all[heir].addr;
    let credential = resume(&meadow(), session, secret, epoch);
    let mut back = Visitor::knock(&world.keys, addr, credential).await;
    assert_eq!(back.hear_refusal().await, RefusalCode::Banned);

    assert_eq!(world.redis().command(&["FLUSHALL"]).trim(), "OK");
    assert_eq!(
        answer_to_login(&world, 7).await,
        Err(RefusalCode::Banned),
        "the archive says so"
    );
    let is_filled = |redis: &RedisServer| redis.command(&["HGET", "everhold:bans", "marker"]).trim() == "whole";
    world.redis().wait_until("the store has the bans again", is_filled);
    assert_eq!(world.redis().command(&["HEXISTS", "everhold:bans", "7"]).trim(), "1");

    world.cluster.kill(heir).expect("a kill");
    let last = world.shard_configured(&[], &lines);
    world.until_adopted(&meadow(), last, Epoch::NONE);
    assert_eq!(answer_to_login(&world, 7).await, Err(RefusalCode::Banned));
    account(&world, &["unban", "7", "--by", "anne"]);
    assert_eq!(answer_to_login(&world, 7).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn ticket_that_was_used_at_one_shard_is_good_at_no_other_also_after_the_first_died() {
    let mut world = World::new();
    let owner = world.shard(&[meadow()]);
    let heir = world.shard(&[]);
    let (owner_addr, heir_addr) = (world.cluster.all[owner].addr, world.cluster.all[heir].addr);
    let used = Credential::Ticket(ticket(&world.keys, 7, &meadow()));
    let mut player = Visitor::knock(&world.keys, owner_addr, used.clone()).await;
    let (_, _, epoch) = player.hear_attached().await;

    let mut thief = Visitor::knock(&world.keys, heir_addr, used.clone()).await;
    let redirected = loop {
        match thief.hear().await {
            ServerMessage::Wait => {}
            ServerMessage::Redirect { addr, .. } => break addr,
            other => panic!("not redirected: {other:?}"),
        }
    };
    assert_eq!(redirected, owner_addr);
    let mut thief = Visitor::knock(&world.keys, redirected, used.clone()).await;
    assert_eq!(thief.hear_refusal().await, RefusalCode::TicketUsed);

    world.cluster.kill(owner).expect("a kill");
    world.until_adopted(&meadow(), heir, epoch);
    let mut thief = Visitor::knock(&world.keys, heir_addr, used).await;
    let asked = Instant::now();
    let code = loop {
        match thief.hear().await {
            ServerMessage::Wait if asked.elapsed() < PATIENCE => {}
            ServerMessage::Refused { code, .. } => break code,
            other => panic!("not refused: {other:?}"),
        }
    };
    assert_eq!(code, RefusalCode::TicketUsed);
}
