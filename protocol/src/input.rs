//! The client's datagram: its unconfirmed intents, oldest first, again and again until a snapshot confirms them.

use crate::codec::{DecodeError, Reader, Writer};
use crate::ids::Tick;
use crate::intent::Intent;
use crate::limits::{DATAGRAM_BYTES_MAX, FRAME_INTENTS_MAX};

/// An intent with its place in the session's sequence. `seq` counts from 1 without gaps; the zone applies each exactly once, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeqIntent {
    /// Place in the session's sequence.
    pub seq: u32,
    /// What is asked for.
    pub intent: Intent,
}

/// One datagram from client to server.
///
/// Packed as a kind byte, then varints `epoch`, `snapshot_tick`, `event_ack`; if there are intents, a varint with the first one's
/// `seq`, and the intents until the datagram ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFrame {
    /// The epoch the client is attached under; any other is dropped.
    pub epoch: u32,
    /// The newest snapshot the client has.
    pub snapshot_tick: Tick,
    /// The last event the client has, so that the session's outbox can forget it. 0 after a login by ticket until an event was heard,
    /// whatever number the `Attached` named: the session may have older ones, and they follow.
    pub event_ack: u32,
    /// Consecutive, oldest first, at most [`crate::limits::FRAME_INTENTS_MAX`]. Empty: the client lives and holds its last heading.
    pub intents: Vec<SeqIntent>,
}

impl InputFrame {
    /// The first byte of an input datagram.
    pub const KIND: u8 = 2;

    /// The most bytes that a frame is packed into.
    pub const BYTES_MAX: usize = 1 + 5 + 10 + 5 + 5 + FRAME_INTENTS_MAX * Intent::BYTES_MAX;

    /// Appends the packed frame. `intents` must be consecutive and at most [`FRAME_INTENTS_MAX`]: a decoder refuses it otherwise.
    pub fn encode(&self, out: &mut Vec<u8>) {
        debug_assert!(
            self.intents.len() <= FRAME_INTENTS_MAX,
            "{} intents in a frame",
            self.intents.len()
        );
        debug_assert!(
            self.intents
                .windows(2)
                .all(|pair| pair[0].seq.checked_add(1) == Some(pair[1].seq)),
            "intents are not consecutive"
        );
        let mut out = Writer::new(out);
        out.u8(Self::KIND);
        out.varint(u64::from(self.epoch));
        out.varint(self.snapshot_tick);
        out.varint(u64::from(self.event_ack));
        if let Some(first) = self.intents.first() {
            out.varint(u64::from(first.seq));
        }
        for SeqIntent { intent, .. } in &self.intents {
            intent.encode(&mut out);
        }
    }

    /// Reads a whole datagram.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(datagram);
        match from.u8()? {
            Self::KIND => {}
            tag => {
                return Err(DecodeError::UnknownTag {
                    what: "input datagram",
                    tag,
                });
            }
        }
        let epoch = from.varint_u32()?;
        let snapshot_tick = from.varint()?;
        let event_ack = from.varint_u32()?;
        Ok(Self {
            epoch,
            snapshot_tick,
            event_ack,
            intents: decode_intents(from)?,
        })
    }
}

/// The rest of a frame: nothing, or the first sequence number and at least one intent.
fn decode_intents(mut from: Reader<'_>) -> Result<Vec<SeqIntent>, DecodeError> {
    let mut intents = Vec::new();
    if from.is_empty() {
        return Ok(intents);
    }
    let mut next = Some(from.varint_u32()?).filter(|&first| first > 0);
    loop {
        if intents.len() == FRAME_INTENTS_MAX {
            return Err(DecodeError::TooMany {
                what: "intents in a frame",
                max: FRAME_INTENTS_MAX,
            });
        }
        let seq = next.ok_or(DecodeError::Sequence)?;
        intents.push(SeqIntent {
            seq,
            intent: Intent::decode(&mut from)?,
        });
        if from.is_empty() {
            return Ok(intents);
        }
        next = seq.checked_add(1);
    }
}

const _: () = assert!(InputFrame::BYTES_MAX <= DATAGRAM_BYTES_MAX);
