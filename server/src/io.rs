//! Everything that touches sockets, files, threads, and clocks. It decides nothing: machines above it do.

pub mod address;
pub mod clock;
pub mod output;
pub mod vital;
pub mod outage;
pub mod signals;
pub mod sqlite;
pub mod redis;
pub mod stores;
pub mod keys;
pub mod transport;
pub mod report;
pub mod process;
#[cfg(feature = "testing")]
pub mod failpoint;
pub mod host;
pub mod router;
pub mod guardian;
pub mod keeper;
pub mod membership;
pub mod scratch;
pub mod fleet;
