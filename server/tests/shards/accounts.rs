//! Accounts that come one after another through one zone: everybody finds everything again, and the zone keeps none of
//! them.
//!
//! `ACCOUNTS=100000` makes the long form, in which players stay and rest as long as they do by default.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use client_sim::{Behavior, Control, Possessions, SwarmConfig, SwarmPhase};
use everhold_core::limits::TICKET_MEMORY_S_MAX;
use everhold_local_cluster::LocalCluster;
use everhold_testing::postgres::{Disk, PostgresServer};
use everhold_testing::redis::Persistence;

use crate::archive::{BALANCES, DATABASE, assert_balanced, in_file, in_postgres, stop};
use crate::ledger::number;
use crate::plain::{memory_mib, plain, plain_lines, run_of, say};
use crate::world::{PATIENCE, World};

/// From so many accounts on it is the long form.
const LONG_FROM: u64 = 10_000;

/// Blocks of accounts that come a second time, all over the range.
const BLOCKS: u64 = 8;

/// Bytes of a base that remain of an account for a while: its ticket, and the tick at which it left.
const REMEMBERED_BYTES: i64 = 64;

/// Bytes by which a zone's base differs because of what lies and walks around.
const BASE_SLACK_BYTES: i64 = 16 * 1024;

/// The measures of a run.
#[derive(Clone, Copy, Debug)]
struct Scale {
    accounts: u64,
    at_once: u64,
    /// Accounts of a block that comes again.
    block: u64,
    linger: Duration,
    interval: Duration,
}

impl Scale {
    fn of_environment() -> Self {
        let accounts = number("ACCOUNTS", 240) as u64;
        let (at_once, block, s) = if accounts < LONG_FROM {
            (60, 15, (0, 1))
        } else {
            (2_000, 250, (30, 30))
        };
        Self {
            accounts,
            at_once,
            block,
            linger: Duration::from_secs(s.0).max(Duration::from_millis(100)),
            interval: Duration::from_secs(s.1),
        }
    }

    const fn is_long(self) -> bool {
        self.accounts >= LONG_FROM
    }

    /// Returns the accounts that come again.
    fn again(self) -> impl Iterator<Item = Range<u64>> {
        let stride = self.accounts / BLOCKS;
        (0..BLOCKS).map(move |block| 1 + block * stride..1 + block * stride + self.block)
    }
}

/// The archive of a run.
enum Shelf {
    File,
    Postgres(PostgresServer),
}

impl Shelf {
    fn rows(&self, world: &World, query: &str, columns: usize) -> Vec<Vec<i64>> {
        match self {
            Self::File => in_file(&world.cluster.world().join("archive.db"), query, columns),
            Self::Postgres(server) => in_postgres(server, query),
        }
    }

    /// Returns the bytes of the zone's newest base.
    fn base_bytes(&self, world: &World) -> Option<i64> {
        let newest = "SELECT bytes FROM zone_blobs WHERE zone = 'plain' ORDER BY epoch DESC, number DESC LIMIT 1";
        let row = self.rows(world, newest, 1).pop()?;
        Some(row[0])
    }
}

/// A zone through which accounts come and go.
struct Turnstile {
    world: World,
    shard: usize,
    shelf: Shelf,
    scale: Scale,
    /// The possessions of each account when it last left.
    had: BTreeMap<u64, Possessions>,
    /// Log-ins in a second, of each wave.
    rates: Vec<f64>,
    characters_max: u32,
    memory_max: u64,
}

impl Turnstile {
    fn start(mut world: World, shelf: Shelf) -> Self {
        let scale = Scale::of_environment();
        let url = match &shelf {
            Shelf::File => None,
            Shelf::Postgres(server) => Some(server.url(DATABASE)),
        };
        let file = world.world_file("plain.toml");
        let lines = plain_lines(&file, scale.linger, url.as_deref(), scale.interval);
        let shard = world.shard_configured(&[plain()], &lines);
        Self {
            world,
            shard,
            shelf,
            scale,
            had: BTreeMap::new(),
            rates: Vec::new(),
            characters_max: 0,
            memory_max: 0,
        }
    }

    /// Has these accounts log in, play, and log out. Those that were here before find what they had.
    fn wave(&mut self, accounts: Range<u64>) {
        let players = (accounts.end - accounts.start) as usize;
        let orders = SwarmConfig {
            connect: vec![self.world.cluster.all[self.shard].addr],
            players,
            seconds: if self.scale.is_long() { 2.0 } else { 0.5 },
            zones: vec![plain()],
            behavior: Behavior::Trade,
            keys: self.world.cluster.keys(),
            seed: accounts.start,
            joins_per_s: 5_000,
            first_account: accounts.start,
            join_deadline_s: 120.0,
            ..SwarmConfig::default()
        };
        let (begin, mut joined) = (Instant::now(), None);
        let report = client_sim::run(orders, &mut |progress| {
            self.world.cluster.listen();
            if progress.phase != SwarmPhase::Joining {
                joined.get_or_insert_with(|| begin.elapsed());
            }
            Control::Continue
        });
        let report = report.expect("a run");
        assert!(report.is_clean(), "{:#?}", report.errors);
        assert_eq!(report.stays.len(), players);
        for stay in report.stays {
            let left_with = stay.left_with.expect("it heard everything");
            if let Some(had) = self.had.insert(stay.account.0, left_with) {
                assert_eq!(stay.came_with, had, "account {}", stay.account.0);
            }
        }
        let joined = joined.unwrap_or_else(|| begin.elapsed());
        self.rates.push(players as f64 / joined.as_secs_f64());
        self.look(&format!(
            "accounts {accounts:?}, log-ins {:.0}/s",
            self.rates.last().expect("one")
        ));
    }

    fn look(&mut self, what: &str) {
        let cluster = &self.world.cluster;
        let (Some(run), memory) = (run_of(cluster, self.shard), memory_mib(cluster, self.shard)) else {
            return;
        };
        self.characters_max = self.characters_max.max(run.characters);
        self.memory_max = self.memory_max.max(memory);
        if self.scale.is_long() {
            let (characters, rate, lag) = (run.characters, run.tick_rate, run.archive_lag_ticks);
            say(&format!(
                "{what}; {characters} characters, {memory} MiB, {rate:.1} ticks/s, archive lag {lag:?}"
            ));
        }
    }

    /// Waits until the zone has no character any more.
    fn until_empty(&mut self) {
        let begin = Instant::now();
        let shard = self.shard;
        let is_empty = |cluster: &LocalCluster| run_of(cluster, shard).is_some_and(|run| run.characters == 0);
        let bound = self.scale.linger + 4 * self.scale.interval + PATIENCE;
        self.world
            .cluster
            .wait_until("all have left the zone", bound, is_empty)
            .expect("they rest");
        self.look(&format!("empty after {:.1} s", begin.elapsed().as_secs_f64()));
    }

    /// Has the store forget these accounts.
    fn forget(&mut self, accounts: Range<u64>) {
        if self.world.redis.is_some() {
            let keys: Vec<String> = accounts.map(|account| format!("everhold:home:{account}")).collect();
            let words: Vec<&str> = ["DEL"].into_iter().chain(keys.iter().map(String::as_str)).collect();
            assert_eq!(
                self.world.redis().command(&words),
                keys.len().to_string(),
                "the store had them"
            );
        } else {
            let file =
                rusqlite::Connection::open(self.world.cluster.world().join("world.db")).expect("the store's file");
            file.busy_timeout(PATIENCE).expect("a time-out");
            let deleted = file.execute(
                "DELETE FROM home WHERE account >= ?1 AND account < ?2",
                (accounts.start.cast_signed(), accounts.end.cast_signed()),
            );
            assert_eq!(
                deleted.expect("deleted") as u64,
                accounts.end - accounts.start,
                "the store had them"
            );
        }
    }

    /// The archive has all accounts once, each with what its player had when it left, and by the moves of the ledger.
    fn assert_archived(&self) {
        let coins = assert_balanced(&self.shelf.rows(&self.world, BALANCES, 5));
        let had = self
            .had
            .iter()
            .map(|(account, had)| (account.cast_signed(), had.gold.cast_signed()));
        assert_eq!(coins.len() as u64, self.scale.accounts);
        assert_eq!(coins, had.collect());
        let things = "SELECT account, id FROM belongings ORDER BY account, id";
        let things = self.shelf.rows(&self.world, things, 2);
        let had = self.had.iter().flat_map(|(account, had)| {
            let things = had.things.iter();
            things.map(|thing| vec![account.cast_signed(), thing.0.cast_signed()])
        });
        assert_eq!(things, had.collect::<Vec<_>>());
        let mut owned: Vec<i64> = things.iter().map(|row| row[1]).collect();
        owned.sort_unstable();
        assert!(
            owned.windows(2).all(|pair| pair[0] < pair[1]),
            "each thing has one owner"
        );
    }

    fn until_base(&self) -> i64 {
        let deadline = Instant::now() + 2 * self.scale.interval + PATIENCE;
        loop {
            if let Some(bytes) = self.shelf.base_bytes(&self.world) {
                return bytes;
            }
            assert!(Instant::now() < deadline, "the archive has the zone");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Everybody comes once, and some come again; the zone is then what it was.
fn pass(world: World, shelf: Shelf) {
    let mut turnstile = Turnstile::start(world, shelf);
    let scale = turnstile.scale;
    let base_before = turnstile.until_base();
    turnstile.look("before all");
    let begin = Instant::now();
    for first in (1..=scale.accounts).step_by(scale.at_once as usize) {
        turnstile.wave(first..(first + scale.at_once).min(scale.accounts + 1));
    }
    let seconds = begin.elapsed().as_secs_f64();
    turnstile.until_empty();
    for (number, accounts) in scale.again().enumerate() {
        // Half of them come back from the store, half of them from the archive.
        if number % 2 == 1 {
            turnstile.forget(accounts.clone());
        }
        turnstile.wave(accounts);
    }
    turnstile.until_empty();
    // Used tickets are remembered for a while, and so is who left; then comes one base more.
    let (remembered, patience) = if scale.is_long() {
        (0, Duration::from_secs(TICKET_MEMORY_S_MAX) + 2 * scale.interval)
    } else {
        (scale.accounts.cast_signed() * REMEMBERED_BYTES, 2 * scale.interval)
    };
    std::thread::sleep(patience);
    turnstile.world.cluster.listen();
    turnstile.look("after all");
    let base_after = turnstile.until_base();
    let (shard, rates) = (turnstile.shard, turnstile.rates.clone());
    let mean = scale.accounts as f64 / seconds;
    let (slowest, fastest) = rates
        .iter()
        .fold((f64::MAX, 0.0_f64), |(a, b), rate| (a.min(*rate), b.max(*rate)));
    say(&format!(
        "{} accounts in {seconds:.0} s ({mean:.0}/s, {slowest:.0} to {fastest:.0}/s while a wave came in); at most {} \
         characters and {} MiB; base {base_before} bytes before, {base_after} after",
        scale.accounts, turnstile.characters_max, turnstile.memory_max
    ));
    assert!(
        base_after <= base_before + BASE_SLACK_BYTES + remembered,
        "{base_before} to {base_after}"
    );
    stop(&mut turnstile.world, shard);
    turnstile.assert_archived();
}

#[test]
fn accounts_that_come_in_turn_find_everything_again_and_leave_nothing_in_the_zone() {
    pass(World::with_default_leases(), Shelf::File);
}

#[test]
fn accounts_that_come_in_turn_rest_in_postgres() {
    let server = PostgresServer::start(Disk::Unsynced);
    server.create_database(DATABASE);
    pass(World::on_redis(Persistence::None), Shelf::Postgres(server));
}
