//! The command line. It checks the form of each value; whether they make sense together, the swarm says.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Parser, Subcommand};
use client_sim::swarm::ZONES_DEFAULT;
use client_sim::sweep::SweepConfig;
use client_sim::{Behavior, Spot, SwarmConfig};
use everhold_protocol::ZoneName;

use crate::target::{LookUpError, Target, look_up};

/// A sweep waits for players to hear everything no longer than this: its servers are measured by what they did before.
const SWEEP_SETTLE_S: f64 = 10.0;

/// Simulated players for Everhold, and a checker that judges by what they were told.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: SimCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// Drive players. Exit code 0: every promise was kept; 1: something was found; 2: there was no run; 3: nothing was
    /// found, but the simulator was too slow for its figures to be believed (see --ignore-lag).
    Run(RunArguments),
    /// Find out how many players one server holds: a fresh server for each number. Exit code 0: it holds the first
    /// number at least; 1: it does not; 2: the sweep could not be made, or was stopped.
    Sweep(SweepArguments),
}

/// Options that a run and a sweep have in common.
#[derive(Debug, clap::Args)]
pub(crate) struct Play {
    /// Seconds of play, counted from the end of the warm-up
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    seconds: f64,
    /// Seconds of play that are not measured, counted after the last player has joined
    #[arg(long, value_name = "S", default_value_t = 0.0)]
    warm_up: f64,
    /// Behaviour of the players: wander, trade, crowd, or fight
    #[arg(long, value_name = "NAME", default_value_t = Behavior::Wander)]
    behavior: Behavior,
    /// Place of a crowd or a fight, in cm from the west and from the south
    #[arg(long, value_name = "X,Y", default_value_t = Spot::default())]
    spot: Spot,
    /// A player that wants nothing new says so with every Nth frame of 50 ms; 1: with every one
    #[arg(long, value_name = "N", default_value_t = SwarmConfig::default().rest_frames)]
    rest_frames: u32,
    /// Drive the players from this CPU only
    #[arg(long, value_name = "CPU")]
    pub(crate) pin: Option<usize>,
    /// Seed of all decisions
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Players that begin to join in one second
    #[arg(long, value_name = "N", default_value_t = 400)]
    joins_per_s: u32,
    /// All must have joined after so many seconds
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    join_deadline: f64,
}

impl Play {
    /// The orders for a swarm, but for those that a run and a sweep do not have in common.
    fn into_swarm(self) -> SwarmConfig {
        SwarmConfig {
            seconds: self.seconds,
            warm_up_s: self.warm_up,
            behavior: self.behavior,
            spot: self.spot,
            rest_frames: self.rest_frames,
            seed: self.seed,
            joins_per_s: self.joins_per_s,
            join_deadline_s: self.join_deadline,
            ..SwarmConfig::default()
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) play: Play,
    /// Shards to connect to, names or addresses; any of them answers any player
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',', required = true)]
    connect: Vec<Target>,
    /// Number of players
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    players: usize,
    /// Zones in which new characters are born
    #[arg(long, value_name = "ZONE,...", value_delimiter = ',', default_values = ZONES_DEFAULT)]
    zones: Vec<ZoneName>,
    /// Directory with ticket.key and tls-cert.pem, which a shard makes at its first run
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Write the report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Exit with 0 also if the simulator was too slow for its figures to be believed
    #[arg(long)]
    pub(crate) ignore_lag: bool,
    /// Account of the first player; the others have the numbers after it
    #[arg(long, value_name = "N", default_value_t = 1)]
    first_account: u64,
    /// All must have heard everything so many seconds after the end of play
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    settle_deadline: f64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SweepArguments {
    #[command(flatten)]
    play: Play,
    /// The server's binary
    #[arg(long, value_name = "EVERHOLD")]
    server: PathBuf,
    /// Numbers of players to try, rising
    #[arg(long, value_name = "N,...", value_delimiter = ',', required = true)]
    players: Vec<usize>,
    /// Zones of the server, among which players are dealt
    #[arg(long, value_name = "ZONE,...", value_delimiter = ',', default_value = ZONES_DEFAULT[0])]
    zones: Vec<ZoneName>,
    /// World file of the server, if not the one that comes with it
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// Durability of the server: async, store, or replica
    #[arg(long, value_name = "LEVEL", default_value = "store")]
    durability: String,
    /// The binary udp-floor: after each number, measure what plain UDP and AES-GCM take for the same packets on the
    /// same CPUs, --server-cpu and --pin
    #[arg(long, value_name = "FILE")]
    udp_floor: Option<PathBuf>,
    /// CPU of the server
    #[arg(long, value_name = "CPU")]
    server_cpu: Option<usize>,
    /// Go on after the first number that does not hold
    #[arg(long)]
    all: bool,
    /// Then halve the gap above the largest number that holds until it is no wider than this
    #[arg(long, value_name = "STEP", num_args = 0..=1, default_missing_value = "250")]
    refine: Option<usize>,
    /// Directory for sweep.json, sweep.svg, and the servers' logs
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl SweepArguments {
    /// The sweep's orders; it ends when `stop` is set.
    pub(crate) fn into_config(self, stop: Arc<AtomicBool>) -> SweepConfig {
        SweepConfig {
            server: self.server,
            players: self.players,
            durability: self.durability,
            world: self.world,
            server_cpu: self.server_cpu,
            udp_floor: self.udp_floor,
            pin: self.play.pin,
            swarm: SwarmConfig {
                zones: self.zones,
                settle_deadline_s: SWEEP_SETTLE_S,
                ..self.play.into_swarm()
            },
            all: self.all,
            refine: self.refine,
            out: self.out,
            stop,
        }
    }
}

impl RunArguments {
    /// The swarm's orders. Names are looked up here.
    pub(crate) fn into_config(self) -> Result<SwarmConfig, LookUpError> {
        Ok(SwarmConfig {
            connect: look_up(&self.connect)?,
            players: self.players,
            zones: self.zones,
            keys: self.keys,
            first_account: self.first_account,
            settle_deadline_s: self.settle_deadline,
            ..self.play.into_swarm()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::{CommandFactory, Parser};
    use client_sim::sweep::SweepConfig;
    use client_sim::{Behavior, Spot, SwarmConfig};

    use super::{Args, SimCommand};

    fn parse(line: &str) -> Result<SwarmConfig, clap::Error> {
        match Args::try_parse_from(line.split_whitespace())?.command {
            SimCommand::Run(run) => Ok(run.into_config().unwrap()),
            SimCommand::Sweep(_) => panic!("not a run: {line}"),
        }
    }

    fn parse_sweep(line: &str) -> Result<SweepConfig, clap::Error> {
        match Args::try_parse_from(line.split_whitespace())?.command {
            SimCommand::Sweep(sweep) => Ok(sweep.into_config(Arc::default())),
            SimCommand::Run(_) => panic!("not a sweep: {line}"),
        }
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
    fn sweep_refines_to_250_players_unless_told_otherwise() {
        let line = "client-sim sweep --server everhold --players 500,1000 --out o";
        let config = parse_sweep(line).unwrap();
        assert_eq!((&config.players[..], config.refine), (&[500, 1_000][..], None));
        assert_eq!((config.swarm.zones.len(), config.durability.as_str()), (1, "store"));
        assert_eq!(parse_sweep(&format!("{line} --refine")).unwrap().refine, Some(250));
        assert_eq!(parse_sweep(&format!("{line} --refine 20")).unwrap().refine, Some(20));
    }

    #[test]
    fn spot_is_two_numbers() {
        let line = "client-sim run --connect 127.0.0.1:7777 --keys k --behavior crowd --spot";
        assert_eq!(parse(&format!("{line} 5,-7")).unwrap().spot, Spot { x: 5, y: -7 });
        assert!(parse(&format!("{line} 5")).unwrap_err().to_string().contains("--spot"));
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for (wrong, name) in [
            ("--behavior dance", "--behavior"),
            ("--zones Meadow", "--zones"),
            ("--players -1", "-1"),
            ("--connect localhost", "HOST:PORT"),
        ] {
            let error = parse(&format!("client-sim run --connect 127.0.0.1:7777 --keys k {wrong}")).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(parse("client-sim run --keys k").is_err());
    }
}
