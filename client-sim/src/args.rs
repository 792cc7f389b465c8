//! The command line. It checks the form of each value; whether they make sense together, the swarm says.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use client_sim::swarm::ZONES_DEFAULT;
use client_sim::{Behavior, SwarmConfig};
use everhold_protocol::ZoneName;

/// Simulated players for Everhold, and a checker that judges by what they were told.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Drive players. Exit code 0: every promise was kept; 1: something was found; 2: there was no run.
    Run(Run),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Shards to connect to; any of them answers any player
    #[arg(long, value_name = "ADDR,...", value_delimiter = ',', required = true)]
    connect: Vec<SocketAddr>,
    /// How many players
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    players: usize,
    /// Seconds of play, counted after the last player has joined
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    seconds: f64,
    /// What they do: wander or trade
    #[arg(long, value_name = "NAME", default_value_t = Behavior::Wander)]
    behavior: Behavior,
    /// Zones in which new characters are born
    #[arg(long, value_name = "ZONE,...", value_delimiter = ',', default_values = ZONES_DEFAULT)]
    zones: Vec<ZoneName>,
    /// Directory with ticket.key and tls-cert.pem, which a shard makes at its first run
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Write the report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Seed of all decisions
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Players that begin to join in one second
    #[arg(long, value_name = "N", default_value_t = 400)]
    joins_per_s: u32,
    /// Account of the first player; the others have the numbers after it
    #[arg(long, value_name = "N", default_value_t = 1)]
    first_account: u64,
    /// All must have joined after so many seconds
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    join_deadline: f64,
    /// All must have heard everything so many seconds after the end of play
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    settle_deadline: f64,
}

impl From<Run> for SwarmConfig {
    fn from(run: Run) -> Self {
        Self {
            connect: run.connect,
            players: run.players,
            seconds: run.seconds,
            zones: run.zones,
            behavior: run.behavior,
            keys: run.keys,
            seed: run.seed,
            joins_per_s: run.joins_per_s,
            first_account: run.first_account,
            join_deadline_s: run.join_deadline,
            settle_deadline_s: run.settle_deadline,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use client_sim::{Behavior, SwarmConfig};

    use super::{Args, Command};

    fn parse(line: &str) -> Result<SwarmConfig, clap::Error> {
        let Command::Run(run) = Args::try_parse_from(line.split_whitespace())?.command;
        Ok(run.into())
    }

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let line = "client-sim run --connect 127.0.0.1:7777,[::1]:7778 --keys k --zones meadow,pier-2 --behavior trade";
        let config = parse(line).unwrap();
        assert_eq!(
            (config.connect.len(), config.zones.len(), config.behavior),
            (2, 2, Behavior::Trade)
        );
    }

    #[test]
    fn zones_are_those_of_the_world_by_default() {
        let config = parse("client-sim run --connect 127.0.0.1:7777 --keys k").unwrap();
        assert_eq!(config.zones, SwarmConfig::default().zones);
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for (wrong, name) in [
            ("--behavior dance", "--behavior"),
            ("--zones Meadow", "--zones"),
            ("--players -1", "-1"),
        ] {
            let error = parse(&format!("client-sim run --connect 127.0.0.1:7777 --keys k {wrong}")).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(parse("client-sim run --keys k").is_err());
    }
}
