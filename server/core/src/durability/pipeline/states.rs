//! The states of a pipeline: how far it is on its way to its end, and what it waits for. They decide nothing.

use std::time::Instant;

use crate::durability::journal::StopReason;
use crate::ownership::EndReason;

/// The place of a pipeline on its way to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// The zone ticks.
    Running,
    /// A stop is wanted: the next checkpoint is of the zone's last tick.
    Stopping,
    /// The last tick is done; it waits for its acknowledgement, its base, and its seal.
    Sealed,
    /// The driver is to be told why it ends.
    Ending(EndReason),
    /// The driver was told.
    Over,
}

/// The write of a checkpoint, or of a seal, that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Write {
    Part,
    Head,
    Drop,
    Seal,
}

/// Whether the store's data set is being made anew. No part or head is written meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) enum Creation {
    /// It need not be.
    None,
    /// It is to be asked for.
    Due,
    /// It is to be asked for again from then on.
    After(Instant),
    /// It is asked for.
    InFlight,
}

/// The end of a zone that its journal or its checkpoints stopped.
pub(super) const fn end_reason(reason: StopReason) -> EndReason {
    match reason {
        StopReason::Fenced => EndReason::Fenced,
        StopReason::Fork => EndReason::Fork,
        StopReason::Corrupt => EndReason::Corrupt,
    }
}
