//! Parts beside a zone that fail: what is in memory goes on from there.

use std::time::Duration;

use everhold_local_cluster::ReportedAdoption;
use everhold_protocol::{Epoch, ZoneName};
use everhold_testing::player::OldConnections;
use rustix::process::Signal;

use crate::world::{World, all_zones, meadow};

/// Well above the lease of these tests (1 s): a shard that sleeps so long has lost it.
const LONGER_THAN_THE_LEASE: Duration = Duration::from_millis(2_500);

/// Waits until the shard has adopted the zone anew, and returns that adoption.
fn adopted_anew<'a>(world: &'a mut World, zone: &ZoneName, shard: usize) -> &'a ReportedAdoption {
    let (epoch, _) = world.until_adopted(zone, shard, Epoch::FIRST);
    let mut adoptions = world.cluster.adoptions.iter();
    let adoption = adoptions.find(|a| a.report.zone == *zone && a.report.epoch == epoch);
    adoption.expect("it was waited for")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_whose_durable_task_fails_goes_on_from_memory() {
    let mut world = World::unguarded().sabotaged();
    let lone = world.shard_with(&all_zones(), &["--panic", "durable"]);
    // It fails once it serves a player, who may not have been answered yet.
    let _first = world.player(7, &meadow(), OldConnections::Close);
    let adoption = adopted_anew(&mut world, &meadow(), lone);
    assert!(adoption.report.from_memory, "{adoption:?}");
    let epoch = adoption.report.epoch;
    let mut player = world.player(8, &meadow(), OldConnections::Close);
    assert_eq!(player.until_attached_above(Epoch::FIRST).await, epoch);
    player.until_snapshot().await;
    // And what goes on from memory is stored: the next owner finds it whole.
    let spare = world.shard(&[]);
    player.until_told_of(world.cluster.all[spare].addr).await;
    let tick = player.until_snapshot().await;
    world.cluster.kill(lone).expect("a kill");
    let (_, last_tick) = world.until_adopted(&meadow(), spare, epoch);
    assert!(last_tick >= tick, "what was shown is in the history");
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_in_memory_outlive_an_adoption_that_panics() {
    let mut world = World::unguarded().sabotaged();
    let lone = world.shard_with(&all_zones(), &["--panic", "adoption"]);
    world.cluster.signal(lone, Signal::STOP).expect("a living shard");
    tokio::time::sleep(LONGER_THAN_THE_LEASE).await;
    world.cluster.signal(lone, Signal::CONT).expect("a living shard");
    let mut epochs = Vec::new();
    for zone in all_zones() {
        let adoption = adopted_anew(&mut world, &zone, lone);
        assert!(adoption.report.from_memory, "{adoption:?}");
        epochs.push(adoption.report.epoch);
    }
    epochs.sort();
    assert!(epochs.last() > epochs.first(), "one adoption failed: {epochs:?}");
}
