//! `everhold demo`: three zones on two shard processes and a spare, players over real QUIC, one `kill -9`, and a verdict.

mod display;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueEnum};
use client_sim::{Behavior, Control, Phase, Progress, SwarmConfig, SwarmReport};
use everhold_protocol::ZoneName;

use self::display::Display;
use self::report::DemoReport;
use crate::durability::gate::Durability;
use crate::io::clock;
use crate::io::fleet::Fleet;
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
    /// Whether a shard process is killed at a third of the time.
    #[arg(long, value_enum, default_value_t = Kill::Once)]
    kill: Kill,
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
}

/// A kill, on the clocks that it is compared by.
#[derive(Clone, Copy)]
struct Killed {
    /// On the clock of the swarm.
    at: Instant,
    /// On the clock of the shards' reports.
    boottime_ms: f64,
}

/// Runs the demo. Success means that every player carried on and nothing was lost or duplicated.
pub fn run(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        arguments.seconds.is_finite() && arguments.seconds > 0.0,
        "--seconds must be positive"
    );
    let dir = tempfile::tempdir().context("make a directory for the demo's world")?;
    let rules = RuleBook::default_world();
    let zones: Vec<ZoneName> = rules.zones().cloned().collect();
    let mut display = Display::new();
    display.say("starting two shards and a spare");
    let mut fleet = Fleet::new(std::env::current_exe().context("find the own binary")?, dir.path());
    let durability = ["--durability", &arguments.durability.to_string()];
    let (first, second) = zones.split_at(zones.len().div_ceil(2));
    for preferred in [first, second, &[]] {
        fleet.start(preferred, &durability)?;
    }
    // What matters from now on is who takes over.
    fleet.adoptions.clear();

    let swarm = SwarmConfig {
        connect: fleet.all.iter().map(|p| p.addr).take(2).collect(),
        players: arguments.players as usize,
        seconds: arguments.seconds,
        zones,
        behavior: arguments.behavior,
        keys: fleet.keys(),
        seed: arguments.seed,
        ..SwarmConfig::default()
    };
    let (report, killed) = play(arguments, swarm, &mut fleet, &mut display)?;
    display.say("stopping the shards");
    fleet.stop()?;
    let report = DemoReport::new(
        arguments.durability,
        &report,
        &fleet,
        (arguments.kill == Kill::Once, killed),
    );
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

/// Lets the swarm play on a thread of its own, and meanwhile shows how it goes, and kills.
fn play(
    arguments: &DemoArguments,
    swarm: SwarmConfig,
    fleet: &mut Fleet,
    display: &mut Display,
) -> anyhow::Result<(SwarmReport, Option<Killed>)> {
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
    let killed = watch(arguments, &progress, fleet, display)?;
    let report = player
        .join()
        .map_err(|_| anyhow::anyhow!("the swarm panicked"))?
        .context("the swarm failed")?;
    Ok((report, killed))
}

fn watch(
    arguments: &DemoArguments,
    progress: &Receiver<Progress>,
    fleet: &mut Fleet,
    display: &mut Display,
) -> anyhow::Result<Option<Killed>> {
    let mut killed = None;
    loop {
        match progress.recv_timeout(Duration::from_millis(250)) {
            Ok(progress) => {
                let due = progress.phase == Phase::Running && progress.running_for_s >= arguments.seconds / 3.0;
                if arguments.kill == Kill::Once && killed.is_none() && due {
                    killed = Some(kill_busiest(fleet, display)?);
                }
                fleet.listen();
                display.show(&progress, fleet, killed.is_some());
            }
            Err(RecvTimeoutError::Timeout) => fleet.listen(),
            Err(RecvTimeoutError::Disconnected) => return Ok(killed),
        }
    }
}

fn kill_busiest(fleet: &mut Fleet, display: &mut Display) -> anyhow::Result<Killed> {
    let index = fleet.busiest().context("no shard process is left to kill")?;
    let (pid, players) = (fleet.all[index].pid, fleet.all[index].players());
    let at = fleet.kill(index)?;
    let boottime_ms = (clock::boottime().saturating_sub(at.elapsed())).as_secs_f64() * 1e3;
    display.say(&format!(
        "kill -9 {pid}: the shard at {} with {players} players",
        fleet.all[index].addr
    ));
    Ok(Killed { at, boottime_ms })
}
