//! Characters at rest cost a zone nothing: few accounts and many, side by side.
//!
//! `AT_REST=1000000 AT_REST_PLAYERS=1000` makes the long form. The characters are made by a zone of this very build,
//! and written into the archive as rows, without the moves by which they would have come by what they have.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client_sim::meter::Percentiles;
use client_sim::{Behavior, Control, PlayerStay, Possessions, SwarmConfig, SwarmPhase};
use everhold_core::durability::archive::{AccountAnswer, Archive, CharacterRow, WallMs};
use everhold_core::durability::archivist::{CutFacts, character_row};
use everhold_core::game::RuleBook;
use everhold_core::ingress::{AttachToken, Birth, Input, Join};
use everhold_core::report::ZoneRun;
use everhold_core::tick::TickStage;
use everhold_core::zone::{Cut, Game, Zone, ZoneConfig};
use everhold_local_cluster::LocalCluster;
use everhold_net::keys::Keys;
use everhold_protocol::{Account, EntityId, Epoch, Tick};
use everhold_store::sqlite::SqliteArchive;

use crate::archive::in_file;
use crate::ledger::number;
use crate::plain::{median, memory_mib, plain, plain_lines, plain_world, run_of, say, stage_between, ticks_between};
use crate::world::alone;

/// Time for which the body of somebody who is away stays: short, so that the next window begins with an empty zone.
const LINGER: Duration = Duration::from_secs(1);

/// The rate of ticks by default.
const TICK_HZ: u16 = 20;

/// Characters that are made by one zone.
const BATCH: u64 = 20_000;

/// An epoch above all that a test sees, so that no number of a character or thing is given out twice.
const FIRST_EPOCH: u32 = 1_000;

/// Accounts of those at rest that log in after the measurement.
const SAMPLE: u64 = 300;

/// Returns characters at rest of these accounts, as a zone would have them archived.
fn resting(rules: &Arc<RuleBook>, epoch: Epoch, accounts: std::ops::RangeInclusive<u64>) -> Vec<CharacterRow> {
    let config = ZoneConfig {
        name: plain(),
        seed: 1,
        tick_hz: TICK_HZ,
        game: rules.clone(),
    };
    let begin = Input::EpochStart {
        epoch,
        nonce: 1,
        rules_id: config.rules_id(),
    };
    let mut zone = Zone::new(config);
    let join = |account: u64| {
        Input::Join(Join {
            account: Account(account),
            ticket: u128::from(account).to_le_bytes(),
            ticket_forget_tick: Tick(1),
            secret: [0; 32],
            token: AttachToken(account),
            birth: Birth::Always,
        })
    };
    let joins: Vec<Input> = [begin].into_iter().chain(accounts.clone().map(join)).collect();
    zone.step(&joins);
    let leave = |account| Input::Logout {
        session: zone.session_of(Account(account)).expect("it has joined"),
        token: AttachToken(account),
    };
    let leaves: Vec<Input> = accounts.map(leave).collect();
    zone.step(&leaves);
    // They are looked at once a second.
    for _ in 0..(LINGER.as_secs() + 2) * u64::from(TICK_HZ) {
        zone.step(&[]);
    }
    let frozen = zone.freeze(Cut::Base);
    let characters = CutFacts::of(&frozen, &**rules, WallMs(0)).characters;
    characters
        .iter()
        .map(|character| character_row(&plain(), character))
        .collect()
}

/// Writes characters at rest of the accounts from 1 on into an archive's file.
async fn fill(path: &Path, rules: &Arc<RuleBook>, count: u64) {
    let schema = rules.archive_schema().expect("the game's declarations");
    let archive = SqliteArchive::open(path, schema).expect("an archive");
    for (epoch, first) in (FIRST_EPOCH..).zip((1..=count).step_by(BATCH as usize)) {
        let mut writes = tokio::task::JoinSet::new();
        for row in resting(rules, Epoch(epoch), first..=count.min(first + BATCH - 1)) {
            assert!(row.payload.is_some(), "account {} rests", row.account.0);
            let archive = archive.clone();
            writes.spawn(async move { archive.put_account(&row, WallMs(0)).await });
        }
        for answer in writes.join_all().await {
            assert_eq!(answer.expect("answered"), AccountAnswer::Stored);
        }
    }
}

/// A window of play, as the shard reported it.
#[derive(Clone, Copy, Debug)]
struct PlayWindow {
    ticks: Percentiles,
    capture: Percentiles,
    characters: u32,
    base_bytes: i64,
    memory_mib: u64,
}

/// A world with so many accounts.
struct RestedWorld {
    cluster: LocalCluster,
    shard: usize,
    windows: Vec<PlayWindow>,
    // Removed when the processes are gone.
    _dir: tempfile::TempDir,
}

impl RestedWorld {
    async fn start(accounts: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut cluster = LocalCluster::new(env!("CARGO_BIN_EXE_everhold").into(), dir.path());
        drop(Keys::load_or_create(&cluster.keys()).expect("development keys"));
        let rules = Arc::new(RuleBook::from_toml(&plain_world(LINGER)).expect("the world is well-formed"));
        std::fs::create_dir_all(cluster.world()).expect("a writable directory");
        let begin = Instant::now();
        fill(&cluster.world().join("archive.db"), &rules, accounts).await;
        say(&format!(
            "{accounts} characters written in {:.0} s",
            begin.elapsed().as_secs_f64()
        ));
        let config = dir.path().join("shard.toml");
        let lines = plain_lines(&dir.path().join("plain.toml"), LINGER, None, Duration::from_secs(2));
        std::fs::write(&config, lines).expect("a writable directory");
        let begin = Instant::now();
        let shard = cluster
            .start(&[plain()], &["--config", config.to_str().expect("text")])
            .expect("a shard that serves");
        say(&format!("it serves after {:.1} s", begin.elapsed().as_secs_f64()));
        Self {
            cluster,
            shard,
            windows: Vec::new(),
            _dir: dir,
        }
    }

    fn rows(&self, query: &str, columns: usize) -> Vec<Vec<i64>> {
        in_file(&self.cluster.world().join("archive.db"), query, columns)
    }

    /// Has players of the accounts from `first` on play, with so many seconds of warm-up and of measured play.
    fn play(&mut self, first: u64, players: u64, seconds: (f64, f64)) -> (Vec<PlayerStay>, Option<[ZoneRun; 2]>) {
        let orders = SwarmConfig {
            connect: vec![self.cluster.all[self.shard].addr],
            players: players as usize,
            warm_up_s: seconds.0,
            seconds: seconds.1,
            zones: vec![plain()],
            behavior: Behavior::Wander,
            keys: self.cluster.keys(),
            first_account: first,
            ..SwarmConfig::default()
        };
        let mut looks: Option<[ZoneRun; 2]> = None;
        let (cluster, shard) = (&mut self.cluster, self.shard);
        let report = client_sim::run(orders, &mut |progress| {
            cluster.listen();
            if let (SwarmPhase::Running, Some(run)) = (progress.phase, run_of(cluster, shard)) {
                looks.get_or_insert_with(|| [run.clone(), run.clone()])[1] = run.clone();
            }
            Control::Continue
        });
        let report = report.expect("a run");
        assert!(report.is_clean(), "{:#?}", report.errors);
        (report.stays, looks)
    }

    fn measure(&mut self, players: u64, seconds: (f64, f64)) {
        let (_, looks) = self.play(1, players, seconds);
        let [before, after] = looks.expect("the shard reports");
        let base = "SELECT max(bytes) FROM zone_blobs WHERE zone = 'plain'";
        self.windows.push(PlayWindow {
            ticks: ticks_between(&before, &after),
            capture: stage_between(TickStage::Capture, &before, &after),
            characters: after.characters,
            base_bytes: self.rows(base, 1)[0][0],
            memory_mib: memory_mib(&self.cluster, self.shard),
        });
    }

    /// Medians of the windows: tick p50 and p99, the longest capture, bytes of a base, and memory.
    fn medians(&self) -> [f64; 5] {
        let of = |value: fn(&PlayWindow) -> f64| median(self.windows.iter().map(value));
        [
            of(|window| window.ticks.p50),
            of(|window| window.ticks.p99),
            of(|window| window.capture.max),
            of(|window| window.base_bytes as f64),
            of(|window| window.memory_mib as f64),
        ]
    }

    /// Some of those at rest log in, and have what the archive says.
    fn assert_sample(&mut self, first: u64) {
        let range = format!("account >= {first} AND account < {}", first + SAMPLE);
        let coins = self.rows(&format!("SELECT account, gold FROM characters WHERE {range}"), 2);
        let things = self.rows(
            &format!("SELECT account, id FROM belongings WHERE {range} ORDER BY account, id"),
            2,
        );
        let mut expected: BTreeMap<i64, Possessions> = coins
            .iter()
            .map(|row| {
                let gold = row[1].cast_unsigned();
                (
                    row[0],
                    Possessions {
                        gold,
                        things: Vec::new(),
                    },
                )
            })
            .collect();
        for row in things {
            let owner = expected.get_mut(&row[0]).expect("a character");
            owner.things.push(EntityId(row[1].cast_unsigned()));
        }
        let (stays, _) = self.play(first, SAMPLE, (0.0, 0.5));
        let came = stays
            .into_iter()
            .map(|stay| (stay.account.0.cast_signed(), stay.came_with));
        assert_eq!(came.collect::<BTreeMap<_, _>>(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn characters_at_rest_cost_their_zone_nothing() {
    let _alone = tokio::task::block_in_place(alone);
    let (at_rest, players) = (number("AT_REST", 2_000) as u64, number("AT_REST_PLAYERS", 40) as u64);
    let is_long = at_rest > 100_000;
    let (rounds, seconds) = if is_long { (5, (6.0, 12.0)) } else { (1, (0.0, 3.0)) };
    let mut few = RestedWorld::start(players).await;
    let mut many = RestedWorld::start(at_rest).await;
    tokio::task::block_in_place(|| {
        for _ in 0..rounds {
            few.measure(players, seconds);
            many.measure(players, seconds);
        }
    });
    for (accounts, side) in [(players, &few), (at_rest, &many)] {
        let [p50, p99, capture, base, memory] = side.medians();
        say(&format!(
            "{accounts} accounts, {players} play: tick {p50:.2}/{p99:.2} ms, longest capture {capture:.2} ms, \
             base {base} bytes, {memory} MiB"
        ));
        for window in &side.windows {
            say(&format!("  {window:?}"));
            assert_eq!(u64::from(window.characters), players, "the zone has those who play");
        }
    }
    let (small, large) = (few.medians(), many.medians());
    assert!(
        large[3] < small[3] * 1.2,
        "the base has those who play: {small:?} and {large:?}"
    );
    assert!(large[4] < small[4] * 1.3 + 32.0, "memory: {small:?} and {large:?}");
    if is_long {
        let ratio = |index: usize| large[index] / small[index];
        say(&format!(
            "ratios: tick p50 {:.3}, p99 {:.3}, capture {:.3}",
            ratio(0),
            ratio(1),
            ratio(2)
        ));
    }
    tokio::task::block_in_place(|| many.assert_sample(at_rest / 2));
}
