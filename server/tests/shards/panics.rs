//! Parts beside a zone that fail: what is in memory goes on from there.

use std::time::Duration;

use everhold_local_cluster::{ReportedAdoption, Who};
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

/// Stops an owner of all zones that panics at a place, and waits until another shard has adopted them, with all that a
/// player was shown. Returns the world, the owner, and the other shard.
async fn adopted_after_a_stop(panics_at: &str) -> (World, usize, usize) {
    let mut world = World::with_endless_leases().sabotaged();
    let owner = world.shard_with(&all_zones(), &["--panic", panics_at]);
    let heir = world.shard(&[]);
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    player.until_told_of(world.cluster.all[heir].addr).await;
    let tick = player.until_snapshot().await;
    world
        .cluster
        .signal_to(owner, Who::Guardian, Signal::TERM)
        .expect("a signal");
    for zone in all_zones() {
        let (_, last_tick) = world.until_adopted(&zone, heir, Epoch::FIRST);
        assert!(
            zone != meadow() || last_tick >= tick,
            "what was shown is in the history"
        );
    }
    (world, owner, heir)
}

/// The first cut of the process is lost, of whichever zone. A zone that had ended by that would have said so.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_whose_checkpoint_is_not_encoded_goes_on_and_stores_a_later_one() {
    let (world, _, heir) = adopted_after_a_stop("capture").await;
    for zone in all_zones() {
        let mut adoptions = world.cluster.adoptions.iter();
        let adoption = adoptions.find(|a| a.process == heir && a.report.zone == zone);
        assert_eq!(adoption.expect("it was waited for").report.replayed_ticks, 0, "{zone}");
    }
    let ends: Vec<&str> = world.cluster.ends.iter().map(|end| end.reason.as_str()).collect();
    assert_eq!(ends, ["stopped"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_whose_durable_task_fails_after_its_last_tick_is_sealed_from_memory() {
    let (world, owner, _) = adopted_after_a_stop("sealed").await;
    let adoptions = world.cluster.adoptions.iter().filter(|a| a.process == owner);
    let from_memory = adoptions.filter(|a| a.report.from_memory).count();
    assert_eq!(from_memory, 1, "one task failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_in_memory_outlive_an_adoption_that_panics() {
    let mut world = World::unguarded().sabotaged();
    let lone = world.shard_with(&all_zones(), &["--panic", "adoption"]);
    world.cluster.signal(lone, Signal::STOP).expect("a living shard");
    tokio::time::sleep(LONGER_THAN_THE_LEASE).await;
    world.cluster.signal(lone, Signal::CONT).expect("a living shard");
    let mut grants = Vec::new();
    for zone in all_zones() {
        let (first, _) = world.until_adopted(&zone, lone, Epoch::NONE);
        let (anew, _) = world.until_adopted(&zone, lone, first);
        let mut adoptions = world.cluster.adoptions.iter();
        let adoption = adoptions.find(|a| a.report.zone == zone && a.report.epoch == anew);
        let report = &adoption.expect("it was waited for").report;
        assert!(report.from_memory, "{report:?}");
        grants.push(anew.0 - first.0);
    }
    grants.sort_unstable();
    assert!(
        grants.last() > grants.first(),
        "a grant more for the adoption that failed: {grants:?}"
    );
}
