//! The configuration of a swarm, and its progress.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use everhold_protocol::client::ClientConfig;
use everhold_protocol::{Epoch, ZoneName};

use crate::behavior::{Behavior, Spot};
use crate::keys::PlayerKeysError;
use crate::meter::Percentiles;
use crate::net::NetError;

/// The zones of the world that comes with the server.
pub const ZONES_DEFAULT: [&str; 3] = ["meadow", "forest", "harbor"];

/// A swarm's orders.
#[derive(Clone, Debug)]
pub struct SwarmConfig {
    /// Shards; any of them answers any player. Each player begins with another one.
    pub connect: Vec<SocketAddr>,
    /// Number of players.
    pub players: usize,
    /// Time of play, in seconds, counted from the end of the warm-up.
    pub seconds: f64,
    /// Time of unmeasured play after the last one has joined, in seconds: a server has to recover from a storm of
    /// log-ins.
    pub warm_up_s: f64,
    /// Zones in which new characters are born; players are dealt evenly.
    pub zones: Vec<ZoneName>,
    /// Their behaviour.
    pub behavior: Behavior,
    /// The spot that a crowd goes to.
    pub spot: Spot,
    /// After so many frames a player that wants nothing new says so again, and acknowledges snapshots. 1: with every
    /// frame.
    pub rest_frames: u32,
    /// The directory with `ticket.key` and `tls-cert.pem`.
    pub keys: PathBuf,
    /// Seed of all decisions.
    pub seed: u64,
    /// Players that begin to join in one second.
    pub joins_per_s: u32,
    /// The account of the first player; the others have the numbers after it.
    pub first_account: u64,
    /// Seconds within which all must have joined.
    pub join_deadline_s: f64,
    /// Seconds after the end of play within which all must have heard everything.
    pub settle_deadline_s: f64,
}

impl Default for SwarmConfig {
    fn default() -> Self {
        Self {
            connect: Vec::new(),
            players: 1_000,
            seconds: 30.0,
            warm_up_s: 0.0,
            zones: ZONES_DEFAULT.iter().filter_map(|name| name.parse().ok()).collect(),
            behavior: Behavior::Wander,
            spot: Spot::default(),
            rest_frames: ClientConfig::default().rest_frames,
            keys: PathBuf::from("keys"),
            seed: 1,
            joins_per_s: 400,
            first_account: 1,
            join_deadline_s: 60.0,
            settle_deadline_s: 30.0,
        }
    }
}

impl SwarmConfig {
    pub(super) fn check(&self) -> Result<(), SwarmError> {
        let fault = if self.connect.is_empty() {
            Some("no address to connect to")
        } else if self.players == 0 {
            Some("no players")
        } else if self.zones.is_empty() {
            Some("no zones")
        } else if self.joins_per_s == 0 {
            Some("no joins per second")
        } else if self.rest_frames == 0 {
            Some("nobody says something with every 0th frame")
        } else if [
            self.seconds,
            self.warm_up_s,
            self.join_deadline_s,
            self.settle_deadline_s,
        ]
        .iter()
        .any(|s| !(0.0..1e9).contains(s))
        {
            Some("a duration is negative or endless")
        } else {
            None
        };
        fault.map_or(Ok(()), |fault| Err(SwarmError::Config(fault)))
    }
}

/// Error of a run without a report.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    /// Orders that make no sense.
    #[error("{0}")]
    Config(&'static str),
    /// No tickets can be made.
    #[error("login keys")]
    Keys(#[from] PlayerKeysError),
    /// The network cannot be used.
    #[error("network")]
    Net(#[from] NetError),
    /// Not all players got in.
    #[error("{attached} of {players} players joined within {seconds} s; the first that did not: {trouble}")]
    JoinDeadline {
        /// Players that got in.
        attached: usize,
        /// Players that should have.
        players: usize,
        /// The deadline.
        seconds: f64,
        /// The last refusal that one of the others heard.
        trouble: String,
    },
    /// The observer ended the run before all had joined.
    #[error("stopped before all players had joined")]
    Stopped,
}

/// An order of the observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// End the play now, and settle.
    Stop,
}

/// The phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwarmPhase {
    /// Players come in.
    Joining,
    /// All players are in and play, and nothing is measured yet.
    WarmingUp,
    /// The players play, and are measured.
    Running,
    /// The players want nothing more, and wait until they have heard everything.
    Settling,
    /// The last state is taken.
    Done,
}

/// A zone as its players see it now.
#[derive(Clone, Debug)]
pub struct ZoneProgress {
    /// The zone.
    pub zone: ZoneName,
    /// Players that are attached, silent ones included.
    pub attached: usize,
    /// Players that hear nothing from their owner.
    pub silent: usize,
    /// The epochs under which players are shown the zone now, rising.
    pub epochs: Vec<Epoch>,
    /// Update latency since the last look.
    pub update_latency_ms: Percentiles,
}

/// A look at the swarm, a few times a second.
#[derive(Clone, Debug)]
pub struct SwarmProgress {
    /// The phase of the run.
    pub phase: SwarmPhase,
    /// Players in the world, silent ones included.
    pub attached: usize,
    /// Players that are to be in it.
    pub players: usize,
    /// Players that hear nothing from their owner.
    pub silent: usize,
    /// Seconds since the last join; zero before it.
    pub running_for_s: f64,
    /// Zones, in the order of the configuration.
    pub zones: Vec<ZoneProgress>,
    /// Update latency since the last look, of all zones.
    pub update_latency_ms: Percentiles,
    /// Since the last look.
    pub bytes_down_per_player_s: f64,
    /// Since the last look.
    pub bytes_up_per_player_s: f64,
    /// Changes of owner that players have crossed so far, each zone and epoch counted once.
    pub failovers: usize,
    /// Problems so far.
    pub errors: u64,
}

pub(super) fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

#[cfg(test)]
mod tests {
    use super::{SwarmConfig, SwarmError};

    #[test]
    fn orders_without_address_players_zones_or_end_are_refused() {
        let good = SwarmConfig {
            connect: vec!["127.0.0.1:1".parse().unwrap()],
            ..SwarmConfig::default()
        };
        assert!(good.check().is_ok() && good.zones.len() == 3);
        let bad = [
            SwarmConfig {
                connect: vec![],
                ..good.clone()
            },
            SwarmConfig {
                players: 0,
                ..good.clone()
            },
            SwarmConfig {
                zones: vec![],
                ..good.clone()
            },
            SwarmConfig {
                joins_per_s: 0,
                ..good.clone()
            },
            SwarmConfig {
                seconds: f64::NAN,
                ..good.clone()
            },
            SwarmConfig {
                join_deadline_s: -1.0,
                ..good
            },
        ];
        assert!(
            bad.iter()
                .all(|config| matches!(config.check(), Err(SwarmError::Config(_))))
        );
    }
}
