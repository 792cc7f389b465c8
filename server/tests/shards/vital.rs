//! A part that a server cannot do without fails: its process ends, and another shard goes on.

use everhold_protocol::Epoch;
use everhold_testing::player::OldConnections;

use crate::world::{PATIENCE, World, all_zones, meadow};

/// Leases do not run out here: what is adopted was released by the guardian of a process that ended.
async fn ends_its_process(part: &str) {
    let mut world = World::with_endless_leases().sabotaged();
    let spare = world.shard(&[]);
    let owner = world.shard_with(&all_zones(), &["--panic", part]);
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    // It fails once it serves a player.
    let status = world.cluster.wait_until_dead(owner, PATIENCE).expect("it ends");
    assert_eq!(status, "exit status: 134", "aborted");
    for zone in all_zones() {
        world.until_adopted(&zone, spare, Epoch(1));
    }
    player.until_snapshot().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_keeper_that_fails_ends_its_process() {
    ends_its_process("keeper").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_fails_ends_its_process() {
    ends_its_process("router").await;
}
