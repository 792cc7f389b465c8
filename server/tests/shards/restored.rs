//! Zones that the state store has lost with all shards go on from the archive, and wait for it.
//!
//! `ARCHIVE_PLAYERS=1000` makes the long form.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use client_sim::Control;
use everhold_core::report::HistorySource;
use everhold_protocol::Epoch;
use everhold_testing::player::OldConnections;
use everhold_testing::postgres::{Disk, PostgresServer};
use everhold_testing::redis::Persistence;

use crate::archive::{BALANCES, DATABASE, assert_balanced, in_file, in_postgres, stop};
use crate::ledger::{all_trade, trade_orders, traders};
use crate::world::{PATIENCE, World, meadow};

/// Ticks between two commits, at 20 Hz.
const INTERVAL_TICKS: u64 = 20;

/// The coins of each account.
type Coins = BTreeMap<i64, i64>;

/// Players trade, and everything dies under them.
fn trade_until_all_die(world: &mut World, lines: &str) -> Epoch {
    let shards = [
        world.shard_configured(&[meadow()], lines),
        world.shard_configured(&[], lines),
    ];
    let orders = trade_orders(world, world.cluster.all[shards[0]].addr, traders());
    let report = client_sim::run(orders, &mut |progress| {
        if !all_trade(progress, 4.0) {
            return Control::Continue;
        }
        for shard in shards {
            world.cluster.kill(shard).expect("a kill");
        }
        Control::Stop
    });
    drop(report.expect("a run"));
    let epochs = world.cluster.adoptions.iter().map(|adoption| adoption.report.epoch);
    epochs.max().expect("an owner")
}

/// A shard is started on a store that has nothing: everybody has what the archive's last commit has, which is `rows`.
/// The zone goes on.
async fn assert_restored(world: &mut World, lines: &str, before: Epoch, rows: &[Vec<i64>]) -> usize {
    let coins = assert_balanced(rows);
    assert_eq!(coins.len(), traders());
    let shard = world.shard_configured(&[meadow()], lines);
    let mut adoptions = world.cluster.adoptions.iter();
    let adoption = adoptions.rfind(|adoption| adoption.process == shard && adoption.report.zone == meadow());
    let report = &adoption.expect("an adoption").report;
    assert_eq!(report.source, HistorySource::Archive);
    assert!(report.epoch > before, "above all that the archive has seen");
    assert!(report.last_tick.0 > 0);
    assert_eq!(report.loss_ticks_max, Some(report.rewound_ticks.max(INTERVAL_TICKS)));
    assert!(world.cluster.lost.is_empty(), "{:?}", world.cluster.lost);
    let accounts: Vec<i64> = coins.keys().copied().take(5).collect();
    for account in accounts {
        let number = u64::try_from(account).expect("an account");
        let mut player = world.player(number, &meadow(), OldConnections::Close);
        player.until_attached_above(before).await;
        let own = player.own();
        let row = rows.iter().find(|row| row[0] == account).expect("a row");
        let has = (own.gold, own.items.len() as u64);
        assert_eq!(
            has,
            (row[1].cast_unsigned(), row[2].cast_unsigned()),
            "account {account}"
        );
        player.logout();
    }
    shard
}

/// Checks the rows after another stop: they are balanced, and no account has got or lost anything.
fn assert_same_coins(before: &[Vec<i64>], after: &[Vec<i64>]) {
    let coins = |rows: &[Vec<i64>]| -> Coins { rows.iter().map(|row| (row[0], row[1])).collect() };
    assert_balanced(after);
    assert_eq!(coins(before), coins(after));
}

fn archive_lines(url: &str) -> String {
    let url = if url.is_empty() {
        String::new()
    } else {
        format!("url = \"{url}\"\n")
    };
    format!("[archive]\n{url}interval_ms = 1000\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn world_whose_redis_is_wiped_with_all_shards_dead_goes_on_from_postgres() {
    let server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    let lines = archive_lines(&server.url(DATABASE));
    let mut world = World::on_redis(Persistence::None);
    let before = tokio::task::block_in_place(|| trade_until_all_die(&mut world, &lines));
    assert_eq!(world.redis().command(&["FLUSHALL"]), "OK");
    let rows = in_postgres(&server, BALANCES);
    let shard = assert_restored(&mut world, &lines, before, &rows).await;
    stop(&mut world, shard);
    assert_same_coins(&rows, &in_postgres(&server, BALANCES));
}

/// Deletes everything in the directory of an embedded world but its archive.
fn wipe(state: &Path) {
    for entry in std::fs::read_dir(state).expect("a directory").flatten() {
        let is_archive = entry.file_name().to_string_lossy().starts_with("archive.db");
        match entry.file_type().expect("a type") {
            _ if is_archive => {}
            kind if kind.is_dir() => std::fs::remove_dir_all(entry.path()).expect("it can be deleted"),
            _ => std::fs::remove_file(entry.path()).expect("it can be deleted"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn world_whose_files_are_deleted_but_for_its_archive_goes_on_from_that() {
    let lines = archive_lines("");
    let mut world = World::new();
    let before = tokio::task::block_in_place(|| trade_until_all_die(&mut world, &lines));
    let state = world.cluster.world();
    wipe(&state);
    let file = state.join("archive.db");
    let rows = in_file(&file, BALANCES, 5);
    let shard = assert_restored(&mut world, &lines, before, &rows).await;
    stop(&mut world, shard);
    assert_same_coins(&rows, &in_file(&file, BALANCES, 5));
}

#[test]
fn zone_waits_for_an_archive_that_does_not_answer_and_begins_once_it_has_nothing() {
    let mut server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    let lines = archive_lines(&server.url(DATABASE));
    server.kill();
    let mut world = World::on_redis(Persistence::None);
    let shard = world.shard_configured(&[], &lines);
    let is_awaited = |cluster: &everhold_local_cluster::LocalCluster| {
        let mut awaited = cluster.archive_awaited.iter();
        awaited.any(|(by, zone)| (*by, zone) == (shard, &meadow()))
    };
    world
        .cluster
        .wait_until("an alarm", PATIENCE, is_awaited)
        .expect("an alarm");
    std::thread::sleep(Duration::from_secs(2));
    world.cluster.listen();
    assert!(world.cluster.adoptions.is_empty(), "nothing begins");
    server.start_again();
    let (_, last) = world.until_adopted(&meadow(), shard, Epoch::NONE);
    assert_eq!(last.0, 0);
    let source = world.cluster.adoptions[0].report.source;
    assert_eq!(source, HistorySource::Nothing);
}
