//! The command line: arguments in, exit code out. What it prints may go unread: a reader that
//! closes its end of a pipe ends no command.

pub mod account;
pub mod backup;
#[cfg(feature = "demo")]
pub mod demo;
pub mod export;
mod history;
pub mod inspect;
pub mod keys;
#[cfg(feature = "demo")]
pub mod janitor;
pub mod replay;
pub mod restore;
pub mod rules;
pub mod shard;
#[cfg(feature = "sqlite")]
pub mod sql;
mod store;
pub mod ticket;
pub mod verify;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use everhold_os::output::{self, LogLine};
use tracing_subscriber::EnvFilter;

/// Exit code for bad arguments or a bad configuration, as `sysexits.h` has it (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

/// An authoritative MMO game-state server whose zones outlive their process.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Run a shard: one process that hosts zones.
    Shard(Box<shard::ShardArguments>),
    /// Three zones on two shards and a spare, a thousand players, one kill -9: watch everybody carry on.
    #[cfg(feature = "demo")]
    Demo(demo::DemoArguments),
    /// Sign a login ticket, as the login service does.
    Ticket(ticket::TicketArguments),
    /// Ban an account, lift its ban, and show it.
    Account(Box<account::AccountArguments>),
    /// Make, show, check, replace, and copy a world's keys.
    Keys(keys::KeysArguments),
    /// Show zones, owners, epochs, journals, and checkpoints.
    Inspect(inspect::InspectArguments),
    /// Write everything that the store has of a zone, or evidence of one that went wrong, into a file.
    Export(Box<export::ExportArguments>),
    /// Replay a zone's history from the store or a file: digests, a player at a tick, where two histories differ.
    Replay(Box<replay::ReplayArguments>),
    /// Show the archive's tables, and queries to begin with.
    #[cfg(feature = "sqlite")]
    Sql(sql::SqlArguments),
    /// Look for damage in everything that store and archive have of a world.
    Verify(Box<verify::VerifyArguments>),
    /// Copy a world into one file while its shards run.
    Backup(Box<backup::BackupArguments>),
    /// Begin a world from the file of a backup.
    Restore(Box<restore::RestoreArguments>),
    /// Show what another world file would change in a world, and have it taken over.
    Rules(Box<rules::RulesArguments>),
    /// Remove a demo's directory when its processes are gone.
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    Janitor(janitor::JanitorArguments),
}

/// A usage or configuration error, to be told apart from a failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// Parses a process's arguments, the program's name first among them, and runs the command.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            // Nothing is left to do if the terminal is gone.
            let _closed = error.print();
            return ExitCode::from(code);
        }
    };
    output::hook_panics();
    start_logging();
    let outcome = match arguments.command {
        CliCommand::Shard(arguments) => shard::run(*arguments),
        #[cfg(feature = "demo")]
        CliCommand::Demo(arguments) => demo::run(&arguments),
        CliCommand::Ticket(arguments) => ticket::run(&arguments).map(|()| ExitCode::SUCCESS),
        CliCommand::Account(arguments) => account::run(&arguments).map(|()| ExitCode::SUCCESS),
        CliCommand::Keys(arguments) => keys::run(&arguments),
        CliCommand::Inspect(arguments) => inspect::run(&arguments).map(|()| ExitCode::SUCCESS),
        CliCommand::Export(arguments) => export::run(&arguments),
        CliCommand::Replay(arguments) => replay::run(&arguments),
        #[cfg(feature = "sqlite")]
        CliCommand::Sql(arguments) => sql::run(&arguments).map(|()| ExitCode::SUCCESS),
        CliCommand::Verify(arguments) => verify::run(&arguments),
        CliCommand::Backup(arguments) => backup::run(&arguments),
        CliCommand::Restore(arguments) => restore::run(&arguments),
        CliCommand::Rules(arguments) => rules::run(&arguments),
        #[cfg(feature = "demo")]
        CliCommand::Janitor(arguments) => janitor::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    let code = outcome.unwrap_or_else(|error| {
        output::stderr().write(format!("everhold: {error:#}\n").as_bytes());
        ExitCode::from(if error.is::<UsageError>() { EXIT_USAGE } else { 1 })
    });
    output::stderr().flush();
    code
}

/// Says a failure with its code, and returns the exit code for it. A usage error is returned as it is.
fn coded_failure(error: anyhow::Error) -> anyhow::Result<ExitCode> {
    if error.is::<UsageError>() {
        return Err(error);
    }
    let error = history::CodedError::of(error);
    output::stderr().write(format!("everhold: {error} [{}]\n", error.code).as_bytes());
    Ok(ExitCode::FAILURE)
}

/// Writes a result to standard output. A reader that closed it wants no more, which is no error; a full disk is one.
fn print(what: impl Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{what}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("write to standard output"),
        _ => Ok(()),
    }
}

/// Logs go to standard error, and no line of them waits for a reader; `RUST_LOG` filters them. Each lost connection to
/// Redis is told where it matters, not by the client as well.
fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,fred=error,everhold=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogLine)
        // It would say so by a print that panics.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
