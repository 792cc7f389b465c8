//! Durability: records, the gate, checkpoints, adoption. Pure machines; the store they talk to is a trait.

pub mod store;
