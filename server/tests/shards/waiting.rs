//! Connections that have proven to be players and are not attached: how long they keep their place.

use everhold::io::clock;
use everhold::testing::crowd::{Crowd, PeerId};
use everhold::testing::player::{OldConnections, ticket};
use everhold_protocol::ticket::{TicketClaims, sign};
use everhold_protocol::{Account, ClientMessage, Credential, PROTOCOL_VERSION, RefusalCode, ServerMessage, ZoneName};

use crate::world::{World, all_zones, meadow};

fn forest() -> ZoneName {
    "forest".parse().expect("a zone name")
}

/// A shard in a world whose forest nobody serves.
fn shard_without_the_forest(world: &mut World) -> usize {
    world.shard_configured(&[meadow()], "zones_max = 1\n")
}

/// A peer that has shown this ticket, which is made when the handshake is over.
fn show(crowd: &mut Crowd, ticket: impl FnOnce() -> Vec<u8>) -> PeerId {
    let peer = crowd.connect(None);
    assert!(crowd.turn_until(|crowd| crowd.peer(peer).is_connected), "a handshake");
    let hello = ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        credential: Credential::Ticket(ticket()),
    };
    crowd.say(peer, &hello);
    peer
}

fn until_told_to_wait(crowd: &mut Crowd, peer: PeerId) {
    let waits = crowd.turn_until(|crowd| crowd.peer(peer).heard.contains(&ServerMessage::Wait));
    assert!(waits, "it is told to wait: {:?}", crowd.peer(peer).heard);
}

fn until_closed(crowd: &mut Crowd, peer: PeerId) -> Option<RefusalCode> {
    assert!(
        crowd.turn_until(|crowd| crowd.peer(peer).closed.is_some()),
        "it is closed"
    );
    crowd.peer(peer).close_code()
}

#[test]
fn account_keeps_one_connection_that_waits() {
    let mut world = World::new();
    let shard = shard_without_the_forest(&mut world);
    let mut crowd = world.crowd(shard);
    let [earlier, later] = [1, 1].map(|account| {
        let peer = show(&mut crowd, || ticket(&world.keys, account, &forest()));
        until_told_to_wait(&mut crowd, peer);
        peer
    });
    assert_eq!(until_closed(&mut crowd, earlier), Some(RefusalCode::Superseded));
    let other = show(&mut crowd, || ticket(&world.keys, 2, &forest()));
    until_told_to_wait(&mut crowd, other);
    assert!(crowd.peer(later).closed.is_none(), "accounts do not touch each other");
}

#[test]
fn newcomer_waits_no_longer_than_its_ticket_is_good() {
    let mut world = World::new();
    let shard = shard_without_the_forest(&mut world);
    let mut crowd = world.crowd(shard);
    let claims = || TicketClaims {
        id: [1; 16],
        account: Account(1),
        zone: forest(),
        // The clock of its signer may be a little behind.
        expires_unix_s: clock::unix_s() - 2,
    };
    let key = world
        .keys
        .ticket_signing_key()
        .expect("development keys have both halves");
    let newcomer = show(&mut crowd, || sign(key, &claims()));
    until_told_to_wait(&mut crowd, newcomer);
    assert_eq!(until_closed(&mut crowd, newcomer), Some(RefusalCode::TicketExpired));
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_that_was_redirected_is_closed_if_it_stays() {
    let mut world = World::new();
    let owner = world.shard(&all_zones());
    let other = world.shard(&[]);
    // By then the other shard has seen the owner's lease.
    let mut player = world.player(1_000, &meadow(), OldConnections::Close);
    player.until_attached_above(0).await;
    player.until_told_of(world.fleet.all[other].addr).await;
    let addr = world.fleet.all[owner].addr;
    let mut crowd = world.crowd(other);
    let peer = show(&mut crowd, || ticket(&world.keys, 1, &meadow()));
    assert_eq!(until_closed(&mut crowd, peer), Some(RefusalCode::Bye));
    let heard = &crowd.peer(peer).heard;
    let is_redirect =
        |message: &ServerMessage| matches!(message, ServerMessage::Redirect { addr: to, .. } if *to == addr);
    assert!(heard.iter().any(is_redirect), "{heard:?}");
}
