//! The cost of an archive to the shard that writes into it: processor time, and ticks while it is away.
//!
//! `ARCHIVE_PLAYERS=1000 ARCHIVE_WINDOWS=5` makes the long form of the first test, `ARCHIVE_SHARE_PLAYERS=3000` that of
//! the second. They time a machine, so nothing else should run on it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client_sim::meter::Percentiles;
use client_sim::{Behavior, Control, SwarmConfig, SwarmPhase};
use everhold_core::report::ZoneRun;
use everhold_local_cluster::LocalCluster;
use everhold_testing::postgres::{Disk, PostgresServer};
use everhold_testing::redis::Persistence;

use crate::archive::{BALANCES, DATABASE, assert_balanced, in_postgres, stop};
use crate::ledger::{number, traders};
use crate::plain::{median, memory_mib, plain, plain_lines, run_of, say, ticks_between};
use crate::world::World;

/// Windows from which on ratios of times are judged: fewer say nothing.
const JUDGED_WINDOWS: usize = 5;

/// The most by which ticks may be longer while the archive is away: the middle ones, and the longest in a hundred.
const RATIOS_MAX: (f64, f64) = (1.05, 1.25);

/// The most that the archive may take of a shard's time, in a hundred.
const SHARE_MAX_PERCENT: f64 = 2.0;

/// Players from which on that share is judged.
const JUDGED_PLAYERS: usize = 3_000;

/// The archive in a run of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutageStage {
    Before,
    Away,
    /// Started again, and not caught up.
    Late,
    After,
}

/// Windows of play before, during, and after an outage of the archive.
struct Windows {
    count: usize,
    length: Duration,
    stage: OutageStage,
    begun: Option<(Instant, ZoneRun)>,
    with: Vec<Percentiles>,
    without: Vec<Percentiles>,
    lag_max: u64,
    memory_max: u64,
}

impl Windows {
    fn of_environment() -> Self {
        let count = number("ARCHIVE_WINDOWS", 1);
        let s = if count < JUDGED_WINDOWS { 3 } else { 12 };
        Self {
            count,
            length: Duration::from_secs(s),
            stage: OutageStage::Before,
            begun: None,
            with: Vec::new(),
            without: Vec::new(),
            lag_max: 0,
            memory_max: 0,
        }
    }

    /// Goes on with what the shard has reported. Returns whether all windows are over.
    fn look(&mut self, cluster: &LocalCluster, shard: usize, server: &mut PostgresServer) -> bool {
        let Some(run) = run_of(cluster, shard).cloned() else {
            return false;
        };
        let lag = run.archive_lag_ticks.unwrap_or_default();
        self.lag_max = self.lag_max.max(lag);
        self.memory_max = self.memory_max.max(memory_mib(cluster, shard));
        if self.stage == OutageStage::Late {
            // Two intervals.
            if lag <= 40 {
                self.stage = OutageStage::After;
            }
            return false;
        }
        let Some((since, first)) = &self.begun else {
            self.begun = Some((Instant::now(), run));
            return false;
        };
        if since.elapsed() < self.length {
            return false;
        }
        let ticks = ticks_between(first, &run);
        let (stage, with, without) = (self.stage, &mut self.with, &mut self.without);
        if stage == OutageStage::Away { without } else { with }.push(ticks);
        say(&format!(
            "{stage:?}: {ticks:?}, {:.1} ticks/s, lag {lag}",
            run.tick_rate
        ));
        self.begun = Some((Instant::now(), run));
        self.turn(server)
    }

    /// Goes on to the next stage, if this one has its windows.
    fn turn(&mut self, server: &mut PostgresServer) -> bool {
        let (with, without) = (self.with.len(), self.without.len());
        match self.stage {
            OutageStage::Before if with == self.count => {
                server.kill();
                (self.stage, self.begun) = (OutageStage::Away, None);
            }
            OutageStage::Away if without == self.count => {
                server.start_again();
                (self.stage, self.begun) = (OutageStage::Late, None);
            }
            OutageStage::After => return with == 2 * self.count,
            _ => {}
        }
        false
    }

    /// Medians of the windows, and their ratios: p50 and p99.
    fn ratios(&self) -> (f64, f64) {
        let of = |windows: &[Percentiles], value: fn(&Percentiles) -> f64| median(windows.iter().map(value));
        let p50 = |windows| of(windows, |ticks| ticks.p50);
        let p99 = |windows| of(windows, |ticks| ticks.p99);
        say(&format!(
            "ticks with the archive {:.3}/{:.3} ms, without {:.3}/{:.3} ms (medians of p50/p99)",
            p50(&self.with),
            p99(&self.with),
            p50(&self.without),
            p99(&self.without)
        ));
        (
            p50(&self.without) / p50(&self.with),
            p99(&self.without) / p99(&self.with),
        )
    }
}

fn orders(world: &World, shard: usize, players: usize, seconds: (f64, f64)) -> SwarmConfig {
    SwarmConfig {
        connect: vec![world.cluster.all[shard].addr],
        players,
        warm_up_s: seconds.0,
        seconds: seconds.1,
        zones: vec![plain()],
        behavior: Behavior::Trade,
        keys: world.cluster.keys(),
        ..SwarmConfig::default()
    }
}

#[test]
fn ticks_take_as_long_while_the_archive_is_away_as_with_it() {
    let mut server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    let mut world = World::on_redis_with_endless_leases(Persistence::None).alone();
    let file = world.world_file("plain.toml");
    let url = server.url(DATABASE);
    let second = Duration::from_secs(1);
    let lines = plain_lines(&file, 30 * second, Some(&url), second);
    let shard = world.shard_configured(&[plain()], &lines);
    let mut windows = Windows::of_environment();
    let warm_up = if windows.count < JUDGED_WINDOWS { 0.0 } else { 10.0 };
    let orders = orders(&world, shard, traders(), (warm_up, 600.0));
    let report = client_sim::run(orders, &mut |progress| {
        world.cluster.listen();
        if progress.phase == SwarmPhase::Running && windows.look(&world.cluster, shard, &mut server) {
            return Control::Stop;
        }
        Control::Continue
    });
    let report = report.expect("a run");
    assert!(report.is_clean(), "{:#?}", report.errors);
    let (p50, p99) = windows.ratios();
    say(&format!(
        "without ÷ with: p50 {p50:.3}, p99 {p99:.3}; longest lag {} ticks, at most {} MiB",
        windows.lag_max, windows.memory_max
    ));
    let away_s = windows.count as u64 * windows.length.as_secs();
    assert!(windows.lag_max >= 15 * away_s, "the lag is shown: {}", windows.lag_max);
    if windows.count >= JUDGED_WINDOWS {
        assert!(p50 <= RATIOS_MAX.0 && p99 <= RATIOS_MAX.1, "{p50:.3}, {p99:.3}");
    }
    stop(&mut world, shard);
    let coins = assert_balanced(&in_postgres(&server, BALANCES));
    assert_eq!(coins.len(), traders());
}

/// Returns the processor time of a process so far by the names of its threads, s, and that of all, ended ones included.
fn processor_time(pid: u32) -> (BTreeMap<String, f64>, f64) {
    let seconds = |stat: &str| {
        let (_, rest) = stat.rsplit_once(") ").expect("a line of the kernel");
        let times = rest.split(' ').skip(11).take(2);
        let ticks: u64 = times.map(|time| time.parse::<u64>().expect("a number")).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    };
    let all = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let mut by_name = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("it lives")
        .flatten()
    {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file));
        // A thread may end meanwhile.
        if let (Ok(name), Ok(stat)) = (read("comm"), read("stat")) {
            *by_name.entry(name.trim().to_owned()).or_default() += seconds(&stat);
        }
    }
    (by_name, seconds(&all))
}

/// Lets players play at a shard, and returns the share of its time that the threads of this name took, in a hundred.
fn share_of(world: &mut World, archive: (&str, &str), thread: &str) -> f64 {
    let players = number("ARCHIVE_SHARE_PLAYERS", 40);
    let is_long = players >= JUDGED_PLAYERS;
    let (interval, seconds) = if is_long { (30, (20.0, 60.0)) } else { (1, (0.0, 3.0)) };
    let file = world.world_file("plain.toml");
    let url = Some(archive.1).filter(|url| !url.is_empty());
    let linger = Duration::from_secs(30);
    let lines = plain_lines(&file, linger, url, Duration::from_secs(interval));
    let shard = world.shard_configured(&[plain()], &lines);
    let orders = SwarmConfig {
        behavior: Behavior::Wander,
        ..orders(world, shard, players, seconds)
    };
    let pid = world.cluster.all[shard].pid;
    let mut looks = None;
    let report = client_sim::run(orders, &mut |progress| {
        world.cluster.listen();
        if progress.phase == SwarmPhase::Running {
            let look = processor_time(pid);
            let ends = looks.get_or_insert_with(|| (look.clone(), look.clone()));
            ends.1.clone_from(&look);
        }
        Control::Continue
    });
    assert!(report.expect("a run").errors.is_empty());
    let ((before, all_before), (after, all_after)) = looks.expect("it was looked at");
    let all = all_after - all_before;
    let took = |name: &str| {
        let at = |look: &BTreeMap<String, f64>| look.get(name).copied().unwrap_or_default();
        at(&after) - at(&before)
    };
    say(&format!(
        "{} at {players} players: {all:.2} s of processor time",
        archive.0
    ));
    for name in after.keys() {
        say(&format!(
            "  {name}: {:.2} s, {:.2} %",
            took(name),
            100.0 * took(name) / all
        ));
    }
    assert!(thread.is_empty() || after.contains_key(thread), "{after:?}");
    stop(world, shard);
    100.0 * took(thread) / all
}

#[test]
fn archive_takes_little_of_the_time_of_its_shard() {
    let server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    let url = server.url(DATABASE);
    let mut shares = Vec::new();
    for (what, url, thread) in [
        ("no archive, store in files", "off", ""),
        ("archive in a file, store in files", "", "sqlite-archive"),
    ] {
        let mut world = World::with_default_leases().alone();
        shares.push(share_of(&mut world, (what, url), thread));
    }
    let mut world = World::on_redis(Persistence::None).alone();
    // The kernel keeps 15 bytes of a name.
    shares.push(share_of(
        &mut world,
        ("archive in PostgreSQL, store in Redis", &url),
        "postgres-archiv",
    ));
    let judged = number("ARCHIVE_SHARE_PLAYERS", 0) >= JUDGED_PLAYERS;
    assert!(
        !judged || shares.iter().all(|share| *share < SHARE_MAX_PERCENT),
        "{shares:?}"
    );
}
