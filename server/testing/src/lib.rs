//! For tests only: players over real QUIC, crowds and floods of strangers, network namespaces, Redis servers. No binary
//! that is shipped depends on it.

pub mod crowd;
pub mod flood;
pub mod netns;
pub mod player;
pub mod redis;
