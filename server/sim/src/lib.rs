//! A cluster in one thread, as far as it stands: its store and its authority, in memory, with faults. For tests only;
//! no binary that is shipped depends on it. It holds no shard, no network, and no clock, and draws no chance of its
//! own: requests arrive when the caller says so, faults strike where the caller's seed says.

pub mod store;
pub mod authority;
pub mod shared;
