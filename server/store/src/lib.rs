//! State stores and authorities: SQLite for one host, Redis for a cluster. The traits that they implement are
//! [`everhold_core::durability::store::StateStore`] and [`everhold_core::ownership::Authority`]; what every implementation must do, the
//! suites in `conformance` ask (feature `conformance`).

#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "conformance")]
pub mod conformance;
