//! Stores of zone data and homes, authorities, and membership: SQLite for one host, Redis for a cluster. The traits
//! that they implement are [`everhold_core::durability::store::ZoneStore`], [`everhold_core::cluster::HomeStore`],
//! [`everhold_core::ownership::Authority`], and [`everhold_core::ownership::Membership`]; what every implementation
//! must do, the suites in `conformance` ask (feature `conformance`).

#[cfg(feature = "redis")]
mod thread;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "conformance")]
pub mod conformance;
