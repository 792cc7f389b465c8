//! The command line: arguments in, exit code out. The only place besides `io` that prints.

pub mod demo;
pub mod inspect;
pub mod keys;
pub mod shard;
mod store;
pub mod ticket;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Exit code for bad arguments or a bad configuration, as `sysexits.h` has it (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

/// An authoritative MMO game-state server whose zones outlive their process.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a shard: one process that hosts zones.
    Shard(Box<shard::ShardArguments>),
    /// Three zones on two shards and a spare, a thousand players, one kill -9: watch everybody carry on.
    Demo(demo::DemoArguments),
    /// Sign a login ticket, as the login service does.
    Ticket(ticket::TicketArguments),
    /// Make, show, check, replace, and copy a world's keys.
    Keys(keys::KeysArguments),
    /// Show zones, owners, epochs, journals, and checkpoints.
    Inspect(inspect::InspectArguments),
}

/// A usage or configuration error, to be told apart from a failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// Parses the process's arguments and runs the command.
#[must_use]
#[expect(clippy::print_stderr, reason = "the last word of a command that failed")]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            // Nothing is left to do if the terminal is gone.
            let _closed = error.print();
            return ExitCode::from(code);
        }
    };
    start_logging();
    let outcome = match arguments.command {
        Command::Shard(arguments) => shard::run(*arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Ticket(arguments) => ticket::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("everhold: {error:#}");
        ExitCode::from(if error.is::<UsageError>() { EXIT_USAGE } else { 1 })
    })
}

/// Logs go to standard error; `RUST_LOG` filters them. Each lost connection to Redis is told where it matters, not by the client as well.
fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,fred=error,everhold=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
