//! Peers that make QUIC keep much memory with little data.

use everhold_core::limits::{CONNECTION_BYTES_MAX, PACKETS_PER_S};
use everhold_protocol::limits::CONTROL_BYTES_MAX;
use everhold_protocol::{ClientMessage, Credential, Epoch, PROTOCOL_VERSION};
use everhold_testing::crowd::{Crowd, PeerId};
use everhold_testing::player::{OldConnections, ticket};

use crate::hostile::resident_bytes;
use crate::world::{World, all_zones, meadow};

const PEERS: usize = 16;
/// As many packets at once as a connection may send, but for those of its login.
const PIECES: usize = PACKETS_PER_S as usize - 40;
/// Other traffic between two pieces of a peer: as much as a block of memory that packets once shared.
const BETWEEN_BYTES: usize = 64 * 1024;
const GARBAGE_BYTES: usize = 1_400;

/// A peer that has logged in and begun a message of the largest size.
fn begin(world: &World, crowd: &mut Crowd, account: u64) -> PeerId {
    let peer = crowd.connect(None);
    assert!(crowd.turn_until(|crowd| crowd.peer(peer).is_connected), "a handshake");
    let hello = ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        credential: Credential::Ticket(ticket(&world.keys, account, &meadow())),
    };
    crowd.say(peer, &hello);
    let announced = u32::try_from(CONTROL_BYTES_MAX).expect("a small limit");
    crowd.write(peer, &announced.to_le_bytes());
    crowd.flush(peer);
    assert!(
        crowd.turn_until(|crowd| !crowd.peer(peer).heard.is_empty()),
        "an answer"
    );
    peer
}

/// Sends one byte of the stream and keeps back the one before it.
fn send_piece(crowd: &mut Crowd, peer: PeerId) {
    for is_sent in [false, true] {
        crowd.write(peer, &[0]);
        while crowd.make_packet(peer) {
            if is_sent {
                crowd.send_packet(None);
            }
        }
    }
}

/// Returns when the server has taken what was sent before.
fn catch_up(probes: &mut Crowd, probe: PeerId) {
    let acks = |probes: &mut Crowd| probes.peer(probe).connection.stats().frame_rx.acks;
    let before = acks(probes);
    probes.ping(probe, 1);
    let is_answered = probes.turn_until(|probes| acks(probes) > before);
    let closed = &probes.peer(probe).closed;
    assert!(is_answered, "the server lives, and the probe's connection: {closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scattered_pieces_amid_other_traffic_stay_within_what_a_connection_may_cost() {
    let mut world = World::new().alone();
    let shard = world.shard(&all_zones());
    let pid = world.cluster.all[shard].pid;
    let mut bystander = world.player(1_000, &meadow(), OldConnections::Close);
    bystander.until_attached_above(Epoch::NONE).await;
    let (mut crowd, mut probes) = (world.crowd(shard), world.crowd(shard));
    let peers: Vec<PeerId> = (0..PEERS as u64)
        .map(|account| begin(&world, &mut crowd, account))
        .collect();
    let probe = begin(&world, &mut probes, 900);
    let before = resident_bytes(pid);
    for round in 0..PIECES {
        for peer in &peers {
            send_piece(&mut crowd, *peer);
        }
        for n in 0..BETWEEN_BYTES / GARBAGE_BYTES + 1 {
            crowd.send_garbage(None, &[n as u8; GARBAGE_BYTES]);
        }
        if round % 2 == 0 {
            catch_up(&mut probes, probe);
        }
    }
    catch_up(&mut probes, probe);
    let grown = resident_bytes(pid).saturating_sub(before);
    println!("{} KiB for each of {PEERS} connections", grown / PEERS as u64 / 1024);
    let tick = bystander.until_snapshot().await;
    assert!(bystander.until_snapshot().await > tick, "the bystander's world goes on");
    crowd.turn();
    for peer in peers {
        let closed = &crowd.peer(peer).closed;
        assert!(closed.is_none(), "it did nothing that it may not: {closed:?}");
    }
    let bytes_max = (PEERS * CONNECTION_BYTES_MAX) as u64;
    assert!(grown <= bytes_max, "{grown} bytes for {PEERS} connections");
}
