//! The archive's ledger over crashes: of shards that are killed under players who trade, and of the archive itself.
//!
//! `ARCHIVE_PLAYERS=1000 ARCHIVE_OUTAGE_S=60` makes the long form of the tests that read them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use client_sim::{Control, SwarmConfig, SwarmPhase, SwarmProgress, SwarmReport};
use everhold_core::durability::LagState;
use everhold_core::report::HistorySource;
use everhold_testing::postgres::{Disk, PostgresServer, url_at};
use everhold_testing::proxy::{Faults, Proxy, Way};
use everhold_testing::redis::Persistence;

use crate::archive::{BALANCES, DATABASE, GIFTS, assert_balanced, in_file, in_postgres, stop};
use crate::outage::orders;
use crate::world::{World, meadow};

/// A shard that catches up with as much as this has piled up, bytes.
const MEMORY_MAX: u64 = 512 * 1024 * 1024;

pub(crate) fn number(name: &str, default: usize) -> usize {
    let text = std::env::var(name).unwrap_or_default();
    if text.is_empty() {
        return default;
    }
    text.parse().expect("a number")
}

/// Returns how many players trade.
pub(crate) fn traders() -> usize {
    number("ARCHIVE_PLAYERS", 60)
}

/// Players that trade at the shard that `addr` leads to.
pub(crate) fn trade_orders(world: &World, addr: SocketAddr, players: usize) -> SwarmConfig {
    SwarmConfig {
        players,
        seconds: 180.0,
        ..orders(world, addr)
    }
}

/// Whether everybody has played for so many seconds.
pub(crate) fn all_trade(progress: &SwarmProgress, for_s: f64) -> bool {
    progress.phase == SwarmPhase::Running
        && progress.running_for_s > for_s
        && progress.attached == progress.players
        && progress.silent == 0
}

/// Has players trade, and a shard killed and started again, so many times. Returns their report, and the last shard.
fn trade_through_kills(world: &mut World, lines: &str, kills: usize) -> (SwarmReport, usize) {
    let mut shard = world.shard_configured(&[meadow()], lines);
    let network = Proxy::udp(world.cluster.all[shard].addr, 1);
    let (mut killed, mut since) = (0, Instant::now());
    let orders = trade_orders(world, network.addr(), traders());
    let report = client_sim::run(orders, &mut |progress| {
        if !all_trade(progress, 2.0) {
            since = Instant::now();
        }
        if since.elapsed() < Duration::from_secs(2) {
            return Control::Continue;
        }
        if killed == kills {
            return Control::Stop;
        }
        world.cluster.kill(shard).expect("a kill");
        shard = world.shard_configured(&[meadow()], lines);
        network.lead_to(world.cluster.all[shard].addr);
        (killed, since) = (killed + 1, Instant::now());
        Control::Continue
    });
    (report.expect("a run"), shard)
}

#[test]
fn ledger_has_every_move_of_shards_that_were_killed() {
    let mut world = World::with_default_leases();
    // The first commit of each shard, and that of the stop: most moves reach it by checkpoints and replays alone.
    let lines = "[archive]\ninterval_ms = 60000\n[durability]\ndelta_ms = 1000\n";
    let (report, shard) = trade_through_kills(&mut world, lines, 3);
    assert!(report.is_clean(), "{report:#?}");
    stop(&mut world, shard);
    let file = world.cluster.world().join("archive.db");
    let coins = assert_balanced(&in_file(&file, BALANCES, 5));
    assert_eq!(coins.len(), traders());
    assert!(in_file(&file, GIFTS, 1)[0][0] > 0, "they traded");
}

#[test]
fn archive_that_is_away_under_load_delays_no_adoption_and_misses_nothing() {
    let outage = Duration::from_secs(number("ARCHIVE_OUTAGE_S", 9) as u64);
    let mut server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    let lines = format!("[archive]\nurl = \"{}\"\ninterval_ms = 1000\n", server.url(DATABASE));
    let mut world = World::on_redis_with_endless_leases(Persistence::None);
    let owner = world.shard_configured(&[meadow()], &lines);
    let spare = world.shard_configured(&[], &lines);
    let (mut away_since, mut killed, mut is_back) = (None::<Instant>, false, false);
    let orders = SwarmConfig {
        connect: [owner, spare].map(|shard| world.cluster.all[shard].addr).to_vec(),
        ..trade_orders(&world, world.cluster.all[owner].addr, traders())
    };
    let report = client_sim::run(orders, &mut |progress| {
        world.cluster.listen();
        match away_since {
            None if all_trade(progress, 2.0) => {
                server.kill();
                away_since = Some(Instant::now());
            }
            Some(since) if !killed && since.elapsed() > outage / 3 => {
                world.cluster.kill(owner).expect("a kill");
                killed = true;
            }
            Some(since) if !is_back && since.elapsed() > outage && all_trade(progress, 0.0) => {
                server.start_again();
                is_back = true;
            }
            _ => {}
        }
        let lags = &world.cluster.archive_lags;
        let is_over = lags
            .iter()
            .any(|(shard, zone, state)| (*shard, *state) == (spare, LagState::Fine) && *zone == meadow());
        if is_back && is_over {
            Control::Stop
        } else {
            Control::Continue
        }
    });
    let report = report.expect("a run");
    assert!(report.is_clean(), "{report:#?}");
    let adopted = world
        .cluster
        .adoptions
        .iter()
        .find(|adoption| adoption.process == spare);
    let adopted = &adopted.expect("an adoption").report;
    assert_eq!(adopted.source, HistorySource::Store);
    assert!(adopted.adopt_ms < 5_000.0, "it waited for no archive: {adopted:?}");
    let usage = world.cluster.all[spare].usage.as_ref().expect("a report");
    println!(
        "archive away for {outage:?}: adopted in {} ms, {usage:?}",
        adopted.adopt_ms
    );
    assert!(usage.rss_bytes.is_none_or(|bytes| bytes < MEMORY_MAX));
    stop(&mut world, spare);
    let coins = assert_balanced(&in_postgres(&server, BALANCES));
    assert_eq!(coins.len(), traders());
    assert!(in_postgres(&server, GIFTS)[0][0] > 0, "they traded");
}

#[test]
fn commit_whose_answer_is_lost_with_the_server_stands_once() {
    let mut server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    let network = Proxy::tcp(server.addr(), 1);
    let url = url_at(network.addr(), DATABASE);
    let mut world = World::on_redis(Persistence::None);
    let lines = format!("[archive]\nurl = \"{url}\"\ninterval_ms = 1000\n");
    let shard = world.shard_configured(&[meadow()], &lines);
    let count = |server: &PostgresServer| in_postgres(server, "SELECT count(*) FROM ledger")[0][0];
    let (mut cut_since, mut rounds, mut before) = (None::<Instant>, 0, 0);
    let orders = trade_orders(&world, world.cluster.all[shard].addr, traders());
    let report = client_sim::run(orders, &mut |progress| {
        match cut_since {
            None if rounds == 3 => return Control::Stop,
            None if all_trade(progress, 2.0) => {
                // Commits arrive, and no answer comes back.
                before = count(&server);
                network.set(Faults {
                    back: Way::STALLED,
                    ..Faults::default()
                });
                cut_since = Some(Instant::now());
            }
            Some(since) if since.elapsed() > Duration::from_secs(2) => {
                server.kill();
                network.reset();
                network.heal();
                server.start_again();
                (cut_since, rounds) = (None, rounds + 1);
            }
            _ => {}
        }
        Control::Continue
    });
    assert!(report.expect("a run").is_clean());
    stop(&mut world, shard);
    assert!(count(&server) > before, "it goes on");
    assert_balanced(&in_postgres(&server, BALANCES));
}
