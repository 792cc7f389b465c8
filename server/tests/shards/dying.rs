//! Adopters and owners that die at the worst moment, told by failpoints.

use everhold_protocol::client::Notice;
use everhold_protocol::{Epoch, Heading, Intent};
use everhold_testing::player::{OldConnections, Player};
use rustix::process::Signal;

use crate::world::{PATIENCE, World, all_zones, meadow};

/// A player that has done something, and an owner, an heir that waits asleep, and the epoch so far.
async fn confirmed_player(world: &mut World) -> (usize, usize, Player, Epoch) {
    let owner = world.shard(&all_zones());
    let heir = world.shard(&[]);
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    player.push(Intent::Move(Heading::new(100, 0).expect("a heading")));
    let confirmed = |notice: &Notice| matches!(notice, Notice::Confirmed { seq: 1 }).then_some(());
    player.until("the input is confirmed", confirmed).await;
    (owner, heir, player, epoch)
}

/// The heir has the whole history, and the player goes on with what was confirmed to it.
async fn assert_carried_on(world: &mut World, heir: usize, player: &mut Player, epoch: Epoch) {
    let (new_epoch, _) = world.until_adopted(&meadow(), heir, epoch);
    let attached = player.until("attached by the heir", |notice| match notice {
        Notice::Attached {
            epoch, last_input_seq, ..
        } if *epoch == new_epoch => Some(*last_input_seq),
        _ => None,
    });
    assert_eq!(attached.await, 1, "what was confirmed is known");
    let adoption = world
        .cluster
        .adoptions
        .iter()
        .find(|a| a.report.zone == meadow() && a.report.epoch == new_epoch);
    assert!(adoption.expect("it was waited for").report.digest_equal);
    player.until_snapshot().await;
}

/// The owner dies, an adopter comes and dies at `failpoint`, and the heir wakes up.
async fn adopter_dies_at(failpoint: &str) {
    let mut world = World::new().sabotaged();
    let (owner, heir, mut player, epoch) = confirmed_player(&mut world).await;
    let adopter = world.shard_with(&[], &["--failpoint", failpoint]);
    world.cluster.signal(heir, Signal::STOP).expect("a signal");
    let before = player.own();
    world.cluster.kill(owner).expect("a kill");
    world.cluster.wait_until_dead(adopter, PATIENCE).expect("it dies");
    world.cluster.signal(heir, Signal::CONT).expect("a signal");
    assert_carried_on(&mut world, heir, &mut player, Epoch(epoch.0 + 1)).await;
    assert_eq!(player.own().gold, before.gold);
}

#[tokio::test(flavor = "multi_thread")]
async fn adopter_that_dies_during_the_replay_is_followed_by_another() {
    adopter_dies_at("replay@meadow").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adopter_that_dies_right_after_its_epoch_began_is_followed_by_another() {
    adopter_dies_at("epoch-started@meadow").await;
}

/// The owner dies at `failpoint`, while a checkpoint's head moves.
async fn owner_dies_at(failpoint: &str) {
    let mut world = World::new().sabotaged();
    let heir = world.shard(&[]);
    let owner = world.shard_with(&all_zones(), &["--failpoint", failpoint]);
    // It dies at its first checkpoint, which comes at once.
    world.cluster.wait_until_dead(owner, PATIENCE).expect("it dies");
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let (epoch, _) = world.until_adopted(&meadow(), heir, Epoch::FIRST);
    assert_eq!(player.until_attached_above(Epoch(epoch.0 - 1)).await, epoch);
    player.until_snapshot().await;
    let mut adopted = world.cluster.adoptions.iter().filter(|a| a.process == heir);
    assert!(adopted.all(|a| a.report.digest_equal));
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_that_dies_before_the_head_moves_leaves_a_whole_history() {
    owner_dies_at("head-unmoved@meadow").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_that_dies_after_the_head_moved_leaves_a_whole_history() {
    owner_dies_at("head-moved@meadow").await;
}
