//! Shards on a real Redis: players while slots move and servers die, and secrets that no output may show.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "redis/play.rs"]
mod play;
#[path = "redis/replica.rs"]
mod replica;
#[path = "redis/secrets.rs"]
mod secrets;
