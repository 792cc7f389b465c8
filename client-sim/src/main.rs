//! The binary `client-sim`: orders from the command line, a display, and a verdict as exit code. The swarm itself is in
//! the library.

mod args;
mod display;
mod target;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Parser;
use client_sim::affinity::pin_thread;
use client_sim::sweep::{SweepNews, chart, sweep};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use tracing_subscriber::EnvFilter;

use self::args::{Args, RunArguments, SimCommand, SweepArguments};
use self::display::ProgressDisplay;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something that players were told was not so, or something went wrong on the way; no number of players holds.
const EXIT_FINDINGS: u8 = 1;
/// There was no run, or no whole sweep.
const EXIT_ERROR: u8 = 2;
/// Nothing was found, but the simulator was too slow for its figures to be believed.
const EXIT_BOTTLENECK: u8 = 3;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| display::LogWriter)
        // It would say so by a print that panics.
        .log_internal_errors(false)
        .init();
    let done = match Args::parse().command {
        SimCommand::Run(run) => drive(run),
        SimCommand::Sweep(sweep) => find_out(sweep),
    };
    let code = done.unwrap_or_else(|error| {
        display::error(&error);
        EXIT_ERROR
    });
    display::flush();
    ExitCode::from(code)
}

fn drive(run: RunArguments) -> anyhow::Result<u8> {
    let json = run.json.clone();
    let ignore_lag = run.ignore_lag;
    if let Some(cpu) = run.play.pin {
        pin_thread(cpu)?;
    }
    let mut display = ProgressDisplay::new();
    let report = client_sim::run(run.into_config()?, &mut |progress| display.show(progress))?;
    display.finish(&report)?;
    if let Some(path) = json {
        write_json(&path, &report)?;
    }
    Ok(if !report.is_clean() {
        EXIT_FINDINGS
    } else if report.simulator.is_bottleneck && !ignore_lag {
        EXIT_BOTTLENECK
    } else {
        0
    })
}

fn find_out(orders: SweepArguments) -> anyhow::Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("listen for signals")?;
    }
    let config = orders.into_config(stop);
    fs::create_dir_all(&config.out).with_context(|| format!("cannot create {}", config.out.display()))?;
    let mut display = ProgressDisplay::new();
    let found = sweep(&config, &mut |news| match news {
        SweepNews::Begins { players, .. } => display.begin(players),
        SweepNews::Progress(progress) => {
            display.show(progress);
        }
        SweepNews::Done(point) => display.point(point),
    })?;
    write_json(&config.out.join("sweep.json"), &found)?;
    let svg = config.out.join("sweep.svg");
    fs::write(&svg, chart(&found)?).with_context(|| format!("cannot write {}", svg.display()))?;
    display.finish_sweep(&found)?;
    Ok(match (found.stopped, found.holds_max) {
        (true, _) => EXIT_ERROR,
        (false, None) => EXIT_FINDINGS,
        (false, Some(_)) => 0,
    })
}

fn write_json(path: &Path, what: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(what)?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
