//! The client's datagram: its unconfirmed intents, oldest first, again and again until a snapshot confirms them.

use crate::ids::Tick;
use crate::intent::Intent;

/// An intent with its place in the session's sequence. `seq` counts from 1 without gaps; the zone applies each exactly once, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeqIntent {
    /// Place in the session's sequence.
    pub seq: u32,
    /// What is asked for.
    pub intent: Intent,
}

/// One datagram from client to server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFrame {
    /// The epoch the client is attached under; any other is dropped.
    pub epoch: u32,
    /// The newest snapshot the client has.
    pub snapshot_tick: Tick,
    /// The last event the client has, so that the session's outbox can forget it.
    pub event_ack: u32,
    /// Consecutive, oldest first, at most [`crate::limits::FRAME_INTENTS_MAX`]. Empty: the client lives and holds its last heading.
    pub intents: Vec<SeqIntent>,
}
