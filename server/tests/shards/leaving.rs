//! Players who end their session: what they are told, and when.

use everhold_protocol::{ClientMessage, RefusalCode};
use everhold_testing::redis::Persistence;
use rustix::process::Signal;

use crate::admission::full;
use crate::visitor::{Visitor, owner, queued, resume};
use crate::world::{World, meadow};

#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_of_who_waits_is_done_when_its_turn_comes() {
    let mut world = World::with_default_leases();
    let [first, _second] = full(&mut world).await;
    let mut newcomer = Visitor::log_in(&world, 3).await;
    assert_eq!(newcomer.hear().await, queued(1));
    newcomer.say(&ClientMessage::Logout).await;
    drop(first);
    let (session, secret, epoch) = newcomer.hear_attached().await;
    assert_eq!(newcomer.close_code().await, RefusalCode::Bye);
    let credential = resume(&meadow(), session, secret, epoch);
    let mut again = Visitor::knock(&world.keys, owner(&world), credential).await;
    assert_eq!(again.hear_refusal().await, RefusalCode::SessionUnknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_that_nobody_has_stored_is_not_said_to_be_done_however_often_it_is_asked_for() {
    let mut world = World::on_redis(Persistence::None);
    world.shard(&[meadow()]);
    let mut player = Visitor::log_in(&world, 1).await;
    player.hear_attached().await;
    world.redis().signal(Signal::STOP);
    for _ in 0..2 {
        player.say(&ClientMessage::Logout).await;
    }
    // The zone holds until its lease runs out.
    assert_eq!(player.close_code().await, RefusalCode::Stopping);
    world.redis().signal(Signal::CONT);
}
