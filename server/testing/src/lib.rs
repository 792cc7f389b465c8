//! For tests only: players over real QUIC, crowds and floods of strangers, network namespaces, Redis and PostgreSQL
//! servers, networks with faults, full disks. No binary that is shipped depends on it.

pub mod crowd;
pub mod flood;
pub mod netns;
pub mod disk;
pub mod player;
pub mod proxy;
pub mod postgres;
pub mod redis;
