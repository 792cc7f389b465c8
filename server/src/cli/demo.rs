//! `everhold demo`: three zones on two shard processes and a spare, players over real QUIC, a `kill -9` or several, and
//! a verdict.

mod compare;
mod display;
mod kills;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use client_sim::{Behavior, Control, SwarmConfig, SwarmPhase, SwarmProgress, SwarmReport};
use everhold_core::durability::gate::Durability;
use everhold_core::game::RuleBook;
use everhold_local_cluster::{Interrupted, LocalCluster};
use everhold_os::scratch::Scratch;
use everhold_os::signals::{StandardInput, Stop, exit_code};
use everhold_protocol::ZoneName;
use serde::Serialize;

use self::compare::ComparedLevels;
use self::display::DemoDisplay;
use self::kills::{Killer, Schedule, Victim};
use self::report::{DemoReport, DemoSettings};
use super::UsageError;
use super::store::StoreArguments;
use crate::config::{self, StoreConfig};
use crate::stores;

/// Arguments of `everhold demo`.
#[derive(Args)]
pub struct DemoArguments {
    /// Simulated players.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    players: u32,
    /// Seconds to play, counted after the last join.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// The level of durability that output waits for: `async`, `store`, or `replica` (on a Redis that has replicas).
    #[arg(long, default_value_t = Durability::Store)]
    durability: Durability,
    /// Whether a shard process is killed: one at a third of the time, or one after the other.
    #[arg(long, value_enum, default_value_t = KillPlan::Once)]
    kill: KillPlan,
    /// With `--kill repeat`: seconds between two kills.
    #[arg(long, default_value_t = 12.0)]
    kill_every: f64,
    /// URL of state store and authority: redis://HOST:PORT and the like, without a password. Without it, that of
    /// `EVERHOLD_STORE_URL`, or else files.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// A file that holds the password for `--store` and that only its owner can read.
    #[arg(long, value_name = "FILE")]
    store_password_file: Option<PathBuf>,
    /// Run the shards without their guardians: a death is noticed when the lease runs out.
    #[arg(long)]
    no_guardian: bool,
    /// Kill no shard, play at each of these levels in turn for `--seconds` each, and show them side by side, each
    /// divided by the last.
    #[arg(long, value_name = "LEVELS", num_args = 0..=1, require_equals = true, default_missing_value = "store,async")]
    #[arg(conflicts_with_all = ["durability", "kill", "kill_every"])]
    compare: Option<ComparedLevels>,
    /// Behaviour of the players.
    #[arg(long, default_value_t = Behavior::Trade)]
    behavior: Behavior,
    /// Seed of everything the players do.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also write the report here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KillPlan {
    /// No shard is killed.
    Never,
    /// The shard with most players, by SIGKILL.
    Once,
    /// The same again and again; each comes back as a spare.
    Repeat,
}

/// Runs the demo. Success means that every player carried on and nothing was lost or duplicated. SIGTERM, SIGINT, and
/// SIGHUP end it in good order, before its time; after a SIGKILL its shards end by themselves, and a janitor removes
/// its directory.
pub fn run(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        arguments.seconds.is_finite() && arguments.seconds > 0.0,
        "--seconds must be positive"
    );
    anyhow::ensure!(
        arguments.kill_every.is_finite() && arguments.kill_every >= 1.0,
        "--kill-every must be at least 1"
    );
    // Before anything is started.
    let store = arguments.store_config()?;
    for level in arguments.levels() {
        config::check_level(level, &store).map_err(|error| UsageError(error.to_string()))?;
    }
    let stop = Stop::listen(StandardInput::Ignored).context("listen for signals")?;
    let mut display = DemoDisplay::new();
    match (judge(arguments, &stop, &mut display), stop.asked()) {
        (Err(error), Some(signal)) if error.is::<Interrupted>() => {
            display.say("stopped before its end");
            Ok(ExitCode::from(exit_code(signal)))
        }
        (passed, _) => Ok(if passed? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
    }
}

/// Plays, shows the report, and says whether all went well.
fn judge(arguments: &DemoArguments, stop: &Stop, display: &mut DemoDisplay) -> anyhow::Result<bool> {
    if let Some(levels) = &arguments.compare {
        let report = compare::run(arguments, levels, stop, display)?;
        display.finish_comparison(&report)?;
        write_json(arguments, &report)?;
        Ok(report.passed())
    } else {
        let report = run_once(arguments, stop, display)?;
        display.finish(&report)?;
        write_json(arguments, &report)?;
        Ok(report.passed())
    }
}

/// One world, with the kills that were asked for.
fn run_once(arguments: &DemoArguments, stop: &Stop, display: &mut DemoDisplay) -> anyhow::Result<DemoReport> {
    let schedule = match arguments.kill {
        KillPlan::Never => Schedule::Never,
        KillPlan::Once => Schedule::Once(arguments.seconds / 3.0),
        KillPlan::Repeat => Schedule::Every(arguments.kill_every, arguments.seconds),
    };
    let durability = arguments.durability;
    let mut killer = Killer::new(schedule, arguments.shard_arguments(durability));
    let (swarm, cluster) = in_world(arguments, arguments.seconds, &mut killer, (stop, display))?;
    let settings = DemoSettings {
        durability,
        store: arguments.store_name()?,
        guardian: !arguments.no_guardian,
    };
    Ok(DemoReport::new(settings, &swarm, &cluster, (schedule, &killer.killed)))
}

fn write_json(arguments: &DemoArguments, report: &impl Serialize) -> anyhow::Result<()> {
    let Some(path) = &arguments.json else { return Ok(()) };
    let json = serde_json::to_vec_pretty(report).context("write the report as JSON")?;
    std::fs::write(path, json).with_context(|| format!("write {}", path.display()))
}

/// Starts a world of its own, lets the players play in it for so many seconds, and leaves nothing of it behind,
/// whatever happened.
fn in_world(
    arguments: &DemoArguments,
    seconds: f64,
    killer: &mut Killer,
    (stop, display): (&Stop, &mut DemoDisplay),
) -> anyhow::Result<(SwarmReport, LocalCluster)> {
    let binary = std::env::current_exe().context("find the own binary")?;
    let dir = Scratch::new(&binary).context("make a directory for the demo's world")?;
    let mut cluster = LocalCluster::new(binary, dir.path());
    cluster.heed(stop.clone());
    let zones: Vec<ZoneName> = RuleBook::default_world().zones().cloned().collect();
    let swarm = SwarmConfig {
        players: arguments.players as usize,
        seconds,
        zones: zones.clone(),
        behavior: arguments.behavior,
        keys: cluster.keys(),
        seed: arguments.seed,
        ..SwarmConfig::default()
    };
    // After an error the cluster is dropped there, so nobody writes keys any more when they are removed here.
    let played = play_on(cluster, swarm, killer, (stop, display));
    let removed = remove_world(&arguments.store_config()?, &zones);
    let played = played?;
    removed.map(|()| played)
}

/// Two shards and a spare, from their start to their end in good order.
fn play_on(
    mut cluster: LocalCluster,
    mut swarm: SwarmConfig,
    killer: &mut Killer,
    (stop, display): (&Stop, &mut DemoDisplay),
) -> anyhow::Result<(SwarmReport, LocalCluster)> {
    display.say("starting two shards and a spare");
    let (first, second) = swarm.zones.split_at(swarm.zones.len().div_ceil(2));
    for preferred in [first, second, &[]] {
        cluster.start(preferred, &killer.arguments())?;
    }
    swarm.connect = cluster.all.iter().map(|p| p.addr).take(2).collect();
    let played = play(swarm, killer, &mut cluster, (stop, display));
    if played.is_ok() || stop.asked().is_some() {
        display.say("stopping the shards");
        cluster.stop()?;
    }
    Ok((played?, cluster))
}

impl DemoArguments {
    /// Returns the levels of durability that are played at.
    fn levels(&self) -> Vec<Durability> {
        let one = || vec![self.durability];
        self.compare.as_ref().map_or_else(one, |levels| levels.0.clone())
    }

    /// Returns the flags that every shard of the demo is started with.
    fn shard_arguments(&self, durability: Durability) -> Vec<String> {
        let mut flags = vec!["--durability".to_owned(), durability.to_string()];
        // A URL from the environment may hold a password: the shards find it there themselves.
        let store = self.store.clone().map(|url| ("--store", url));
        let file = self.store_password_file.as_ref();
        let file = file.map(|path| ("--store-password-file", path.to_string_lossy().into_owned()));
        for (flag, value) in store.into_iter().chain(file).chain([("--namespace", namespace())]) {
            flags.extend([flag.to_owned(), value]);
        }
        if self.no_guardian {
            flags.push("--no-guardian".to_owned());
        }
        flags
    }

    /// Resolves where the shards' world is kept, as they do themselves. Leases are not kept apart: the namespace, or
    /// the directory, is this demo's own, and so nothing of another world is touched.
    fn store_config(&self) -> Result<StoreConfig, UsageError> {
        let store = StoreArguments {
            store: self.store.clone(),
            store_password_file: self.store_password_file.clone(),
            namespace: Some(namespace()),
            ..StoreArguments::default()
        };
        let places = store.resolve()?;
        if places.are_apart() {
            let why = "the demo's leases are where its store is: run it without EVERHOLD_AUTHORITY_URL";
            return Err(UsageError(why.to_owned()));
        }
        Ok(places.store)
    }

    fn store_name(&self) -> Result<&'static str, UsageError> {
        Ok(match self.store_config()? {
            StoreConfig::Embedded(_) => "sqlite",
            StoreConfig::Redis { .. } => "redis",
        })
    }
}

/// A world of its own in a Redis that may have others.
fn namespace() -> String {
    format!("everhold-demo-{}", std::process::id())
}

fn remove_world(store: &StoreConfig, zones: &[ZoneName]) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(stores::remove_keys(store, zones))
        .context("remove the demo's keys from Redis")
}

/// Lets the swarm play on a thread of its own, and meanwhile shows how it goes, and kills.
fn play(
    swarm: SwarmConfig,
    killer: &mut Killer,
    cluster: &mut LocalCluster,
    (stop, display): (&Stop, &mut DemoDisplay),
) -> anyhow::Result<SwarmReport> {
    let (progressed, progress) = channel();
    let player = std::thread::Builder::new()
        .name("swarm".to_owned())
        .spawn(move || {
            client_sim::run(swarm, &mut |progress: &SwarmProgress| {
                // The other end lives until this thread is joined.
                let _joined = progressed.send(progress.clone());
                Control::Continue
            })
        })
        .context("start the swarm's thread")?;
    // Asked to stop, this process ends soon, and the swarm's thread with it.
    watch(&progress, killer, cluster, (stop, display))?;
    player
        .join()
        .map_err(|_| anyhow::anyhow!("the swarm panicked"))?
        .context("the swarm failed")
}

fn watch(
    progress: &Receiver<SwarmProgress>,
    killer: &mut Killer,
    cluster: &mut LocalCluster,
    (stop, display): (&Stop, &mut DemoDisplay),
) -> anyhow::Result<()> {
    loop {
        if stop.asked().is_some() {
            return Err(Interrupted.into());
        }
        match progress.recv_timeout(Duration::from_millis(250)) {
            Ok(progress) => {
                cluster.listen();
                if progress.phase == SwarmPhase::Running {
                    kill(killer, progress.running_for_s, cluster, display)?;
                }
                display.show(&progress, cluster, !killer.killed.is_empty());
            }
            Err(RecvTimeoutError::Timeout) => cluster.listen(),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// Starts again and kills what is due at this second of play, and says so.
fn kill(killer: &mut Killer, second: f64, cluster: &mut LocalCluster, display: &mut DemoDisplay) -> anyhow::Result<()> {
    if killer.restart_due(cluster)? {
        display.say("a shard starts in the dead one's place, as a spare");
    }
    if let Some(Victim { pid, addr, players }) = killer.kill_due(second, cluster)? {
        display.say(&format!("kill -9 {pid}: the shard at {addr} with {players} players"));
    }
    Ok(())
}
