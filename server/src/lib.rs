//! The `everhold` server: configuration, the drivers that carry out what [`everhold_core`] decides, and the command
//! line.
//!
//! Modules stand in the order of use; each may use only those above it.

pub mod config;
pub mod address;
pub mod stores;
#[cfg(feature = "testing")]
pub mod failpoint;
pub mod reporter;
pub mod process;
mod deadline;
pub mod host;
pub mod router;
pub mod guardian;
pub mod keeper;
pub mod membership;
pub mod shard;
pub mod cli;
