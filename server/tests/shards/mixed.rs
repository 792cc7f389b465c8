//! Shards of one world that are not configured alike: other leases, or another world file.

use std::collections::BTreeSet;
use std::time::Duration;

use everhold_core::ownership::{Authority, LeaseView};
use everhold_local_cluster::{LocalCluster, ReportedAdoption};
use everhold_protocol::{Epoch, ZoneName};
use everhold_store::sqlite::SqliteAuthority;
use everhold_testing::player::OldConnections;

use crate::world::{PATIENCE, World, all_zones, meadow};

/// The ttl of a shard that renews every three seconds.
const LONG_TTL_MS: u64 = 12_000;

/// The shortest ttl that there is.
const SHORT_TTL_MS: u64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn shard_with_short_leases_takes_no_zone_from_a_living_one_with_long_leases() {
    let mut world = World::unguarded();
    let holder = world.shard_of_ttl(&[meadow()], LONG_TTL_MS);
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    let spare = world.shard_of_ttl(&[], SHORT_TTL_MS);
    // Longer than the holder's time between two renewals, and than several of the spare's leases.
    let looks = Duration::from_millis(LONG_TTL_MS / 4 + 2 * SHORT_TTL_MS);
    let taken = world
        .cluster
        .wait_until("the spare takes the meadow", looks, |cluster| {
            let of_meadow = |adoption: &ReportedAdoption| adoption.report.zone == meadow();
            let mut adopted = cluster.adoptions.iter().filter(|adoption| of_meadow(adoption));
            adopted.any(|adoption| adoption.process == spare)
        });
    assert!(taken.is_err(), "the holder lives");
    let mut newcomer = world.player(8, &meadow(), OldConnections::Close);
    assert_eq!(newcomer.until_attached_above(Epoch::NONE).await, epoch);
    world.cluster.kill(holder).unwrap();
    let (next, _) = world.until_adopted(&meadow(), spare, epoch);
    assert!(next > epoch, "and it is adopted when it is dead");
}

/// Returns the leases of the zones that every shard knows when each says under which rules its zone runs.
async fn marked_leases(world: &World) -> Vec<LeaseView> {
    let authority = SqliteAuthority::open(&world.cluster.world()).expect("the world is there");
    loop {
        let mut views = authority.leases().await.expect("readable").views;
        views.retain(|view| all_zones().contains(&view.zone));
        if views.len() == all_zones().len() && views.iter().all(|view| view.mark.is_some()) {
            return views;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Leases do not run out here: who waited for one would wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_spares_cost_no_epoch_and_the_right_one_takes_over_without_waiting_for_a_lease() {
    let mut world = World::with_endless_leases();
    let owner = world.shard(&all_zones());
    let numbers = world.numbers("numbers.toml", "linger_ms = 30_000", "linger_ms = 31_000");
    let names = world.numbers("names.toml", "name = \"harbor\"", "name = \"haven\"");
    let wrong = [
        world.shard_configured(&[], &numbers),
        world.shard_configured(&[], &names),
    ];
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    let before = marked_leases(&world).await;
    world.cluster.kill(owner).unwrap();
    // One has another harbor, and says nothing of what its world lacks.
    let reports = 2 * all_zones().len() - 1;
    let are_left = |cluster: &LocalCluster| cluster.unfit.len() == reports;
    world
        .cluster
        .wait_until("the wrong ones leave each zone alone", PATIENCE, are_left)
        .unwrap();
    for (before, now) in before.iter().zip(marked_leases(&world).await) {
        let marked = |view: &LeaseView| view.mark.map(|mark| (mark.data.epoch, mark.rules));
        assert_eq!((now.epoch, marked(&now)), (before.epoch, marked(before)));
        assert!(now.released, "it is free: {now:?}");
    }
    let right = world.shard(&[]);
    let (next, _) = world.until_adopted(&meadow(), right, epoch);
    assert_eq!(Some(next), epoch.next(), "no other shard was granted it");
    assert_eq!(player.until_attached_above(epoch).await, next);
    let of_wrong = |adoption: &&ReportedAdoption| wrong.contains(&adoption.process);
    let mut adopted = world.cluster.adoptions.iter().filter(of_wrong);
    assert!(adopted.all(|adoption| !all_zones().contains(&adoption.report.zone)));
    let told: BTreeSet<(usize, &ZoneName)> = world.cluster.unfit.iter().map(|(by, zone, _)| (*by, zone)).collect();
    assert_eq!((told.len(), world.cluster.unfit.len()), (reports, reports), "once each");
    assert!(wrong.iter().all(|shard| world.cluster.all[*shard].killed.is_none()));
}
