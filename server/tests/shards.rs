//! Real shard processes, real QUIC, real signals.

#[path = "shards/failover.rs"]
mod failover;
#[path = "shards/world.rs"]
mod world;
