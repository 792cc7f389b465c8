//! Shards of one world that are not configured alike: other leases, or another world file.

use std::collections::BTreeSet;
use std::time::Duration;

use everhold_local_cluster::{LocalCluster, ReportedAdoption};
use everhold_protocol::{Epoch, ZoneName};
use everhold_testing::player::OldConnections;

use crate::world::{PATIENCE, World, all_zones, meadow};

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

/// The world file with this text replaced, on the disk.
fn other_world(world: &World, file: &str, from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/world.toml"));
    let text = text.expect("the world file is there");
    assert!(text.contains(from), "nothing would be another");
    let path = world.cluster.keys().with_file_name(file);
    std::fs::write(&path, text.replacen(from, to, 1)).expect("a writable directory");
    format!("[world]\nrules = {path:?}\n")
}

/// Leases do not run out here: who waited for one would wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn right_spare_takes_over_from_wrong_ones_without_waiting_for_a_lease() {
    let mut world = World::with_endless_leases();
    let owner = world.shard(&all_zones());
    let numbers = other_world(&world, "numbers.toml", "linger_ms = 30_000", "linger_ms = 31_000");
    let names = other_world(&world, "names.toml", "name = \"harbor\"", "name = \"haven\"");
    let wrong = [
        world.shard_configured(&[], &numbers),
        world.shard_configured(&[], &names),
    ];
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    world.cluster.kill(owner).unwrap();
    let all = all_zones().len();
    let is_refused = |cluster: &LocalCluster| {
        let zones: BTreeSet<&ZoneName> = cluster.unfit.iter().map(|(_, zone, _)| zone).collect();
        zones.len() == all
    };
    world
        .cluster
        .wait_until("the wrong ones have tried each zone", PATIENCE, is_refused)
        .unwrap();
    let right = world.shard(&[]);
    let (next, _) = world.until_adopted(&meadow(), right, epoch);
    assert_eq!(player.until_attached_above(epoch).await, next);
    let by_wrong = |cluster: &LocalCluster| {
        cluster
            .adoptions
            .iter()
            .any(|adoption| wrong.contains(&adoption.process))
    };
    assert!(!by_wrong(&world.cluster));
    let refusals = world.cluster.unfit.len();
    assert!(refusals <= wrong.len() * all, "each tries each zone once: {refusals}");
    let lacking = |(process, zone, _): &(usize, ZoneName, Epoch)| *process == wrong[1] && zone.as_str() == "harbor";
    assert!(
        !world.cluster.unfit.iter().any(lacking),
        "what its world lacks it does not claim"
    );
    assert!(wrong.iter().all(|shard| world.cluster.all[*shard].killed.is_none()));
}
