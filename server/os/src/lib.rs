//! What a process of Everhold asks of its operating system. It knows nothing of zones, stores, or players.

pub mod clock;
pub mod output;
pub mod vital;
pub mod signals;
pub mod scratch;
