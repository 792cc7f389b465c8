//! Simulated Everhold players: a swarm of them over real QUIC, and the checker that judges by what they were told.
//! It knows the protocol and no server.
//!
//! ```no_run
//! use client_sim::{Control, SwarmConfig};
//!
//! let config = SwarmConfig { connect: vec!["127.0.0.1:7777".parse()?], players: 100, ..SwarmConfig::default() };
//! let report = client_sim::run(config, &mut |progress| {
//!     assert!(progress.attached <= progress.players);
//!     Control::Continue
//! })?;
//! assert!(report.is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod rng;
pub mod meter;
pub mod affinity;
pub mod behavior;
pub mod checker;
pub mod keys;
pub mod net;
pub mod report;
pub mod swarm;
pub mod sweep;

pub use behavior::{Behavior, Spot};
pub use report::{PlayerStay, Possessions, SimulatorHealth, SwarmReport, ZoneFailover, ZonePlayers};
pub use swarm::{Control, SwarmConfig, SwarmError, SwarmPhase, SwarmProgress, ZoneProgress, run};
