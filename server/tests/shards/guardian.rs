//! Guardians: what a dead server held is released at once; and whatever becomes of the guardian, nothing is lost but
//! time.

use std::time::Duration;

use everhold_core::ownership::Membership;
use everhold_local_cluster::Who;
use everhold_protocol::Epoch;
use everhold_protocol::client::Notice;
use everhold_store::sqlite::SqliteAuthority;
use everhold_testing::player::{OldConnections, Player};
use rustix::process::Signal;

use crate::world::{PATIENCE, World, all_zones, meadow};

/// Well above the ttl of these worlds (1 s).
const LONGER_THAN_THE_LEASE: Duration = Duration::from_millis(2_500);

/// An owner of everything, a spare, and a player in the meadow, attached under this epoch.
async fn played(world: &mut World) -> (usize, usize, Player, Epoch) {
    let owner = world.shard(&all_zones());
    let spare = world.shard(&[]);
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    player.until_told_of(world.cluster.all[spare].addr).await;
    (owner, spare, player, epoch)
}

/// The owner serves its player under the same epoch, for more ticks than fit into a ttl.
async fn assert_goes_on(player: &mut Player, epoch: Epoch) {
    let from = player.until_snapshot().await;
    let later = player.until("a snapshot more than a lease later", |notice| match notice {
        Notice::Snapshot { header, .. } if header.tick > from + 40 => Some(header.epoch),
        _ => None,
    });
    assert_eq!(later.await, epoch, "the same ownership goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_held_is_adopted_although_its_lease_has_not_run_out() {
    let mut world = World::with_endless_leases();
    let (owner, spare, mut player, epoch) = played(&mut world).await;
    world.cluster.signal(owner, Signal::KILL).unwrap();
    let status = world.cluster.wait_until_dead(owner, PATIENCE).unwrap();
    assert_eq!(
        status, "exit status: 137",
        "the guardian ends as its server did, and says so"
    );
    for zone in all_zones() {
        world.until_adopted(&zone, spare, Epoch(1));
    }
    assert!(player.until_attached_above(epoch).await > epoch);
    player.until_snapshot().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_guardian_was_killed_goes_on_and_is_adopted_by_its_ttl() {
    let mut world = World::new();
    let (owner, spare, mut player, epoch) = played(&mut world).await;
    world.cluster.kill_guardian(owner).unwrap();
    assert_goes_on(&mut player, epoch).await;
    world.cluster.kill(owner).unwrap();
    world.until_adopted(&meadow(), spare, epoch);
    assert!(player.until_attached_above(epoch).await > epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_guardian_is_stopped_is_neither_held_up_nor_killed() {
    let mut world = World::new();
    let (owner, spare, mut player, epoch) = played(&mut world).await;
    world.cluster.signal_to(owner, Who::Guardian, Signal::STOP).unwrap();
    assert_goes_on(&mut player, epoch).await;
    tokio::time::sleep(LONGER_THAN_THE_LEASE).await;
    world.cluster.signal_to(owner, Who::Guardian, Signal::CONT).unwrap();
    assert_goes_on(&mut player, epoch).await;
    world.cluster.kill(owner).unwrap();
    world.until_adopted(&meadow(), spare, epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_for_longer_than_its_lease_is_killed_and_adopted() {
    let mut world = World::new();
    let (owner, spare, mut player, epoch) = played(&mut world).await;
    world.cluster.signal(owner, Signal::STOP).unwrap();
    let status = world.cluster.wait_until_dead(owner, PATIENCE).unwrap();
    assert_eq!(status, "exit status: 137", "nobody else would have killed it");
    world.until_adopted(&meadow(), spare, epoch);
    assert!(player.until_attached_above(epoch).await > epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spare_that_is_stopped_for_long_is_in_nobodys_way_and_lives() {
    let mut world = World::new();
    let (owner, spare, mut player, epoch) = played(&mut world).await;
    world.cluster.signal(spare, Signal::STOP).unwrap();
    tokio::time::sleep(LONGER_THAN_THE_LEASE).await;
    world.cluster.signal(spare, Signal::CONT).unwrap();
    world.cluster.kill(owner).unwrap();
    world.until_adopted(&meadow(), spare, epoch);
    assert!(player.until_attached_above(epoch).await > epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_to_the_guardian_stops_its_server_in_good_order() {
    let mut world = World::with_endless_leases();
    let (owner, spare, ..) = played(&mut world).await;
    world.cluster.signal_to(owner, Who::Guardian, Signal::INT).unwrap();
    world.until_stopped(owner);
    world.until_adopted(&meadow(), spare, Epoch::FIRST);
    let adoption = world
        .cluster
        .adoptions
        .iter()
        .find(|a| a.process == spare && a.report.zone == meadow());
    assert_eq!(
        adoption.unwrap().report.replayed_ticks,
        0,
        "its last checkpoint covers everything"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_spare_is_taken_out_of_the_directory() {
    let mut world = World::new();
    world.shard(&all_zones());
    let spare = world.shard(&[]);
    let (addr, authority) = (
        world.cluster.all[spare].addr,
        SqliteAuthority::open(&world.cluster.world()).unwrap(),
    );
    // Whoever announces itself again has told its guardian who it is.
    let announced_again = async {
        while !authority
            .shards()
            .await
            .unwrap()
            .iter()
            .any(|s| s.addr == addr && s.beat > 2)
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, announced_again).await.unwrap();
    // Its guardian ends before this returns.
    world.cluster.kill(spare).unwrap();
    let left = authority.shards().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_ne!(left[0].addr, addr);
}
