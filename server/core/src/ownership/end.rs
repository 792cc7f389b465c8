//! The end of a hosted zone in this process, as a reason. What becomes of its lease follows from it.

use everhold_protocol::{SessionId, Tick};

/// The reason why a hosted zone is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndReason {
    /// Somebody else was granted the zone, or the store refused a write.
    #[error("fenced")]
    Fenced,
    /// The store has another history of this epoch. Both are kept.
    #[error("the store holds another record at the same tick of this epoch")]
    Fork,
    /// The lease ran out, and the zone must not act. It goes on from memory unless another shard was granted it since.
    #[error("suspended: the lease ran out")]
    Suspended,
    /// The store refuses, under this epoch, to be written anew from memory. It goes on from there under another one.
    #[error("the store refuses to be written anew under this epoch")]
    Refused,
    /// The store's data cannot have been written by any owner.
    #[error("the store's data is corrupt")]
    Corrupt,
    /// More records wait for the store than memory may hold.
    #[error("the journal's ring is full")]
    RingFull,
    /// A rule panicked, and the World was thrown away; or a task beside the tick thread, and the World is kept.
    #[error("tick {0} failed: {1}")]
    Panicked(Tick, String),
    /// A rule panicked at a player's input, which is quarantined: the next owner refuses it.
    #[error("tick {0} failed at input {2} of session {1:?}, which is quarantined: {3}")]
    Poisoned(Tick, SessionId, u64, String),
    /// A stop in good order.
    #[error("stopped")]
    Stopped,
}
