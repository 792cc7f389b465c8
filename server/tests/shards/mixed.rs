//! Shards of one world that are not configured alike.

use std::time::Duration;

use everhold_local_cluster::ReportedAdoption;
use everhold_protocol::Epoch;
use everhold_testing::player::OldConnections;

use crate::world::{World, meadow};

/// The ttl of a shard that renews every five seconds.
const LONG_TTL_MS: u64 = 20_000;

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
