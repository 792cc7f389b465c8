//! Everything that decides in an Everhold server: who may act for a zone, what a tick does, what a session is told,
//! what a journal still has to store. It opens no socket or file, starts no thread, and reads no clock: `handle_*`
//! takes what happened, `poll_*` gives what is to be done, and `now` is an argument. Its `Cargo.toml` names no library
//! that could do otherwise.
//!
//! Modules stand in the order of the data flow; each may use only those above it.

pub mod limits;
pub mod outage;
pub mod ownership;
pub mod ingress;
pub mod zone;
pub mod game;
pub mod interest;
pub mod replication;
pub mod durability;
pub mod load;
pub mod tick;
pub mod egress;
pub mod cluster;
pub mod report;
