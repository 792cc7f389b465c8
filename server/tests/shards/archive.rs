//! The archive behind shards: what people find in it of players who trade, and what an archive that is away costs.

use std::collections::BTreeMap;
use std::path::Path;

use client_sim::{Control, SwarmReport};
use everhold_local_cluster::Who;
use everhold_protocol::Epoch;
use everhold_testing::player::OldConnections;
use everhold_testing::postgres::{Disk, PostgresServer};
use everhold_testing::redis::Persistence;
use rustix::process::Signal;

use crate::outage::{PLAYERS, all_play, orders};
use crate::world::{World, meadow};

/// The database of these tests.
pub(crate) const DATABASE: &str = "world";

/// The coins of each account, and the number of its things: by its own row, and by the moves of the ledger.
pub(crate) const BALANCES: &str = "
    WITH moves AS (
        SELECT taker AS account, value, amount FROM ledger WHERE taker IS NOT NULL AND undone_by IS NULL
        UNION ALL
        SELECT giver, value, -amount FROM ledger WHERE giver IS NOT NULL AND undone_by IS NULL),
    sums AS (
        SELECT account, sum(CASE WHEN value = 'gold' THEN amount ELSE 0 END) AS gold,
            sum(CASE WHEN value = 'item' THEN sign(amount) ELSE 0 END) AS items
        FROM moves GROUP BY account),
    things AS (SELECT account, count(*) AS items FROM belongings GROUP BY account)
    SELECT c.account, c.gold, coalesce(t.items, 0), CAST(coalesce(s.gold, 0) AS BIGINT),
        CAST(coalesce(s.items, 0) AS BIGINT)
    FROM characters c LEFT JOIN sums s ON s.account = c.account LEFT JOIN things t ON t.account = c.account
    ORDER BY c.account";

/// The moves from one account to another.
pub(crate) const GIFTS: &str = "SELECT count(*) FROM ledger WHERE giver IS NOT NULL AND taker IS NOT NULL";

type Balance = [i64; 5];

pub(crate) fn in_file(path: &Path, query: &str, columns: usize) -> Vec<Vec<i64>> {
    let file = rusqlite::Connection::open(path).expect("the archive has a file");
    let mut statement = file.prepare(query).expect("a query");
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
    let rows = statement.query_map((), row).expect("rows");
    rows.collect::<Result<_, _>>().expect("numbers")
}

pub(crate) fn in_postgres(server: &PostgresServer, query: &str) -> Vec<Vec<i64>> {
    let numbers = |row: &Vec<String>| row.iter().map(|word| word.parse().expect("a number")).collect();
    server.sql(DATABASE, query).iter().map(numbers).collect()
}

/// Every account has by its row what it has by the ledger. Returns the coins of all.
pub(crate) fn assert_balanced(rows: &[Vec<i64>]) -> BTreeMap<i64, i64> {
    let balances = rows
        .iter()
        .map(|row| Balance::try_from(&row[..]).expect("five columns"));
    let coins = balances.map(|[account, coins, things, moved_coins, moved_things]| {
        assert_eq!((coins, things), (moved_coins, moved_things), "account {account}");
        (account, coins)
    });
    coins.collect()
}

/// Players trade for some seconds.
fn trade(world: &World, shard: usize) -> SwarmReport {
    let orders = orders(world, world.cluster.all[shard].addr);
    let report = client_sim::run(orders, &mut |progress| {
        if all_play(progress, 4.0) {
            Control::Stop
        } else {
            Control::Continue
        }
    });
    report.expect("a run")
}

pub(crate) fn stop(world: &mut World, shard: usize) {
    world
        .cluster
        .signal_to(shard, Who::Guardian, Signal::TERM)
        .expect("a signal");
    world.until_stopped(shard);
}

#[test]
fn what_traders_have_after_a_stop_is_what_the_ledger_adds_up_to() {
    let mut world = World::with_default_leases();
    let shard = world.shard_configured(&[meadow()], "[archive]\ninterval_ms = 1000\n");
    let report = trade(&world, shard);
    assert!(report.is_clean(), "{report:#?}");
    stop(&mut world, shard);
    let file = world.cluster.world().join("archive.db");
    let coins = assert_balanced(&in_file(&file, BALANCES, 5));
    assert_eq!(coins.len(), PLAYERS);
    assert!(in_file(&file, GIFTS, 1)[0][0] > 0, "they traded");
}

#[test]
fn postgres_has_what_a_shard_on_redis_had_when_it_stopped() {
    let server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    let mut world = World::on_redis(Persistence::None);
    let lines = format!("[archive]\nurl = \"{}\"\ninterval_ms = 1000\n", server.url(DATABASE));
    let shard = world.shard_configured(&[meadow()], &lines);
    let report = trade(&world, shard);
    assert!(report.is_clean(), "{report:#?}");
    stop(&mut world, shard);
    let coins = assert_balanced(&in_postgres(&server, BALANCES));
    assert_eq!(coins.len(), PLAYERS);
    assert!(in_postgres(&server, GIFTS)[0][0] > 0, "they traded");
}

/// Adoption, ticks, and the gate ask no archive.
#[tokio::test(flavor = "multi_thread")]
async fn archive_that_is_away_costs_players_nothing_and_catches_up() {
    let mut server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    let lines = format!("[archive]\nurl = \"{}\"\ninterval_ms = 1000\n", server.url(DATABASE));
    let mut world = World::on_redis(Persistence::None);
    let owner = world.shard_configured(&[meadow()], &lines);
    let spare = world.shard_configured(&[], &lines);
    let mut player = world.player(7, &meadow(), OldConnections::Close);
    let epoch = player.until_attached_above(Epoch::NONE).await;
    server.kill();
    player.until_told_of(world.cluster.all[spare].addr).await;
    let before = player.own();
    world.cluster.kill(owner).expect("a kill");
    world.until_adopted(&meadow(), spare, epoch);
    player.until_attached_above(epoch).await;
    assert_eq!((player.own().gold, player.own().items), (before.gold, before.items));

    server.start_again();
    let gold = i64::try_from(before.gold).expect("a purse");
    let search = async {
        let caught_up = || {
            let tables = server.sql(
                DATABASE,
                "SELECT count(*) FROM pg_tables WHERE tablename = 'characters'",
            );
            tables[0][0] == "1" && in_postgres(&server, "SELECT account, gold FROM characters") == [[7, gold]]
        };
        while !caught_up() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(crate::world::PATIENCE, search)
        .await
        .expect("the archive catches up");
}
