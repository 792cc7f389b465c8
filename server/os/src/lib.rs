//! The operating system as a process of Everhold needs it. It knows nothing of zones, stores, or players.

pub mod clock;
pub mod output;
pub mod vital;
pub mod signals;
pub mod scratch;
