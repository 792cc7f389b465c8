//! Bad input at the command line, and from clients of a real shard: a clear answer, and no other player notices.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use everhold_core::limits::{CONNECTION_BYTES_MAX, DATAGRAMS_MALFORMED_MAX};
use everhold_net::keys;
use everhold_protocol::client::Notice;
use everhold_protocol::limits::{CONTROL_BYTES_MAX, DATAGRAM_BYTES_MAX};
use everhold_protocol::message::encode_frame;
use everhold_protocol::{ClientMessage, Credential, Epoch, PROTOCOL_VERSION, RefusalCode};
use everhold_testing::player::{OldConnections, Player, ticket};
use quinn::VarInt;
use tokio::task::JoinSet;

use crate::world::{PATIENCE, World, all_zones, meadow};

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
    let addrs = vec![world.cluster.all[0].addr];
    let mut bystander = world.player(1_000, &meadow(), OldConnections::Close);
    bystander.until_attached_above(Epoch::NONE).await;
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
    let addrs = vec![world.cluster.all[shard].addr];
    let credential = Credential::Ticket(used.clone());
    let mut first = Player::start(&world.keys, addrs, credential.clone(), 5, OldConnections::Close);
    first.until_attached_above(Epoch::NONE).await;
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
        epoch: Epoch::NONE,
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
    first.until_attached_above(Epoch::NONE).await;
    let mut second = Player::login(
        &world.keys,
        vec![world.cluster.all[shard].addr],
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

/// The most entities that a client which has just logged in knows of within so many of its snapshots.
async fn view_within(player: &mut Player, snapshots: usize) -> usize {
    let mut most = 0;
    for _ in 0..snapshots {
        let entities = player.until("a snapshot", |notice| match notice {
            Notice::Snapshot { entities, .. } => Some(*entities),
            _ => None,
        });
        most = most.max(entities.await);
    }
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_over_a_live_connection_sees_what_is_around_it_at_once() {
    let mut world = World::new();
    world.shard(&all_zones());
    let mut player = world.player(5, &meadow(), OldConnections::Close);
    let around = view_within(&mut player, 25).await;
    assert!(around > 5, "{around} around a spawn point");
    // A store that halts a shard for a moment costs a newcomer its first snapshots: the next one has them.
    let mut views = Vec::new();
    while views.len() < 5 && views.last().is_none_or(|&seen| seen * 2 < around) {
        let mut next = world.player(5, &meadow(), OldConnections::Close);
        views.push(view_within(&mut next, 1).await);
        player = next;
    }
    assert!(
        views.last().is_some_and(|&seen| seen * 2 >= around),
        "{views:?} of {around}"
    );
    drop(player);
}

/// A client that reads next to nothing, and whose writes end only when the server has what they wrote.
fn deaf_client(world: &World) -> quinn::Endpoint {
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(64))
        .receive_window(VarInt::from_u32(64))
        .send_window(2_048);
    let mut config = keys::client_config(world.keys.certificates()).expect("a certificate that was just made");
    config.transport_config(Arc::new(transport));
    let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a UDP port");
    endpoint.set_default_client_config(config);
    endpoint
}

/// A peer that takes all the room there is.
struct Greedy {
    quic: quinn::Connection,
    /// Dropped, they would be reset and stopped.
    _streams: (quinn::SendStream, quinn::RecvStream),
}

/// Logs in and sends everything that the server keeps: a message of the largest size but for its last byte, and all the
/// garbage that is forgiven. It never reads.
async fn fill(endpoint: quinn::Endpoint, addr: SocketAddr, ticket: Vec<u8>) -> Greedy {
    let connecting = endpoint.connect(addr, "everhold").expect("a good address");
    let quic = connecting.await.expect("the handshake succeeds");
    let (mut send, recv) = quic.open_bi().await.expect("a control stream");
    let hello = ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        credential: Credential::Ticket(ticket),
    };
    send.write_all(&encode_frame(&hello).expect("it fits"))
        .await
        .expect("it is read");
    let announced = u32::try_from(CONTROL_BYTES_MAX).expect("a small limit").to_le_bytes();
    send.write_all(&announced).await.expect("it is read");
    send.write_all(&vec![0; CONTROL_BYTES_MAX - 1])
        .await
        .expect("it is read");
    for _ in 0..DATAGRAMS_MALFORMED_MAX {
        let garbage = vec![0xFF; DATAGRAM_BYTES_MAX].into();
        quic.send_datagram_wait(garbage).await.expect("it is read");
    }
    Greedy {
        quic,
        _streams: (send, recv),
    }
}

/// Memory that a process has in use, bytes.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .expect("the kernel says so");
    kib.parse::<u64>().expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_fill_everything_they_may_stay_within_what_a_connection_may_cost() {
    const GREEDY: usize = 200;
    let mut world = World::new();
    let shard = world.shard(&all_zones());
    let (addr, pid) = (world.cluster.all[shard].addr, world.cluster.all[shard].pid);
    let mut bystander = world.player(1_000, &meadow(), OldConnections::Close);
    bystander.until_attached_above(Epoch::NONE).await;
    let before = resident_bytes(pid);
    let endpoint = deaf_client(&world);
    let mut filling = JoinSet::new();
    for account in 0..GREEDY as u64 {
        filling.spawn(fill(endpoint.clone(), addr, ticket(&world.keys, account, &meadow())));
    }
    let filled = tokio::time::timeout(PATIENCE, filling.join_all());
    let greedy = filled.await.expect("the server takes it all");
    let tick = bystander.until_snapshot().await;
    assert!(bystander.until_snapshot().await > tick, "the bystander's world goes on");
    let grown = resident_bytes(pid).saturating_sub(before);
    println!("{} KiB for each of {GREEDY} connections", grown / GREEDY as u64 / 1024);
    let closed: Vec<_> = greedy.iter().filter_map(|peer| peer.quic.close_reason()).collect();
    assert!(closed.is_empty(), "they did nothing that they may not: {closed:?}");
    let bytes_max = (GREEDY * CONNECTION_BYTES_MAX) as u64;
    assert!(grown <= bytes_max, "{grown} bytes for {GREEDY} connections");
}
