//! Everhold keeps the sessions and the world of an MMO hot in memory, and makes them outlive the process.
//!
//! Modules stand in the order of the data flow; each may use only those above it. Only [`io`] and what stands below it touch
//! sockets, files, threads, and clocks.

pub mod limits;
pub mod ownership;
pub mod ingress;
pub mod rules;
pub mod zone;
pub mod interest;
pub mod replication;
pub mod durability;
pub mod cluster;
pub mod load;
pub mod config;
pub mod io;
pub mod shard;
#[cfg(feature = "testing")]
pub mod testing;
pub mod cli;
