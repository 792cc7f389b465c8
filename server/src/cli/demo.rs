//! `everhold demo`: three zones on two shard processes and a spare, players over real QUIC, a `kill -9` or several, and a verdict.

mod display;
mod kills;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use client_sim::{Behavior, Control, Phase, Progress, SwarmConfig, SwarmReport};
use everhold_protocol::ZoneName;

use self::display::Display;
use self::kills::{Killer, Schedule};
use self::report::{DemoReport, Setting};
use crate::durability::gate::Durability;
use crate::io::fleet::Fleet;
use crate::io::redis::{RedisStore, RedisTarget};
use crate::rules::RuleBook;

/// Arguments of `everhold demo`.
#[derive(Args)]
pub struct DemoArguments {
    /// Simulated players.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    players: u32,
    /// Seconds to play, counted after the last join.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// When output may leave: `store` or `async`.
    #[arg(long, default_value_t = Durability::Store)]
    durability: Durability,
    /// Whether a shard process is killed: one at a third of the time, or one after the other.
    #[arg(long, value_enum, default_value_t = Kill::Once)]
    kill: Kill,
    /// With `--kill repeat`: seconds between two kills.
    #[arg(long, default_value_t = 12.0)]
    kill_every: f64,
    /// Where state store and authority are: redis://HOST:PORT and the like. Without it, in files.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Run the shards without their guardians: a death is noticed when the lease runs out.
    #[arg(long)]
    no_guardian: bool,
    /// What the players do.
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
enum Kill {
    /// Nobody dies.
    Never,
    /// The shard with most players, by SIGKILL.
    Once,
    /// The same again and again; each comes back as a spare.
    Repeat,
}

/// Runs the demo. Success means that every player carried on and nothing was lost or duplicated.
pub fn run(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        arguments.seconds.is_finite() && arguments.seconds > 0.0,
        "--seconds must be positive"
    );
    anyhow::ensure!(
        arguments.kill_every.is_finite() && arguments.kill_every >= 1.0,
        "--kill-every must be at least 1"
    );
    let dir = tempfile::tempdir().context("make a directory for the demo's world")?;
    let rules = RuleBook::default_world();
    let zones: Vec<ZoneName> = rules.zones().cloned().collect();
    let mut display = Display::new();
    display.say("starting two shards and a spare");
    let mut fleet = Fleet::new(std::env::current_exe().context("find the own binary")?, dir.path());
    let shard_arguments = shard_arguments(arguments);
    let flags: Vec<&str> = shard_arguments.iter().map(String::as_str).collect();
    let (first, second) = zones.split_at(zones.len().div_ceil(2));
    for preferred in [first, second, &[]] {
        fleet.start(preferred, &flags)?;
    }

    let swarm = SwarmConfig {
        connect: fleet.all.iter().map(|p| p.addr).take(2).collect(),
        players: arguments.players as usize,
        seconds: arguments.seconds,
        zones: zones.clone(),
        behavior: arguments.behavior,
        keys: fleet.keys(),
        seed: arguments.seed,
        ..SwarmConfig::default()
    };
    let schedule = match arguments.kill {
        Kill::Never => Schedule::Never,
        Kill::Once => Schedule::Once(arguments.seconds / 3.0),
        Kill::Repeat => Schedule::Every(arguments.kill_every, arguments.seconds),
    };
    let mut killer = Killer::new(schedule, shard_arguments);
    let report = play(swarm, &mut killer, &mut fleet, &mut display)?;
    display.say("stopping the shards");
    fleet.stop()?;
    if let Some(url) = &arguments.store {
        remove_world(url, &zones)?;
    }
    let setting = Setting {
        durability: arguments.durability,
        store: if arguments.store.is_some() { "redis" } else { "sqlite" },
        guardian: !arguments.no_guardian,
    };
    let report = DemoReport::new(setting, &report, &fleet, (schedule, &killer.killed));
    display.finish(&report);
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec_pretty(&report).context("write the report as JSON")?;
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(if report.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What every shard of the demo is started with.
fn shard_arguments(arguments: &DemoArguments) -> Vec<String> {
    let mut flags = vec!["--durability".to_owned(), arguments.durability.to_string()];
    if let Some(url) = &arguments.store {
        flags.extend(["--store".to_owned(), url.clone(), "--namespace".to_owned(), namespace()]);
    }
    if arguments.no_guardian {
        flags.push("--no-guardian".to_owned());
    }
    flags
}

/// A world of its own in a Redis that may have others.
fn namespace() -> String {
    format!("everhold-demo-{}", std::process::id())
}

fn remove_world(url: &str, zones: &[ZoneName]) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(async {
            let store = RedisStore::open(&RedisTarget::new(url, &namespace())?).await?;
            store.remove_world(zones).await
        })
        .context("remove the demo's keys from Redis")
}

/// Lets the swarm play on a thread of its own, and meanwhile shows how it goes, and kills.
fn play(
    swarm: SwarmConfig,
    killer: &mut Killer,
    fleet: &mut Fleet,
    display: &mut Display,
) -> anyhow::Result<SwarmReport> {
    let (progressed, progress) = channel();
    let player = std::thread::Builder::new()
        .name("swarm".to_owned())
        .spawn(move || {
            client_sim::run(swarm, &mut |progress: &Progress| {
                // The other end lives until this thread is joined.
                let _joined = progressed.send(progress.clone());
                Control::Continue
            })
        })
        .context("start the swarm's thread")?;
    watch(&progress, killer, fleet, display)?;
    player
        .join()
        .map_err(|_| anyhow::anyhow!("the swarm panicked"))?
        .context("the swarm failed")
}

fn watch(
    progress: &Receiver<Progress>,
    killer: &mut Killer,
    fleet: &mut Fleet,
    display: &mut Display,
) -> anyhow::Result<()> {
    loop {
        match progress.recv_timeout(Duration::from_millis(250)) {
            Ok(progress) => {
                fleet.listen();
                if progress.phase == Phase::Running {
                    killer.advance(progress.running_for_s, fleet, display)?;
                }
                display.show(&progress, fleet, !killer.killed.is_empty());
            }
            Err(RecvTimeoutError::Timeout) => fleet.listen(),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}
