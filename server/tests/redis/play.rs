//! Players on shards whose Redis is several servers: a Cluster, or a group with Sentinels. Slots move, primaries die
//! and come back, shards die; each is healed before the next. The long form is `make redis-play`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use client_sim::{Behavior, Control, SwarmConfig, SwarmPhase, SwarmProgress, SwarmReport};
use everhold_local_cluster::LocalCluster;
use everhold_protocol::ZoneName;
use everhold_testing::redis::{RedisCluster, SentinelGroup};
use tempfile::TempDir;

pub(crate) fn zone() -> ZoneName {
    "meadow".parse().unwrap()
}

/// Several servers agree on what became of one within seconds, and players come back after that; a busy machine needs
/// far longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The longest play, s: it ends when all troubles are over.
const SECONDS_MAX: f64 = 600.0;

/// The size of a play: its players, and its seconds at least.
pub(crate) struct Form {
    pub(crate) players: usize,
    pub(crate) seconds: f64,
}

impl Form {
    /// A short one, unless the environment asks for more.
    fn asked_for() -> Self {
        let number = |name, default| {
            let text = std::env::var(name).unwrap_or_default();
            if text.is_empty() {
                default
            } else {
                text.parse().unwrap()
            }
        };
        Self {
            players: number("REDIS_PLAY_PLAYERS", 24),
            seconds: number("REDIS_PLAY_SECONDS", 0) as f64,
        }
    }
}

/// Two shards, each with zones of its own.
pub(crate) struct World {
    pub(crate) cluster: LocalCluster,
    // Removed when the processes are gone.
    _directory: TempDir,
}

fn all_zones() -> Vec<ZoneName> {
    ["meadow", "forest", "harbor"]
        .map(|zone| zone.parse().unwrap())
        .to_vec()
}

impl World {
    fn at(url: &str) -> Self {
        Self::with(url, &[])
    }

    /// With these flags of each shard besides its own.
    pub(crate) fn with(url: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut cluster = LocalCluster::new(env!("CARGO_BIN_EXE_everhold").into(), directory.path());
        let (first, others): (Vec<_>, Vec<_>) = all_zones().into_iter().partition(|name| *name == zone());
        for zones in [first, others] {
            cluster.start(&zones, &[&["--store", url], flags].concat()).unwrap();
        }
        Self {
            cluster,
            _directory: directory,
        }
    }

    /// Returns the shard that serves meadow.
    pub(crate) fn owner(&mut self) -> usize {
        self.cluster.listen();
        let mut adoptions = self.cluster.adoptions.iter();
        adoptions
            .rfind(|adoption| adoption.report.zone == zone())
            .unwrap()
            .process
    }
}

/// Players, on a thread of their own.
pub(crate) struct Play {
    swarm: std::thread::JoinHandle<SwarmReport>,
    progress: Receiver<SwarmProgress>,
    may_end: Arc<AtomicBool>,
}

impl Play {
    pub(crate) fn start(world: &World, form: &Form) -> Self {
        let (told, progress) = channel();
        let may_end = Arc::new(AtomicBool::new(false));
        let (ends, seconds) = (Arc::clone(&may_end), form.seconds);
        let config = SwarmConfig {
            connect: world.cluster.all.iter().map(|shard| shard.addr).collect(),
            players: form.players,
            seconds: SECONDS_MAX,
            zones: all_zones(),
            behavior: Behavior::Trade,
            keys: world.cluster.keys(),
            join_deadline_s: PATIENCE.as_secs_f64(),
            settle_deadline_s: PATIENCE.as_secs_f64(),
            ..SwarmConfig::default()
        };
        let swarm = std::thread::spawn(move || {
            let mut observe = |progress: &SwarmProgress| {
                // Nobody listens any more at the end.
                let _ended = told.send(progress.clone());
                if ends.load(Ordering::Relaxed) && progress.running_for_s >= seconds {
                    Control::Stop
                } else {
                    Control::Continue
                }
            };
            client_sim::run(config, &mut observe).unwrap()
        });
        Self {
            swarm,
            progress,
            may_end,
        }
    }

    /// Waits until every player plays and hears its zone.
    pub(crate) fn until_all_play(&self, when: &str) {
        self.until(&format!("{when}: all players play"), |now| {
            now.attached == now.players && now.silent == 0
        });
    }

    /// Waits until `is_so` of players who all have joined.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&SwarmProgress) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        // What was told before does not count.
        while self.progress.try_recv().is_ok() {}
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(now) = self.progress.recv_timeout(left) else {
                panic!("not in time: {what}")
            };
            if now.phase == SwarmPhase::Running && is_so(&now) {
                return;
            }
        }
    }

    /// Ends it. Returns what became of the players.
    #[expect(clippy::print_stdout, reason = "the figures of the long form")]
    pub(crate) fn end(self, world: &mut World) -> SwarmReport {
        self.may_end.store(true, Ordering::Relaxed);
        let report = self.swarm.join().unwrap();
        world.cluster.stop().unwrap();
        println!(
            "{} players, {:.0} s, {} failovers, lost {}, duplicated {}, rewound {}",
            report.players,
            report.seconds,
            report.failovers.len(),
            report.lost_acknowledged,
            report.duplicated,
            report.rewound_ticks
        );
        for failover in &report.failovers {
            println!(
                "{} {} -> {}: {} of {} players, gap p50 {:.0} ms, p99 {:.0} ms",
                failover.zone,
                failover.from_epoch,
                failover.to_epoch,
                failover.resumed,
                failover.players,
                failover.gap_ms.p50,
                failover.gap_ms.p99
            );
        }
        report
    }

    /// Ends it; no player and none of its things is lost.
    pub(crate) fn finish(self, world: &mut World) -> SwarmReport {
        let report = self.end(world);
        assert!(report.is_clean(), "{report:#?}");
        assert!(world.cluster.lost.is_empty(), "{:?}", world.cluster.lost);
        assert!(
            world
                .cluster
                .adoptions
                .iter()
                .all(|adoption| adoption.report.digest_equal)
        );
        report
    }
}

/// The shard that serves meadow dies, and the other one has all zones.
fn kill_a_shard(world: &mut World, play: &Play) {
    let owner = world.owner();
    world.cluster.kill(owner).unwrap();
    world
        .cluster
        .wait_until("the other shard has its zones", PATIENCE, |cluster| {
            cluster.is_settled()
        })
        .unwrap();
    play.until_all_play("after a shard's death");
}

#[test]
fn players_on_a_cluster_outlive_a_slot_that_moves_a_primary_and_a_shard() {
    let mut redis = RedisCluster::start();
    let mut world = World::at(&redis.url());
    let play = Play::start(&world, &Form::asked_for());
    play.until_all_play("at first");

    let lease = "everhold:{meadow}:lease";
    let before = redis.primary_of(lease);
    let primary = redis.move_slot(lease);
    assert_ne!(primary, before, "it moved");
    redis.wait_until_whole();
    play.until_all_play("after a slot moved");

    redis.kill(primary);
    redis.wait_until_served();
    play.until_all_play("after a primary's death");
    redis.start_again(primary);
    redis.wait_until_whole();

    kill_a_shard(&mut world, &play);
    let _clean = play.finish(&mut world);
}

#[test]
fn players_on_three_sentinels_outlive_a_primary_its_return_a_shard_and_a_planned_failover() {
    let mut redis = SentinelGroup::start();
    let mut world = World::at(&redis.url());
    let play = Play::start(&world, &Form::asked_for());
    play.until_all_play("at first");

    let primary = redis.primary();
    redis.kill(primary);
    redis.wait_until_primary_is_not(primary);
    play.until_all_play("after a primary's death");
    redis.start_again(primary);
    redis.wait_until_whole();
    play.until_all_play("after its return");

    kill_a_shard(&mut world, &play);

    redis.failover();
    redis.wait_until_whole();
    play.until_all_play("after a planned failover");
    let _clean = play.finish(&mut world);
}
