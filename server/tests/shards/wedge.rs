//! A player's input makes a rule fail: it costs that input, and a failover; not the zone, nor the adopter.

use everhold_protocol::client::Notice;
use everhold_protocol::event::RejectReason;
use everhold_protocol::{Epoch, Event, Heading, Intent, SeqEvent};
use everhold_testing::player::{OldConnections, Player};

use crate::world::{PATIENCE, World, all_zones, meadow};

/// The line of chat at which the rule fails.
const POISON: &str = "abracadabra";

struct Scene {
    owner: usize,
    spare: usize,
    culprit: Player,
    bystander: Player,
    epoch: Epoch,
}

/// Owner, spare (with the same bug), and two players in the meadow.
async fn scene(world: &mut World, plant: &str) -> Scene {
    let plant = format!("{plant}={POISON}");
    let owner = world.shard_with(&all_zones(), &["--plant", &plant]);
    let spare = world.shard_with(&[], &["--plant", &plant]);
    let mut culprit = world.player(7, &meadow(), OldConnections::Close);
    let mut bystander = world.player(8, &meadow(), OldConnections::Close);
    let epoch = culprit.until_attached_above(Epoch::NONE).await;
    bystander.until_attached_above(Epoch::NONE).await;
    culprit.until_told_of(world.cluster.all[spare].addr).await;
    bystander.until_told_of(world.cluster.all[spare].addr).await;
    Scene {
        owner,
        spare,
        culprit,
        bystander,
        epoch,
    }
}

async fn until_confirmed(player: &mut Player, wanted: u64) {
    let confirmed = |notice: &Notice| matches!(notice, Notice::Confirmed { seq } if *seq >= wanted).then_some(());
    player.until("an input is confirmed", confirmed).await;
}

async fn until_rejected(player: &mut Player, wanted: u64) -> RejectReason {
    let rejected = player.until("the input is rejected", |notice| match notice {
        Notice::Event(SeqEvent {
            event: Event::Rejected { seq, reason },
            ..
        }) if *seq == wanted => Some(*reason),
        _ => None,
    });
    rejected.await
}

/// The spare has the zone, refuses what made it fail, and everybody goes on.
async fn assert_carried_on(world: &mut World, scene: &mut Scene) {
    let (epoch, _) = world.until_adopted(&meadow(), scene.spare, scene.epoch);
    assert_eq!(scene.bystander.until_attached_above(scene.epoch).await, epoch);
    assert_eq!(until_rejected(&mut scene.culprit, 2).await, RejectReason::Quarantined);
    scene
        .culprit
        .push(Intent::Move(Heading::new(0, 100).expect("a heading")));
    until_confirmed(&mut scene.culprit, 3).await;
    scene.bystander.push(Intent::Say("what was that?".to_owned()));
    until_confirmed(&mut scene.bystander, 1).await;
    let adoptions = world.cluster.adoptions.iter().filter(|a| a.report.zone == meadow());
    assert_eq!(adoptions.count(), 2, "the adopter survives what ended the owner");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_in_a_rule_costs_its_input_and_a_failover() {
    let mut world = World::new().sabotaged();
    let mut scene = scene(&mut world, "loop-on-chat").await;
    scene
        .culprit
        .push(Intent::Move(Heading::new(100, 0).expect("a heading")));
    until_confirmed(&mut scene.culprit, 1).await;
    scene.culprit.push(Intent::Say(POISON.to_owned()));
    let status = world
        .cluster
        .wait_until_dead(scene.owner, PATIENCE)
        .expect("it ends itself");
    assert_eq!(status, "exit status: 134", "aborted");
    assert_carried_on(&mut world, &mut scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_rule_costs_its_input_and_moves_one_zone_at_once() {
    let mut world = World::with_endless_leases().sabotaged();
    let mut scene = scene(&mut world, "panic-on-chat").await;
    scene
        .culprit
        .push(Intent::Move(Heading::new(100, 0).expect("a heading")));
    until_confirmed(&mut scene.culprit, 1).await;
    scene.culprit.push(Intent::Say(POISON.to_owned()));
    assert_carried_on(&mut world, &mut scene).await;
    let moved = world.cluster.adoptions.iter().filter(|a| a.process == scene.spare);
    assert!(
        moved.into_iter().all(|a| a.report.zone == meadow()),
        "the other zones stay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_is_ended_without_a_guardian_too() {
    let mut world = World::unguarded().sabotaged();
    let mut scene = scene(&mut world, "loop-on-chat").await;
    scene
        .culprit
        .push(Intent::Move(Heading::new(100, 0).expect("a heading")));
    until_confirmed(&mut scene.culprit, 1).await;
    scene.culprit.push(Intent::Say(POISON.to_owned()));
    world
        .cluster
        .wait_until_dead(scene.owner, PATIENCE)
        .expect("it ends itself");
    assert_carried_on(&mut world, &mut scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_input_at_which_another_build_fails_costs_that_input_and_not_the_zone() {
    let mut world = World::new().sabotaged();
    // What is adopted is in the journal, not in a checkpoint.
    let owner = world.shard_configured(&all_zones(), "[durability]\ndelta_ms = 600000\nbase_ms = 600000\n");
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    player.push(Intent::Say(POISON.to_owned()));
    until_confirmed(&mut player, 1).await;
    let spare = world.shard_with(&[], &["--plant", &format!("panic-on-chat={POISON}")]);
    player.until_told_of(world.cluster.all[spare].addr).await;
    world.cluster.kill(owner).expect("a kill");
    let (adopted, _) = world.until_adopted(&meadow(), spare, epoch);
    assert_eq!(player.until_attached_above(epoch).await, adopted);
    player.push(Intent::Move(Heading::new(0, 100).expect("a heading")));
    until_confirmed(&mut player, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_is_nobodys_fault_costs_its_zone_and_leaves_the_others() {
    let mut world = World::with_default_leases().sabotaged();
    let owner = world.shard_with(&all_zones(), &["--plant", &format!("loop-after-chat={POISON}")]);
    let spare = world.shard(&[]);
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let mut neighbour = world.player(8, &all_zones()[1], OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    let elsewhere = neighbour.until_attached_above(Epoch::NONE).await;
    player.until_told_of(world.cluster.all[spare].addr).await;
    player.push(Intent::Say(POISON.to_owned()));
    // The spare has no such bug: nothing was skipped, so the line is said there after all.
    world.until_adopted(&meadow(), spare, epoch);
    assert!(player.until_attached_above(epoch).await > epoch);
    until_confirmed(&mut player, 1).await;
    let tick = neighbour.until_snapshot().await;
    let later = neighbour.until("the neighbours' world goes on", |notice| match notice {
        Notice::Snapshot { header, .. } if header.tick > tick + 40 => Some(header.epoch),
        _ => None,
    });
    assert_eq!(later.await, elsewhere, "in the same process");
    assert!(world.cluster.all[owner].killed.is_none());
}
