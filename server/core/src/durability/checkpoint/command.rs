//! The commands of a checkpointer to its driver, and what its failures come to. Nothing is decided here.

use bytes::Bytes;

use crate::durability::journal::StopReason;
use crate::durability::store::{CheckpointHead, Position};
use crate::zone::Cut;

/// A command to the driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckpointCommand {
    /// Have the zone captured after a tick; answer with
    /// [`Checkpointer::handle_captured`](super::Checkpointer::handle_captured) or
    /// [`Checkpointer::handle_capture_lost`](super::Checkpointer::handle_capture_lost).
    Cut(Cut),
    /// Write a part; answer with [`Checkpointer::handle_part_put`](super::Checkpointer::handle_part_put) or
    /// [`Checkpointer::handle_failed`](super::Checkpointer::handle_failed).
    PutPart {
        /// The checkpoint's position.
        position: Position,
        /// The part's number, from 0.
        index: u32,
        /// The part's bytes.
        bytes: Bytes,
    },
    /// Move the head; answer with [`Checkpointer::handle_head_moved`](super::Checkpointer::handle_head_moved) or
    /// [`Checkpointer::handle_failed`](super::Checkpointer::handle_failed).
    MoveHead(CheckpointHead),
    /// Delete the parts of a checkpoint that is given up, so many at this position; answer with
    /// [`Checkpointer::handle_parts_dropped`](super::Checkpointer::handle_parts_dropped) or
    /// [`Checkpointer::handle_failed`](super::Checkpointer::handle_failed).
    DropParts(Position, u32),
    /// Tell the zone that its capture is stored: `Zone::capture_confirmed`. No answer. If it was a base, the journal
    /// may [`forget`](crate::durability::journal::Journal::forget) up to its tick.
    CaptureConfirmed(CheckpointHead),
    /// Tell the zone to take its dirty set back: `Zone::capture_failed`. No answer.
    CaptureFailed,
}

/// The consequence of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointEvent {
    /// The machine retries by itself: poll again after this time.
    Later {
        /// The time, ms.
        after_ms: u64,
    },
    /// The store lost the zone's data set: have it created again, and poll no more until it is.
    Lost,
    /// The zone is to be dropped at once.
    Stop(StopReason),
}
