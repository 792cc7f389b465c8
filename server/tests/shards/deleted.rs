//! The files of the embedded store are deleted under a shard in play.

use std::io::ErrorKind;
use std::path::Path;

use client_sim::Control;
use everhold_core::durability::store::ZoneStore;
use everhold_local_cluster::LocalCluster;
use everhold_protocol::{Epoch, Tick};
use everhold_store::sqlite::SqliteStore;
use everhold_testing::player::OldConnections;
use rustix::process::Signal;

use crate::outage::{all_play, orders};
use crate::world::{PATIENCE, World, meadow};

/// As `rm -rf` does, also if the shard makes files meanwhile.
fn delete(directory: &Path) {
    while let Err(error) = std::fs::remove_dir_all(directory) {
        match error.kind() {
            ErrorKind::DirectoryNotEmpty => {}
            ErrorKind::NotFound => return,
            _ => panic!("{error}"),
        }
    }
}

/// As `rm *.db` does: the logs stay.
fn delete_databases(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        if entry.path().extension().is_some_and(|end| end == "db") {
            std::fs::remove_file(entry.path()).expect("an own file");
        }
    }
}

/// Everybody plays on, the zone is in the new store, and a spare adopts it from there.
fn play_on_when_deleted(delete: fn(&Path)) {
    let mut world = World::with_default_leases();
    let owner = world.shard(&[meadow()]);
    let directory = world.cluster.world();
    let mut deleted_at = None;
    let report = client_sim::run(orders(&world, world.cluster.all[owner].addr), &mut |progress| {
        match deleted_at {
            None if all_play(progress, 2.0) => {
                delete(&directory);
                deleted_at = Some(progress.running_for_s);
            }
            Some(at) if directory.join("zone-meadow.db").exists() && all_play(progress, at + 2.0) => {
                return Control::Stop;
            }
            _ => {}
        }
        Control::Continue
    });
    let report = report.expect("a run");
    assert!(report.is_clean() && deleted_at.is_some(), "{report:#?}");

    let heir = world.shard(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let store = SqliteStore::open(&directory).expect("the new store");
    let summary = || runtime.block_on(store.summary(&meadow())).expect("an answer");
    let is_whole = || summary().is_some_and(|zone| zone.fence_epoch == Epoch(1) && zone.base.is_some());
    world
        .cluster
        .wait_until("the zone is whole in the new store", PATIENCE, |_| is_whole())
        .expect("a summary");
    world.cluster.kill(owner).expect("a kill");
    world.until_adopted(&meadow(), heir, Epoch::FIRST);
    let adopted = world
        .cluster
        .adoptions
        .iter()
        .find(|a| a.process == heir && a.report.zone == meadow());
    assert!(adopted.expect("it was waited for").report.digest_equal);
    assert!(world.cluster.lost.is_empty(), "{:?}", world.cluster.lost);
}

#[test]
fn shard_whose_files_are_deleted_writes_the_zone_anew() {
    play_on_when_deleted(|directory| {
        delete(directory);
        std::fs::create_dir_all(directory).expect("a writable directory");
    });
}

#[test]
fn shard_whose_directory_is_deleted_makes_it_anew() {
    play_on_when_deleted(delete);
}

#[test]
fn shard_whose_databases_are_deleted_beside_their_logs_writes_the_zone_anew() {
    play_on_when_deleted(delete_databases);
}

#[tokio::test(flavor = "multi_thread")]
async fn spare_of_a_deleted_world_whose_holder_died_with_it_says_that_it_is_lost() {
    let mut world = World::new();
    let no_archive = "[archive]\nurl = \"off\"\n";
    let owner = world.shard_configured(&[meadow()], no_archive);
    let heir = world.shard_configured(&[], no_archive);
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    player.until_attached_above(Epoch::NONE).await;
    // The spare has seen the owner's lease.
    player.until_told_of(world.cluster.all[heir].addr).await;
    world.cluster.signal(owner, Signal::STOP).expect("it lives");
    delete(&world.cluster.world());
    world.cluster.kill(owner).expect("a kill");
    let (epoch, last_tick) = world.until_adopted(&meadow(), heir, Epoch::FIRST);
    assert_eq!(
        (last_tick, world.cluster.lost.clone()),
        (Tick(0), vec![(meadow(), epoch)])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn spare_of_a_deleted_world_waits_if_the_archive_was_deleted_with_it() {
    let mut world = World::new();
    let owner = world.shard(&[meadow()]);
    let heir = world.shard(&[]);
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    player.until_attached_above(Epoch::NONE).await;
    player.until_told_of(world.cluster.all[heir].addr).await;
    world.cluster.signal(owner, Signal::STOP).expect("it lives");
    delete(&world.cluster.world());
    world.cluster.kill(owner).expect("a kill");
    let is_awaited = |cluster: &LocalCluster| {
        let mut awaited = cluster.archive_awaited.iter();
        awaited.any(|(by, zone)| (*by, zone) == (heir, &meadow()))
    };
    world
        .cluster
        .wait_until("an alarm", PATIENCE, is_awaited)
        .expect("what is gone may be put back");
    assert!(world.cluster.lost.is_empty(), "{:?}", world.cluster.lost);
}
