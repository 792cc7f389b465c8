//! The transport by which players reach a server: QUIC on threads of its own, admission before a log-in, and the keys
//! of a world. It decides about no zone.

pub mod keys;
pub mod transport;
