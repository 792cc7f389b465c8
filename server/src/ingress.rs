//! Ingress turns what clients say into inputs of a tick. It opens no socket and reads no clock.

pub mod input;

pub use input::{AttachToken, Input, SecretHash};
