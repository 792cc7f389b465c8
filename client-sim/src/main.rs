//! The binary `client-sim`: orders from the command line, a display, and a verdict as exit code. The swarm itself is in the library.

mod args;
mod display;

use std::fs;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use client_sim::SwarmReport;
use tracing_subscriber::EnvFilter;

use self::args::{Args, Command, Run};
use self::display::Display;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something that players were told was not so, or something went wrong on the way.
const EXIT_FINDINGS: u8 = 1;
/// There was no run.
const EXIT_ERROR: u8 = 2;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let Command::Run(run) = Args::parse().command;
    match drive(run) {
        Ok(report) if report.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_FINDINGS),
        Err(error) => {
            display::error(&error);
            ExitCode::from(EXIT_ERROR)
        }
    }
}

fn drive(run: Run) -> anyhow::Result<SwarmReport> {
    let json = run.json.clone();
    let mut display = Display::new();
    let report = client_sim::run(run.into(), &mut |progress| display.show(progress))?;
    display.finish(&report);
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(report)
}
