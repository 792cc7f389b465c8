//! An authority and a store that forget while a shard lives that has the zone in memory, beside a shard that prefers
//! the zone and has nothing.

use std::time::Duration;

use everhold_local_cluster::LocalCluster;
use everhold_protocol::client::Notice;
use everhold_protocol::{Epoch, Tick};
use everhold_testing::player::Player;
use everhold_testing::redis::Persistence;
use rustix::process::Signal;

use crate::redis::{assert_whole_after_a_kill, goes_on, playing, until_zones_are_stored};
use crate::world::{PATIENCE, World, all_zones, meadow};

/// The flags of a spare that prefers the meadow, which another shard has.
const PREFERS: &[&str] = &["--zone", "meadow"];

/// The meadow's first owner dies, comes back with its flags, and is a spare now. Returns the shard that owns the zones,
/// the spare, and a player in the meadow.
async fn owned_beside_a_spare_that_prefers_it(world: &mut World) -> (usize, usize, Player, Epoch, Tick) {
    let first = world.shard(&[meadow()]);
    let owner = world.shard(&[]);
    let (mut player, epoch, _) = playing(world).await;
    player.until_told_of(world.cluster.all[owner].addr).await;
    world.cluster.kill(first).expect("a kill");
    let (epoch, _) = world.until_adopted(&meadow(), owner, epoch);
    player.until_attached_above(Epoch(epoch.0 - 1)).await;
    let spare = world.shard_with(&[], PREFERS);
    let tick = player.until_snapshot().await;
    (owner, spare, player, epoch, tick)
}

fn until_suspended(world: &mut World, ends_before: usize) {
    let suspended = |cluster: &LocalCluster| cluster.ends[ends_before..].iter().any(|end| end.zone == meadow());
    world
        .cluster
        .wait_until("the zone is suspended", PATIENCE, suspended)
        .expect("an end");
}

fn assert_nothing_lost(world: &World) {
    assert!(world.cluster.lost.is_empty(), "{:?}", world.cluster.lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_that_are_suspended_while_redis_restarts_empty_are_not_for_the_spare_that_prefers_them() {
    let mut world = World::on_redis(Persistence::None);
    let (owner, spare, mut player, mut epoch, mut tick) = owned_beside_a_spare_that_prefers_it(&mut world).await;
    for _ in 0..3 {
        let ends = world.cluster.ends.len();
        world.redis().kill();
        until_suspended(&mut world, ends);
        world.redis().start_again();
        let (reclaimed, last_tick) = world.until_adopted(&meadow(), owner, epoch);
        assert!(last_tick >= tick, "what was shown is in the history");
        assert_eq!(player.until_attached_above(epoch).await, reclaimed);
        (epoch, tick) = (reclaimed, player.until_snapshot().await);
        assert_nothing_lost(&world);
    }
    until_zones_are_stored(&mut world);
    assert_whole_after_a_kill(&mut world, owner, spare, &mut player).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shard_that_starts_on_an_empty_redis_takes_no_zone_whose_owner_lives() {
    let mut world = World::on_redis(Persistence::None);
    let owner = world.shard(&all_zones());
    let (mut player, epoch, mut tick) = playing(&world).await;
    for _ in 0..3 {
        assert_eq!(world.redis().command(&["FLUSHALL"]), "OK");
        let newcomer = world.shard_with(&[], PREFERS);
        assert_eq!(goes_on(&mut player, tick).await, epoch, "the same ownership");
        tick = player.until_snapshot().await;
        world.cluster.kill(newcomer).expect("a kill");
    }
    assert_nothing_lost(&world);
    let heir = world.shard_with(&[], PREFERS);
    until_zones_are_stored(&mut world);
    assert_whole_after_a_kill(&mut world, owner, heir, &mut player).await;
}

/// Waits until the authority shows that the meadow is granted under a higher epoch.
async fn until_granted_above(world: &World, epoch: Epoch) {
    let redis = world.redis.as_ref().expect("a world on Redis");
    let search = async {
        let shown = || redis.command(&["HGET", "everhold:{meadow}:lease", "epoch"]);
        while shown().parse().map_or(true, |shown| Epoch(shown) <= epoch) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("a grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn spare_that_was_granted_a_forgotten_zone_and_found_nothing_gives_way_to_the_memory_of_its_owner() {
    let mut world = World::unguarded_on_redis(Persistence::None);
    let owner = world.shard(&all_zones());
    let spare = world.shard_with(&[], PREFERS);
    let (mut player, epoch, tick) = playing(&world).await;
    world.cluster.signal(owner, Signal::STOP).expect("a signal");
    assert_eq!(world.redis().command(&["FLUSHALL"]), "OK");
    until_granted_above(&world, epoch).await;
    world.cluster.signal(owner, Signal::CONT).expect("a signal");
    let (reclaimed, last_tick) = world.until_adopted(&meadow(), owner, Epoch(epoch.0 + 1));
    assert!(last_tick >= tick, "what was shown is in the history");
    assert_nothing_lost(&world);
    assert_eq!(player.until_attached_above(epoch).await, reclaimed);
    let later = |notice: &Notice| match notice {
        Notice::Snapshot { header, .. } if header.tick > tick => Some(()),
        _ => None,
    };
    player.until("a later snapshot", later).await;
    until_zones_are_stored(&mut world);
    assert_whole_after_a_kill(&mut world, owner, spare, &mut player).await;
}
