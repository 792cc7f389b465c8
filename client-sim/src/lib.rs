//! Simulated Everhold players: a swarm of them over real QUIC, and the checker that judges by what they were told.
//! It knows the protocol and no server.

pub mod rng;
pub mod behavior;
pub mod checker;
pub mod net;
