//! A cluster in one thread: real shards' machines and real client machines over a store, an archive, and an authority
//! in memory, on one virtual clock, from one seed. For tests only; no binary that is shipped depends on it. It opens no
//! socket, starts no thread, and reads a clock once, for an origin of which only differences count.

pub mod mutant;
pub mod paths;
pub mod store;
pub mod archive;
pub mod authority;
pub mod shared;
pub mod services;
pub mod links;
pub mod setting;
pub mod fault;
pub mod event;
pub mod env;
pub mod shard;
pub mod player;
pub mod cluster;
pub mod shrink;
