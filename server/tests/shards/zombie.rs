//! A shard without a guardian is stopped for longer than its lease, another adopts its zone, and the stopped one wakes
//! up.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use everhold_core::durability::store::{AppendAnswer, StoreError, StoredRecord, ZoneStore};
use everhold_core::ownership::{Authority, Grant, Nonce, Tenure};
use everhold_protocol::client::Notice;
use everhold_protocol::{Epoch, Tick};
use everhold_store::sqlite::{SqliteAuthority, SqliteStore};
use everhold_testing::player::{Arrival, OldConnections, Player};
use rustix::process::Signal;

use crate::world::{PATIENCE, World, all_zones, meadow};

/// Times that it is repeated.
const REPETITIONS: usize = 20;

/// After the woken process has ended its zone, datagrams that it sent before arrive within this time on loopback.
const LATE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_wakes_up_after_its_zone_was_adopted_says_nothing_new_and_writes_nothing() {
    let mut world = World::unguarded();
    let mut owner = world.shard(&all_zones());
    let mut other = world.shard(&[]);
    let mut player = world.player(1, &meadow(), OldConnections::KeepListening);
    let mut epoch = player.until_attached_above(Epoch::NONE).await;
    for _ in 0..REPETITIONS {
        player.until_snapshot().await;
        stop_outside_of_the_authority(&mut world, owner).await;
        // Stopped inside a write, it holds the lock of the zone's file until it wakes up: then the adopter waits for
        // that, and the rest must hold all the same.
        let blocked = is_file_blocked(&world, epoch).await;
        if blocked {
            until_claimed(&world, epoch).await;
        } else {
            world.until_adopted(&meadow(), other, epoch);
            player.until_attached_above(epoch).await;
        }
        let woken = Instant::now();
        world.cluster.signal(owner, Signal::CONT).unwrap();
        let (new_epoch, last_tick) = world.until_adopted(&meadow(), other, epoch);
        if blocked {
            player.until_attached_above(epoch).await;
        }
        until_ended(&mut world, owner, epoch);
        tokio::time::sleep(LATE).await;

        let late = said_since(&player, world.cluster.all[owner].addr, woken);
        assert!(
            late.len() <= 1,
            "at most what was being sent when it was stopped leaves: {late:?}"
        );
        assert!(
            late.iter().all(|heard| heard.tick <= last_tick),
            "only acknowledged ticks: {late:?} > {last_tick}"
        );
        assert_follows_only_the_new_owner(&mut player, new_epoch).await;
        assert_refused(&world, epoch).await;
        (owner, other, epoch) = (other, owner, new_epoch);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_stopped_for_less_than_its_lease_keeps_its_zone() {
    keeps_its_zone(World::unguarded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_shard_that_is_stopped_for_less_than_its_lease_keeps_its_zone() {
    keeps_its_zone(World::new()).await;
}

async fn keeps_its_zone(mut world: World) {
    let owner = world.shard(&all_zones());
    world.shard(&[]);
    let mut player = world.player(1, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    let before = player.until_snapshot().await;
    world.cluster.signal(owner, Signal::STOP).expect("a signal");
    // Longer than the gap that counts as a pause (ttl/8), far from the deadline.
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.cluster.signal(owner, Signal::CONT).expect("a signal");
    let (tick, of_epoch) = player
        .until("a later snapshot", |notice| match notice {
            Notice::Snapshot { header, .. } if header.tick > before + 5 => Some((header.tick, header.epoch)),
            _ => None,
        })
        .await;
    assert!(tick > before);
    assert_eq!(of_epoch, epoch, "the same ownership goes on");
}

/// Stops a process. Not inside a write to the authority's file, whose lock it would hold: then no shard could adopt
/// anything.
async fn stop_outside_of_the_authority(world: &mut World, process: usize) {
    let authority = SqliteAuthority::open(&world.cluster.world()).expect("the authority");
    let zone = meadow();
    loop {
        world.cluster.signal(process, Signal::STOP).expect("a signal");
        let write = authority.declare_zone(&zone);
        if matches!(tokio::time::timeout(LATE, write).await, Ok(Ok(()))) {
            return;
        }
        world.cluster.signal(process, Signal::CONT).expect("a signal");
        tokio::time::sleep(LATE).await;
    }
}

/// Whether a write to the zone's file gets no answer. (One that gets an answer is refused: no process has its nonce.)
async fn is_file_blocked(world: &World, epoch: Epoch) -> bool {
    matches!(write_late(world, epoch).await, Err(StoreError::Unavailable(_)))
}

/// Waits until somebody was granted the zone under a higher epoch.
async fn until_claimed(world: &World, epoch: Epoch) {
    let authority = SqliteAuthority::open(&world.cluster.world()).expect("the authority");
    let search = async {
        loop {
            let leases = authority.leases().await.expect("the leases").views;
            if leases.iter().any(|lease| lease.zone == meadow() && lease.epoch > epoch) {
                return;
            }
            tokio::time::sleep(LATE).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("a claim");
}

/// Waits until the process says that its zone of this epoch is over.
fn until_ended(world: &mut World, process: usize, epoch: Epoch) {
    let ended = |cluster: &everhold_local_cluster::LocalCluster| {
        cluster
            .ends
            .iter()
            .any(|end| end.process == process && end.zone == meadow() && end.epoch == epoch)
    };
    world
        .cluster
        .wait_until("the woken shard drops the zone", PATIENCE, ended)
        .expect("an end");
}

/// The ticks that `from` was heard to say since `woken`, each once.
fn said_since(player: &Player, from: SocketAddr, woken: Instant) -> Vec<Arrival> {
    let mut said: Vec<Arrival> = player
        .arrivals()
        .into_iter()
        .filter(|h| h.from == from && h.at >= woken)
        .collect();
    said.dedup_by_key(|heard| heard.tick);
    said
}

/// Asserts that the player, whatever it heard meanwhile, applies nothing but the new owner's snapshots.
async fn assert_follows_only_the_new_owner(player: &mut Player, epoch: Epoch) {
    for _ in 0..3 {
        let of_epoch = player.until("a snapshot", |notice| match notice {
            Notice::Snapshot { header, .. } => Some(header.epoch),
            _ => None,
        });
        assert_eq!(of_epoch.await, epoch);
    }
}

/// Asserts that a write under the old epoch is refused, even one of another process.
async fn assert_refused(world: &World, epoch: Epoch) {
    let outcome = write_late(world, epoch).await;
    assert!(
        matches!(outcome, Err(StoreError::Fenced { epoch: fence }) if fence > epoch),
        "{outcome:?}"
    );
}

async fn write_late(world: &World, epoch: Epoch) -> Result<AppendAnswer, StoreError> {
    let store = SqliteStore::open(&world.cluster.world()).expect("the store");
    let tenure = Tenure {
        zone: meadow(),
        grant: Grant::issue(epoch, Nonce(0)),
    };
    let record = StoredRecord {
        tick: Tick(u64::MAX >> 1),
        prev_hash: everhold_core::durability::store::RecordHash::GENESIS,
        hash: everhold_core::durability::store::RecordHash([1; 32]),
        body: bytes::Bytes::from_static(b"late"),
    };
    store.append(&tenure, &[record]).await
}
