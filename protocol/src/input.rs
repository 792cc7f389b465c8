//! The client's datagram: its unconfirmed intents, oldest first, again and again until a snapshot confirms them.

use crate::codec::{DecodeError, Reader, Writer};
use crate::ids::{Epoch, Tick};
use crate::intent::{Intent, IntentError};
use crate::limits::{DATAGRAM_BYTES_MAX, FRAME_INTENTS_MAX};

/// An intent with its place in the session's sequence. `seq` counts from 1 without gaps; the zone applies each exactly
/// once, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeqIntent<I = Intent> {
    /// Place in the session's sequence.
    pub seq: u64,
    /// The intent.
    pub intent: I,
}

/// One datagram from client to server.
///
/// Packed as a kind byte, then varints `epoch`, `snapshot_tick`, `event_ack`; if there are intents, a varint with the
/// first one's `seq`, and the intents until the datagram ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFrame<I = Intent> {
    /// The epoch that the client is attached under; a frame of any other is dropped.
    pub epoch: Epoch,
    /// The tick of the newest snapshot that the client has.
    pub snapshot_tick: Tick,
    /// The last event that the client has, so that the session's outbox can drop it. A client does not acknowledge
    /// events that it has not received in this session: after a login this is
    /// [`events_forgotten`](crate::message::Attached::events_forgotten).
    pub event_ack: u64,
    /// Consecutive, oldest first, at most [`crate::limits::FRAME_INTENTS_MAX`]. Empty: the client lives and holds its
    /// last heading.
    pub intents: Vec<SeqIntent<I>>,
}

/// A frame as a server reads it. An invalid intent spoils neither the frame nor the intents beside it: the zone refuses
/// it under its own number, with [`RejectReason::Invalid`](crate::event::RejectReason::Invalid).
pub type ReceivedFrame = InputFrame<Result<Intent, IntentError>>;

impl InputFrame {
    /// The first byte of an input datagram.
    pub const KIND: u8 = 2;

    /// The longest packed frame, bytes.
    pub const BYTES_MAX: usize = 1 + 5 + 10 + 10 + 10 + FRAME_INTENTS_MAX * Intent::BYTES_MAX;

    /// Appends the packed frame. `intents` must be consecutive and at most [`FRAME_INTENTS_MAX`]: a decoder refuses it
    /// otherwise.
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
        out.varint(u64::from(self.epoch.0));
        out.varint(self.snapshot_tick.0);
        out.varint(self.event_ack);
        if let Some(first) = self.intents.first() {
            out.varint(first.seq);
        }
        for SeqIntent { intent, .. } in &self.intents {
            intent.encode(&mut out);
        }
    }

    /// Reads a whole datagram. An error means that its bytes are no frame: a server drops them all.
    ///
    /// Of more than [`FRAME_INTENTS_MAX`] intents the first ones are read, and those behind an unknown kind are not:
    /// the client repeats them, like all that is not confirmed.
    pub fn decode(datagram: &[u8]) -> Result<ReceivedFrame, DecodeError> {
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
        Ok(InputFrame {
            epoch: Epoch(from.varint_u32()?),
            snapshot_tick: Tick(from.varint()?),
            event_ack: from.varint()?,
            intents: decode_intents(from)?,
        })
    }
}

impl From<InputFrame> for ReceivedFrame {
    fn from(frame: InputFrame) -> Self {
        let InputFrame {
            epoch,
            snapshot_tick,
            event_ack,
            intents,
        } = frame;
        let intents = intents.into_iter().map(|SeqIntent { seq, intent }| SeqIntent {
            seq,
            intent: Ok(intent),
        });
        Self {
            epoch,
            snapshot_tick,
            event_ack,
            intents: intents.collect(),
        }
    }
}

impl ReceivedFrame {
    /// Returns the frame as its client meant it, if every intent is valid.
    ///
    /// # Errors
    /// The error of the first that is not.
    pub fn checked(self) -> Result<InputFrame, IntentError> {
        let Self {
            epoch,
            snapshot_tick,
            event_ack,
            intents,
        } = self;
        let checked = |SeqIntent { seq, intent }: SeqIntent<Result<Intent, IntentError>>| {
            intent.map(|intent| SeqIntent { seq, intent })
        };
        let intents = intents.into_iter().map(checked).collect::<Result<_, _>>()?;
        Ok(InputFrame {
            epoch,
            snapshot_tick,
            event_ack,
            intents,
        })
    }
}

/// Reads the rest of a frame: nothing, or the first sequence number and at least one intent.
fn decode_intents(mut from: Reader<'_>) -> Result<Vec<SeqIntent<Result<Intent, IntentError>>>, DecodeError> {
    let mut intents = Vec::new();
    if from.is_empty() {
        return Ok(intents);
    }
    let mut next = Some(from.varint()?).filter(|&first| first > 0);
    loop {
        let seq = next.ok_or(DecodeError::Sequence)?;
        let intent = Intent::decode_framed(&mut from)?;
        let ends_here = matches!(intent, Err(IntentError::UnknownKind { .. }));
        intents.push(SeqIntent { seq, intent });
        if ends_here || from.is_empty() || intents.len() == FRAME_INTENTS_MAX {
            return Ok(intents);
        }
        next = seq.checked_add(1);
    }
}

const _: () = assert!(InputFrame::BYTES_MAX <= DATAGRAM_BYTES_MAX);
