//! Admission to a zone of a real shard: who comes in, who waits, and who is told that it knows them not.

use everhold_core::ingress::credential::SECRET_RANDOM_BYTES;
use everhold_protocol::client::Notice;
use everhold_protocol::{Account, Credential, Epoch, RefusalCode, ServerMessage, SessionId};
use everhold_testing::player::{OldConnections, ticket};

use crate::visitor::{Visitor, owner, queued, resume};
use crate::world::{World, meadow};

/// A shard whose zone is full with accounts 1 and 2.
pub(crate) async fn full(world: &mut World) -> [Visitor; 2] {
    world.shard_configured(&[meadow()], "[load]\nplayers_max = 2\n");
    let mut players = [Visitor::log_in(world, 1).await, Visitor::log_in(world, 2).await];
    for player in &mut players {
        player.hear_attached().await;
    }
    players
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_of_a_lower_epoch_says_wait_then_session_unknown_and_spends_no_secret() {
    let mut world = World::new();
    world.shard(&[meadow()]);
    let mut player = Visitor::log_in(&world, 1).await;
    let (session, secret, owned) = player.hear_attached().await;
    // Far ahead: a busy machine may lose the short lease once or twice.
    for epoch in [owned.0 + 1_000, u32::MAX].map(Epoch) {
        let mut ahead = Visitor::knock(&world.keys, owner(&world), resume(&meadow(), session, secret, epoch)).await;
        assert_eq!(ahead.hear().await, ServerMessage::Wait, "epoch {epoch}");
        assert_eq!(ahead.hear_refusal().await, RefusalCode::SessionUnknown, "epoch {epoch}");
    }
    let mut back = Visitor::knock(&world.keys, owner(&world), resume(&meadow(), session, secret, owned)).await;
    assert_eq!(back.hear_attached().await.0, session, "the secret is still good");
    assert_eq!(player.hear().await, ServerMessage::Superseded);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_plays_logs_in_again_past_the_queue() {
    let mut world = World::with_default_leases();
    let [mut first, _second] = full(&mut world).await;
    let mut newcomer = Visitor::log_in(&world, 3).await;
    assert_eq!(newcomer.hear().await, queued(1));
    let mut again = Visitor::log_in(&world, 1).await;
    again.hear_attached().await;
    assert_eq!(first.hear().await, ServerMessage::Superseded);
    let mut later = Visitor::log_in(&world, 4).await;
    assert_eq!(later.hear().await, queued(2), "the newcomer has its place still");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_played_before_its_zone_was_adopted_logs_in_again_past_the_queue() {
    let mut world = World::with_default_leases();
    world.shard(&[meadow()]);
    let mut players = [1, 2].map(|account| world.player(account, &meadow(), OldConnections::Close));
    for player in &mut players {
        player.until_attached_above(Epoch::NONE).await;
    }
    world.shard_configured(&[], "[load]\nplayers_max = 2\n");
    let spare = world.cluster.all[1].addr;
    for player in &mut players {
        player.until_told_of(spare).await;
    }
    world.cluster.kill(0).expect("it lives");
    for player in &mut players {
        player.until_attached_above(Epoch(1)).await;
    }
    let mut newcomer = Visitor::log_in(&world, 3).await;
    assert_eq!(newcomer.hear().await, queued(1));
    Visitor::log_in(&world, 1).await.hear_attached().await;
    let superseded = |notice: &Notice| matches!(notice, Notice::Superseded).then_some(());
    players[0].until("superseded", superseded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_connections_of_one_account_hold_one_place_in_the_queue() {
    let mut world = World::with_default_leases();
    let _players = full(&mut world).await;
    let shown = ticket(&world.keys, 3, &meadow());
    let mut earlier = Visitor::log_in(&world, 3).await;
    assert_eq!(earlier.hear().await, queued(1));
    let mut honest = Visitor::log_in(&world, 4).await;
    assert_eq!(honest.hear().await, queued(2));
    for _ in 0..20 {
        let credential = Credential::Ticket(shown.clone());
        let mut later = Visitor::knock(&world.keys, owner(&world), credential).await;
        assert_eq!(later.hear().await, queued(1), "it keeps the account's place");
        assert_eq!(earlier.hear().await, ServerMessage::Superseded);
        earlier = later;
    }
    let mut last = Visitor::log_in(&world, 5).await;
    assert_eq!(last.hear().await, queued(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_keeps_its_place_in_the_queue_when_somebody_shows_an_old_secret_of_its_account() {
    let mut world = World::with_default_leases();
    let [first, _second] = full(&mut world).await;
    let mut newcomer = Visitor::log_in(&world, 3).await;
    assert_eq!(newcomer.hear().await, queued(1));
    let old = world.keys.resume_keys().make(Account(3), [1; SECRET_RANDOM_BYTES]);
    let credential = resume(&meadow(), SessionId::new(1, 2), old, Epoch::NONE);
    let mut thief = Visitor::knock(&world.keys, owner(&world), credential).await;
    assert_eq!(thief.hear_refusal().await, RefusalCode::SessionUnknown);
    drop(first);
    newcomer.hear_attached().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_ticket_does_not_wait_in_the_queue() {
    let mut world = World::with_default_leases();
    world.shard_configured(&[meadow()], "[load]\nplayers_max = 2\n");
    let spent = Credential::Ticket(ticket(&world.keys, 1, &meadow()));
    let mut first = Visitor::knock(&world.keys, owner(&world), spent.clone()).await;
    first.hear_attached().await;
    let mut second = Visitor::log_in(&world, 2).await;
    second.hear_attached().await;
    let mut replayed = Visitor::knock(&world.keys, owner(&world), spent).await;
    assert_eq!(replayed.hear_refusal().await, RefusalCode::TicketUsed);
    let mut newcomer = Visitor::log_in(&world, 3).await;
    assert_eq!(newcomer.hear().await, queued(1));
}
