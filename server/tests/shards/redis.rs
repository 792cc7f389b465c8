//! Shards on a Redis that stops, wakes up, restarts, and forgets.

use std::time::Duration;

use everhold_core::limits::UNHEARD_SECRETS_MAX;
use everhold_local_cluster::LocalCluster;
use everhold_protocol::client::Notice;
use everhold_protocol::{Epoch, Heading, Intent, ServerMessage, Tick, ZoneName};
use everhold_testing::player::{OldConnections, Player};
use everhold_testing::redis::{Persistence, RedisCluster};
use rustix::process::Signal;

use crate::visitor::{Visitor, owner, resume};
use crate::world::{PATIENCE, World, all_zones, meadow};

/// The lease of these tests, twice over.
const TWO_LEASES: Duration = Duration::from_secs(2);

/// A player, its epoch, and the newest tick that it was shown; one input of it is confirmed.
pub(crate) async fn playing(world: &World) -> (Player, Epoch, Tick) {
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    player.push(Intent::Move(Heading::new(100, 0).expect("a heading")));
    let confirmed = |notice: &Notice| matches!(notice, Notice::Confirmed { seq: 1 }).then_some(());
    player.until("the input is confirmed", confirmed).await;
    let tick = player.until_snapshot().await;
    (player, epoch, tick)
}

/// The player is shown ticks after `tick`, and another input of it is confirmed. Returns the epoch of the first one.
pub(crate) async fn goes_on(player: &mut Player, tick: Tick) -> Epoch {
    let later = player.until("a later snapshot", |notice| match notice {
        Notice::Snapshot { header, .. } if header.tick > tick => Some(header.epoch),
        _ => None,
    });
    let epoch = later.await;
    player.push(Intent::Move(Heading::new(0, 100).expect("a heading")));
    let confirmed = |notice: &Notice| matches!(notice, Notice::Confirmed { seq } if *seq > 1).then_some(());
    player.until("another input is confirmed", confirmed).await;
    epoch
}

/// Waits until a Redis that forgot has a base of each zone again: what is in memory alone dies with its owner.
pub(crate) fn until_zones_are_stored(world: &mut World) {
    for zone in all_zones() {
        let chain = format!("everhold:{{{zone}}}:chain");
        world.redis().wait_until("the zone is stored anew", |redis| {
            redis.command(&["LLEN", &chain]) != "0"
        });
    }
}

/// The zones' owner dies; the heir has everything that was shown.
pub(crate) async fn assert_whole_after_a_kill(world: &mut World, owner: usize, heir: usize, player: &mut Player) {
    player.until_told_of(world.cluster.all[heir].addr).await;
    let tick = player.until_snapshot().await;
    let before = player.own();
    let epoch = newest_epoch(&world.cluster);
    world.cluster.kill(owner).expect("a kill");
    let (new_epoch, last_tick) = world.until_adopted(&meadow(), heir, epoch);
    assert!(last_tick >= tick, "what was shown is in the history");
    assert_eq!(player.until_attached_above(epoch).await, new_epoch);
    let after = player.own();
    assert_eq!((after.gold, after.items), (before.gold, before.items));
    let adoption = world
        .cluster
        .adoptions
        .iter()
        .find(|a| a.process == heir && a.report.zone == meadow());
    assert!(adoption.expect("it was waited for").report.digest_equal);
    assert!(world.cluster.lost.is_empty(), "{:?}", world.cluster.lost);
}

fn newest_epoch(cluster: &LocalCluster) -> Epoch {
    let epochs = cluster
        .adoptions
        .iter()
        .filter(|a| a.report.zone == meadow())
        .map(|a| a.report.epoch);
    epochs.max().expect("somebody owns it")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_on_redis_that_is_killed_is_followed_by_the_spare() {
    let mut world = World::on_redis(Persistence::None);
    let owner = world.shard(&all_zones());
    let heir = world.shard(&[]);
    let (mut player, _, _) = playing(&world).await;
    assert_whole_after_a_kill(&mut world, owner, heir, &mut player).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stops_for_less_than_the_lease_costs_a_pause() {
    let mut world = World::on_redis(Persistence::None);
    let owner = world.shard(&all_zones());
    let (mut player, epoch, tick) = playing(&world).await;
    world.redis().signal(Signal::STOP);
    tokio::time::sleep(Duration::from_millis(400)).await;
    world.redis().signal(Signal::CONT);
    assert_eq!(goes_on(&mut player, tick).await, epoch, "the same ownership");
    let heir = world.shard(&[]);
    assert_whole_after_a_kill(&mut world, owner, heir, &mut player).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stops_for_two_leases_suspends_the_zones_and_they_go_on_from_memory() {
    let mut world = World::on_redis(Persistence::None);
    let owner = world.shard(&all_zones());
    let heir = world.shard(&[]);
    let (mut player, epoch, tick) = playing(&world).await;
    world.redis().signal(Signal::STOP);
    tokio::time::sleep(TWO_LEASES).await;
    world.redis().signal(Signal::CONT);
    let reclaimed = |cluster: &LocalCluster| newest_epoch(cluster) > epoch;
    world
        .cluster
        .wait_until("the zone goes on", PATIENCE, reclaimed)
        .expect("somebody owns it");
    let newest = world
        .cluster
        .adoptions
        .iter()
        .rfind(|a| a.report.zone == meadow())
        .expect("it was waited for");
    assert!(
        newest.report.from_memory && newest.process == owner,
        "its owner had it in memory: {newest:?}"
    );
    assert!(newest.report.last_tick >= tick);
    assert!(goes_on(&mut player, tick).await > epoch);
    assert_whole_after_a_kill(&mut world, owner, heir, &mut player).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_restarts_with_its_data_costs_a_pause() {
    let mut world = World::on_redis(Persistence::Aof);
    let owner = world.shard(&all_zones());
    let (mut player, _, tick) = playing(&world).await;
    world.redis().kill();
    world.redis().start_again();
    goes_on(&mut player, tick).await;
    let heir = world.shard(&[]);
    assert_whole_after_a_kill(&mut world, owner, heir, &mut player).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_restarts_empty_is_written_anew_from_memory() {
    let mut world = World::on_redis(Persistence::None);
    let owner = world.shard(&all_zones());
    let heir = world.shard(&[]);
    let (mut player, _, tick) = playing(&world).await;
    for _ in 0..2 {
        world.redis().kill();
        world.redis().start_again();
        goes_on(&mut player, tick).await;
    }
    until_home_is_stored(&world).await;
    until_zones_are_stored(&mut world);
    assert_whole_after_a_kill(&mut world, owner, heir, &mut player).await;
}

/// The home of account 7 is put back after its zone: wait for it.
async fn until_home_is_stored(world: &World) {
    let redis = world.redis.as_ref().expect("a world on Redis");
    let search = async {
        while redis.command(&["GET", "everhold:home:7"]) != "1 meadow" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search)
        .await
        .expect("the home is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_restarts_empty_while_zones_are_suspended_is_written_anew_from_memory() {
    let mut world = World::on_redis(Persistence::None);
    let owner = world.shard(&all_zones());
    let heir = world.shard(&[]);
    let (mut player, epoch, tick) = playing(&world).await;
    world.redis().kill();
    let suspended = |cluster: &LocalCluster| cluster.ends.iter().any(|end| end.zone == meadow());
    world
        .cluster
        .wait_until("the zone is suspended", PATIENCE, suspended)
        .expect("an end");
    world.redis().start_again();
    assert!(goes_on(&mut player, tick).await > epoch);
    until_zones_are_stored(&mut world);
    assert_whole_after_a_kill(&mut world, owner, heir, &mut player).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_keeps_its_data_and_dies_with_a_shard_costs_nothing() {
    let mut world = World::on_redis(Persistence::Aof);
    let owner = world.shard(&all_zones());
    let heir = world.shard(&[]);
    let (mut player, epoch, tick) = playing(&world).await;
    world.cluster.kill(owner).expect("a kill");
    world.redis().kill();
    world.redis().start_again();
    let (new_epoch, last_tick) = world.until_adopted(&meadow(), heir, epoch);
    assert!(last_tick >= tick, "what was shown is in the history");
    assert_eq!(player.until_attached_above(epoch).await, new_epoch);
    assert!(world.cluster.lost.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_and_dies_with_a_shard_loses_the_zones_of_that_shard_and_says_so() {
    let mut world = World::on_redis(Persistence::None);
    let others = all_zones()
        .into_iter()
        .filter(|zone| *zone != meadow())
        .collect::<Vec<_>>();
    let dying = world.shard(&[meadow()]);
    let living = world.shard(&others);
    let mut spared = world.player(8, &others[0], OldConnections::Close);
    spared.until_attached_above(Epoch::NONE).await;
    let shown = spared.until_snapshot().await;
    let mut orphan = world.player(7, &meadow(), OldConnections::Close);
    let epoch = orphan.until_attached_above(Epoch::NONE).await;

    world.cluster.kill(dying).expect("a kill");
    world.redis().kill();
    world.redis().start_again();
    let (new_epoch, last_tick) = world.until_adopted(&meadow(), living, epoch);
    assert_eq!(last_tick, Tick(0), "it begins again");
    assert_eq!(
        world.cluster.lost,
        [(meadow(), new_epoch)],
        "and that is said, and no other zone is lost"
    );
    let refused = |notice: &Notice| matches!(notice, Notice::Refused { .. }).then_some(());
    orphan.until("its session is gone with its zone", refused).await;
    let later = |notice: &Notice| match notice {
        Notice::Snapshot { header, .. } if header.tick > shown => Some(()),
        _ => None,
    };
    spared.until("the others go on", later).await;
}

/// Well above the 2 s of ticks that a zone goes ahead of its store before it holds.
const UNTIL_THE_ZONE_HOLDS: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_asks_again_and_again_while_its_zone_holds_is_attached_when_the_store_is_back() {
    let mut world = World::on_redis_with_endless_leases(Persistence::None);
    world.shard(&all_zones());
    let mut earlier = Visitor::log_in(&world, 1).await;
    let (session, secret, epoch) = earlier.hear_attached().await;
    world.redis().signal(Signal::STOP);
    tokio::time::sleep(UNTIL_THE_ZONE_HOLDS).await;
    let credential = resume(&meadow(), session, secret, epoch);
    earlier = Visitor::knock(&world.keys, owner(&world), credential.clone()).await;
    for _ in 0..2 * UNHEARD_SECRETS_MAX {
        let later = Visitor::knock(&world.keys, owner(&world), credential.clone()).await;
        assert_eq!(earlier.hear().await, ServerMessage::Superseded);
        earlier = later;
    }
    world.redis().signal(Signal::CONT);
    assert_eq!(earlier.hear_attached().await.0, session);
}

/// A host with a shard and a node of the Cluster is gone, and no replica takes the node's place. The zones of the other
/// nodes are adopted, and their players play on; no player is told that there is no other shard.
async fn assert_other_nodes_zones_are_adopted(key: &str) {
    let mut world = World::with_default_leases();
    let mut redis = RedisCluster::start();
    let url = redis.url();
    let owner = world.shard_with(&all_zones(), &["--store", &url]);
    let heir = world.shard_with(&[], &["--store", &url]);
    let bystander = world.shard_with(&[], &["--store", &url]);
    let lease = |zone: &ZoneName| format!("everhold:{{{zone}}}:lease");
    let gone = redis.primary_of(key);
    let there: Vec<ZoneName> = all_zones()
        .into_iter()
        .filter(|zone| redis.primary_of(&lease(zone)) != gone)
        .collect();
    assert_eq!(there.len(), 2, "each primary has one of the three zones");
    let mut player = world.player(7, &there[0], OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    for spare in [heir, bystander] {
        player.until_told_of(world.cluster.all[spare].addr).await;
    }
    redis.suspend_slot_of(key);
    world.cluster.kill(owner).expect("a kill");
    for zone in &there {
        let is_adopted = |cluster: &LocalCluster| {
            let by_a_spare = |a: &everhold_local_cluster::ReportedAdoption| {
                a.process != owner && a.report.zone == *zone && a.report.epoch > epoch
            };
            cluster.adoptions.iter().any(by_a_spare)
        };
        world
            .cluster
            .wait_until("the zone is adopted", PATIENCE, is_adopted)
            .expect("an adoption");
    }
    assert!(player.until_attached_above(epoch).await > epoch);
    player.until_snapshot().await;
    assert!(world.cluster.lost.is_empty(), "{:?}", world.cluster.lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_of_other_nodes_are_adopted_while_a_node_of_the_cluster_is_gone() {
    assert_other_nodes_zones_are_adopted("everhold:{meadow}:lease").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_of_other_nodes_are_adopted_while_the_node_with_the_directory_is_gone() {
    assert_other_nodes_zones_are_adopted("everhold:shards").await;
}
