//! Stores of zone data and homes, authorities, membership, and archives: SQLite for one host, Redis and PostgreSQL for
//! a cluster. The traits that they implement are [`everhold_core::durability::store::ZoneStore`],
//! [`everhold_core::cluster::HomeStore`], [`everhold_core::ownership::Authority`],
//! [`everhold_core::ownership::Membership`], and [`everhold_core::durability::archive::Archive`]; what every
//! implementation must do, the suites in `conformance` ask (feature `conformance`).

#[cfg(any(feature = "postgres", feature = "redis"))]
mod thread;
pub mod archive_place;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod archive;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "conformance")]
pub mod conformance;
