//! A store without room: a Redis at the limit of its memory, and a disk with no byte left.

use std::time::Duration;

use everhold_local_cluster::LocalCluster;
use everhold_protocol::{Heading, Intent};
use everhold_testing::disk::SmallDisk;
use everhold_testing::redis::{Persistence, RedisServer};

use crate::scene::{PATIENCE, Scene, meadow, until_confirmed};

/// Short, for the tests wait until it is over; a busy machine that misses it costs them a pause.
const TTL: Duration = Duration::from_secs(2);

/// Room for a small world.
const DISK_BYTES: u64 = 64 * 1024 * 1024;

/// The store of a scene has no room any more, or has it again.
type SetFull<'a> = &'a dyn Fn(bool);

/// A player plays on when its store has room again, though its zone was suspended meanwhile, and keeps all when the
/// shard dies after that.
async fn assert_costs_a_pause(mut scene: Scene, set_full: SetFull<'_>) {
    // A guardian would kill a shard that a busy machine holds up for a whole lease.
    let owner = scene.shard(&[meadow()], &["--no-guardian"]);
    let heir = scene.shard(&[], &["--no-guardian"]);
    let (mut player, epoch) = scene.player(7).await;
    let before = player.own();
    let tick = player.until_snapshot().await;
    set_full(true);
    player.push(Intent::Move(Heading::new(0, 100).expect("a heading")));
    let is_suspended = |cluster: &LocalCluster| cluster.ends.iter().any(|end| end.zone == meadow());
    scene
        .cluster
        .wait_until("the lease cannot be renewed", PATIENCE, is_suspended)
        .expect("an end");
    set_full(false);
    let (second, by) = scene.until_adopted_above(epoch);
    assert_eq!(player.until_attached_above(epoch).await, second);
    until_confirmed(&mut player, 2).await;
    let adoption = scene.cluster.adoptions.iter().find(|one| one.report.epoch == second);
    assert!(
        adoption.is_some_and(|one| one.report.last_tick >= tick),
        "what was shown is in the history"
    );

    let other = if by == owner { heir } else { owner };
    player.until_told_of(scene.cluster.all[other].addr).await;
    scene.cluster.kill(by).expect("a kill");
    assert_eq!(scene.until_adopted_above(second).1, other);
    player.until_attached_above(second).await;
    player.push(Intent::Move(Heading::new(100, 0).expect("a heading")));
    until_confirmed(&mut player, 3).await;
    let after = player.own();
    assert_eq!((after.gold, after.items), (before.gold, before.items));
    scene.assert_nothing_lost();
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_at_the_limit_of_its_memory_costs_a_pause() {
    let redis = RedisServer::start(Persistence::None);
    let mut scene = Scene::new(TTL, "");
    scene.use_redis(redis.url());
    let set_full = |is_full| {
        let limit = if is_full { "1mb" } else { "0" };
        assert_eq!(redis.command(&["CONFIG", "SET", "maxmemory", limit]), "OK");
    };
    assert_costs_a_pause(scene, &set_full).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_costs_a_pause() {
    let scene = Scene::new(TTL, "");
    let Some(disk) = SmallDisk::new("full_disk_costs_a_pause", &scene.cluster.world(), DISK_BYTES) else {
        return;
    };
    let set_full = |is_full| if is_full { disk.fill() } else { disk.free() };
    assert_costs_a_pause(scene, &set_full).await;
}
