//! A zone outlives its lease in memory, and goes on from there if no other shard took it.

use std::time::Duration;

use everhold_local_cluster::{LocalCluster, Who};
use everhold_protocol::client::Notice;
use everhold_protocol::{Epoch, Heading, Intent};
use everhold_testing::player::OldConnections;
use everhold_testing::redis::Persistence;
use rustix::process::Signal;

use crate::redis::playing;
use crate::world::{PATIENCE, World, all_zones, meadow};

/// Well above the lease of these tests (1 s): a shard that sleeps so long has lost it.
const LONGER_THAN_THE_LEASE: Duration = Duration::from_millis(2_500);

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_shard_that_was_stopped_for_longer_than_its_lease_goes_on_where_it_was() {
    let mut world = World::unguarded();
    let lone = world.shard(&all_zones());
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    player.push(Intent::Move(Heading::new(100, 0).unwrap()));
    let confirmed = |notice: &Notice| matches!(notice, Notice::Confirmed { seq: 1 }).then_some(());
    player.until("the input is confirmed", confirmed).await;
    let (tick, before) = (player.until_snapshot().await, player.own());

    world.cluster.signal(lone, Signal::STOP).unwrap();
    tokio::time::sleep(LONGER_THAN_THE_LEASE).await;
    world.cluster.signal(lone, Signal::CONT).unwrap();
    let (new_epoch, last_tick) = world.until_adopted(&meadow(), lone, epoch);
    assert!(last_tick >= tick, "what was shown is in the history");
    assert!(
        from_memory(&world.cluster, new_epoch),
        "nobody was granted it meanwhile"
    );

    let last_input_seq = player
        .until("attached anew", |notice| match notice {
            Notice::Attached {
                epoch, last_input_seq, ..
            } if *epoch == new_epoch => Some(*last_input_seq),
            _ => None,
        })
        .await;
    assert_eq!(last_input_seq, 1, "what was confirmed is known");
    let after = player.own();
    assert_eq!((after.gold, after.items), (before.gold, before.items));
    player.until_snapshot().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_on_from_memory_is_adopted_whole_when_its_shard_dies() {
    let mut world = World::unguarded();
    let lone = world.shard(&all_zones());
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    world.cluster.signal(lone, Signal::STOP).unwrap();
    tokio::time::sleep(LONGER_THAN_THE_LEASE).await;
    world.cluster.signal(lone, Signal::CONT).unwrap();
    let (reclaimed, _) = world.until_adopted(&meadow(), lone, epoch);
    assert_eq!(player.until_attached_above(epoch).await, reclaimed);
    let spare = world.shard(&[]);
    player.until_told_of(world.cluster.all[spare].addr).await;
    let tick = player.until_snapshot().await;
    world.cluster.kill(lone).unwrap();
    let (_, last_tick) = world.until_adopted(&meadow(), spare, reclaimed);
    assert!(last_tick >= tick, "what was shown is in the history");
    let adoption = world
        .cluster
        .adoptions
        .iter()
        .find(|a| a.process == spare && a.report.zone == meadow());
    assert!(adoption.unwrap().report.digest_equal);
    assert!(player.until_attached_above(reclaimed).await > reclaimed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_told_to_stop_while_its_zone_is_suspended_stops_in_good_order() {
    let mut world = World::unguarded();
    let owner = world.shard(&all_zones());
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    world.cluster.signal(owner, Signal::STOP).unwrap();
    tokio::time::sleep(LONGER_THAN_THE_LEASE).await;
    world.cluster.signal(owner, Signal::TERM).unwrap();
    world.cluster.signal(owner, Signal::CONT).unwrap();
    world.cluster.stop().unwrap();
    let heir = world.shard(&all_zones());
    assert!(world.until_adopted(&meadow(), heir, epoch).0 > epoch);
}

/// Well above the time from a signal to the moment from which the shard claims nothing any more.
const UNTIL_IT_STOPS: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_stops_while_its_zones_are_suspended_stores_them_in_a_redis_that_comes_back_empty() {
    let mut world = World::on_redis(Persistence::None);
    let owner = world.shard(&all_zones());
    let heir = world.shard(&[]);
    let (mut player, epoch, _) = playing(&world).await;
    player.until_told_of(world.cluster.all[heir].addr).await;
    let (tick, before) = (player.until_snapshot().await, player.own());
    world.redis().kill();
    let are_suspended = |cluster: &LocalCluster| {
        let is_over = |zone| cluster.ends.iter().any(|end| end.zone == zone);
        all_zones().into_iter().all(is_over)
    };
    world
        .cluster
        .wait_until("the zones are suspended", PATIENCE, are_suspended)
        .expect("their ends");
    world
        .cluster
        .signal_to(owner, Who::Guardian, Signal::TERM)
        .expect("a signal");
    tokio::time::sleep(UNTIL_IT_STOPS).await;
    world.redis().start_again();
    world.until_stopped(owner);
    let (new_epoch, last_tick) = world.until_adopted(&meadow(), heir, epoch);
    assert!(last_tick >= tick, "what was shown is in the history");
    assert!(world.cluster.lost.is_empty(), "{:?}", world.cluster.lost);
    assert_eq!(player.until_attached_above(epoch).await, new_epoch);
    let after = player.own();
    assert_eq!((after.gold, after.items), (before.gold, before.items));
    for zone in all_zones() {
        let mut adoptions = world.cluster.adoptions.iter();
        let sealed = adoptions.any(|a| a.process == owner && a.report.zone == zone && a.report.from_memory);
        assert!(sealed, "{zone} was taken up once more by the shard that stopped");
    }
}

fn from_memory(cluster: &LocalCluster, epoch: Epoch) -> bool {
    let mut adoptions = cluster.adoptions.iter();
    adoptions.any(|a| a.report.zone == meadow() && a.report.epoch == epoch && a.report.from_memory)
}
