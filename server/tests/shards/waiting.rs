//! Connections that have proven to be players and are not attached: how long they keep their place.

use everhold_core::ingress::credential::SECRET_RANDOM_BYTES;
use everhold_core::limits::ACCOUNT_WAITING_MAX;
use everhold_local_cluster::LocalCluster;
use everhold_os::clock;
use everhold_protocol::ticket::{TicketClaims, sign};
use everhold_protocol::{
    Account, ClientMessage, Credential, Epoch, PROTOCOL_VERSION, RefusalCode, ServerMessage, SessionId, ZoneName,
};
use everhold_testing::crowd::{Crowd, PeerId};
use everhold_testing::player::{OldConnections, ticket};
use everhold_testing::redis::Persistence;
use rustix::process::Signal;

use crate::visitor::{Visitor, owner, queued, resume};
use crate::world::{PATIENCE, World, all_zones, meadow};

fn forest() -> ZoneName {
    "forest".parse().expect("a zone name")
}

/// Starts a shard in a world whose forest no shard serves.
fn shard_without_the_forest(world: &mut World) -> usize {
    world.shard_configured(&[meadow()], "zones_max = 1\n")
}

/// A peer that has shown this ticket, which is made when the handshake is over.
fn show(crowd: &mut Crowd, ticket: impl FnOnce() -> Vec<u8>) -> PeerId {
    knock(crowd, || Credential::Ticket(ticket()))
}

fn knock(crowd: &mut Crowd, credential: impl FnOnce() -> Credential) -> PeerId {
    let peer = crowd.connect(None);
    assert!(crowd.turn_until(|crowd| crowd.peer(peer).is_connected), "a handshake");
    let hello = ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        credential: credential(),
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
fn secret_moves_nobody_who_waits_with_another_and_a_ticket_moves_them_all() {
    let mut world = World::new();
    let shard = shard_without_the_forest(&mut world);
    let mut crowd = world.crowd(shard);
    let keys = world.keys.resume_keys();
    let credential = |secret: usize| {
        let secret = keys.make(Account(1), [secret as u8; SECRET_RANDOM_BYTES]);
        resume(&forest(), SessionId::new(1, 2), secret, Epoch::NONE)
    };
    let mut peers = [0; ACCOUNT_WAITING_MAX].map(|_| None);
    for (secret, peer) in peers.iter_mut().enumerate() {
        let parked = knock(&mut crowd, || credential(secret));
        until_told_to_wait(&mut crowd, parked);
        *peer = Some(parked);
    }
    let mut peers = peers.map(|peer| peer.expect("all knocked"));
    let one_more = knock(&mut crowd, || credential(ACCOUNT_WAITING_MAX));
    let code = until_closed(&mut crowd, one_more);
    assert_eq!(code, Some(RefusalCode::Full), "all the others wait still");
    let again = knock(&mut crowd, || credential(0));
    until_told_to_wait(&mut crowd, again);
    let earlier = std::mem::replace(&mut peers[0], again);
    assert_eq!(until_closed(&mut crowd, earlier), Some(RefusalCode::Superseded));
    let newcomer = show(&mut crowd, || ticket(&world.keys, 1, &forest()));
    until_told_to_wait(&mut crowd, newcomer);
    for peer in peers {
        assert_eq!(until_closed(&mut crowd, peer), Some(RefusalCode::Superseded));
    }
}

/// A ticket that is good until so many seconds from now. The clock of its signer may be a little behind, so 5 s ago is
/// not too late.
fn ticket_good_for(world: &World, account: u64, zone: ZoneName, seconds: i64) -> Vec<u8> {
    let claims = TicketClaims {
        id: [account as u8; 16],
        account: Account(account),
        zone,
        expires_unix_s: clock::unix_s().saturating_add_signed(seconds),
    };
    let key = world
        .keys
        .ticket_signing_key()
        .expect("development keys have both halves");
    sign(key, &claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomer_that_queued_is_let_in_when_its_zone_comes_back_though_its_ticket_has_expired() {
    let mut world = World::on_redis(Persistence::None);
    world.shard_configured(&[meadow()], "zones_max = 1\n[load]\nplayers_max = 1\n");
    let mut player = Visitor::log_in(&world, 1).await;
    player.hear_attached().await;
    let shown = Credential::Ticket(ticket_good_for(&world, 2, meadow(), -2));
    let mut newcomer = Visitor::knock(&world.keys, owner(&world), shown).await;
    assert_eq!(newcomer.hear().await, queued(1));
    // It queues nowhere, and goes later.
    let shown = Credential::Ticket(ticket_good_for(&world, 3, forest(), 0));
    let mut other = Visitor::knock(&world.keys, owner(&world), shown).await;
    assert_eq!(other.hear().await, ServerMessage::Wait);
    world.redis().signal(Signal::STOP);
    let suspended = |cluster: &LocalCluster| !cluster.ends.is_empty();
    let cluster = &mut world.cluster;
    cluster
        .wait_until("the zone is suspended", PATIENCE, suspended)
        .expect("its lease runs out");
    assert_eq!(other.hear_refusal().await, RefusalCode::TicketExpired);
    world.redis().signal(Signal::CONT);
    while newcomer.hear().await == ServerMessage::Wait {}
    newcomer.say(&ClientMessage::Logout).await;
    assert_eq!(newcomer.close_code().await, RefusalCode::Bye);
}

#[test]
fn newcomer_waits_no_longer_than_its_ticket_is_good() {
    let mut world = World::new();
    let shard = shard_without_the_forest(&mut world);
    let mut crowd = world.crowd(shard);
    let newcomer = show(&mut crowd, || ticket_good_for(&world, 1, forest(), -2));
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
    player.until_attached_above(Epoch::NONE).await;
    player.until_told_of(world.cluster.all[other].addr).await;
    let addr = world.cluster.all[owner].addr;
    let mut crowd = world.crowd(other);
    let peer = show(&mut crowd, || ticket(&world.keys, 1, &meadow()));
    assert_eq!(until_closed(&mut crowd, peer), Some(RefusalCode::Bye));
    let heard = &crowd.peer(peer).heard;
    let is_redirect =
        |message: &ServerMessage| matches!(message, ServerMessage::Redirect { addr: to, .. } if *to == addr);
    assert!(heard.iter().any(is_redirect), "{heard:?}");
}
