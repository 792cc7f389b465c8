//! The frames of a history file as bytes. Where a frame may stand is not decided here.

use bytes::Bytes;
use everhold_protocol::codec::{DecodeError, Reader, Writer};
use everhold_protocol::{EntityId, Epoch, SessionId, Tick};

use super::HistoryHeader;
use crate::durability::store::{CheckpointHead, CheckpointKind, Position, RecordHash, StoredRecord};

const TAG_HEADER: u8 = 1;
const TAG_CHECKPOINT: u8 = 2;
const TAG_PART: u8 = 3;
const TAG_RECORD: u8 = 4;
const TAG_QUARANTINED: u8 = 5;
const TAG_END: u8 = 6;

/// A piece of a history file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryFrame {
    /// The header, which is the first one.
    Header(HistoryHeader),
    /// A checkpoint, in the order in which they became the head.
    Checkpoint(CheckpointHead),
    /// A part of a checkpoint's body. One that could not be read is not there.
    Part {
        /// The checkpoint's place among those of the file.
        place: u32,
        /// The part's index.
        index: u32,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A record of the journal.
    Record(StoredRecord),
    /// A quarantined input.
    Quarantined(SessionId, u64),
    /// The end, which is the last one.
    End {
        /// The number of frames before it.
        frames: u64,
        /// The hash of all bytes before it.
        hash: [u8; 32],
    },
}

impl HistoryFrame {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut writer = Writer::new(out);
        match self {
            Self::Header(header) => {
                writer.u8(TAG_HEADER);
                header.encode(&mut writer);
            }
            Self::Checkpoint(head) => {
                writer.u8(TAG_CHECKPOINT);
                encode_head(head, &mut writer);
            }
            Self::Part { place, index, bytes } => {
                writer.u8(TAG_PART);
                writer.varint(u64::from(*place));
                writer.varint(u64::from(*index));
                writer.bytes(bytes);
            }
            Self::Record(record) => {
                writer.u8(TAG_RECORD);
                writer.varint(record.tick.0);
                writer.bytes(&record.prev_hash.0);
                writer.bytes(&record.hash.0);
                writer.bytes(&record.body);
            }
            Self::Quarantined(session, seq) => {
                writer.u8(TAG_QUARANTINED);
                writer.u64(session.0);
                writer.varint(*seq);
            }
            Self::End { frames, hash } => {
                writer.u8(TAG_END);
                writer.varint(*frames);
                writer.bytes(hash);
            }
        }
        let len = u32::try_from(out.len() - start - 4).expect("a record or part is far smaller than 4 GiB");
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let frame = match from.u8()? {
            TAG_HEADER => Self::Header(HistoryHeader::decode(&mut from)?),
            TAG_CHECKPOINT => Self::Checkpoint(decode_head(&mut from)?),
            TAG_PART => Self::Part {
                place: from.varint_u32()?,
                index: from.varint_u32()?,
                bytes: rest(&mut from)?,
            },
            TAG_RECORD => Self::Record(StoredRecord {
                tick: Tick(from.varint()?),
                prev_hash: RecordHash(from.array()?),
                hash: RecordHash(from.array()?),
                body: rest(&mut from)?,
            }),
            TAG_QUARANTINED => Self::Quarantined(EntityId(from.u64()?), from.varint()?),
            TAG_END => Self::End {
                frames: from.varint()?,
                hash: from.array()?,
            },
            tag => {
                let what = "frame of a history file";
                return Err(DecodeError::UnknownTag { what, tag });
            }
        };
        from.finish()?;
        Ok(frame)
    }
}

fn rest(from: &mut Reader<'_>) -> Result<Bytes, DecodeError> {
    from.bytes(from.remaining()).map(Bytes::copy_from_slice)
}

fn encode_head(head: &CheckpointHead, out: &mut Writer<'_>) {
    encode_position(head.position, out);
    out.varint(u64::from(head.parts));
    out.varint(head.bytes);
    match head.kind {
        CheckpointKind::Base => out.u8(0),
        CheckpointKind::Delta { parent } => {
            out.u8(1);
            encode_position(parent, out);
        }
    }
}

fn decode_head(from: &mut Reader<'_>) -> Result<CheckpointHead, DecodeError> {
    Ok(CheckpointHead {
        position: decode_position(from)?,
        parts: from.varint_u32()?,
        bytes: from.varint()?,
        kind: match from.u8()? {
            0 => CheckpointKind::Base,
            1 => CheckpointKind::Delta {
                parent: decode_position(from)?,
            },
            tag => {
                let what = "kind of checkpoint";
                return Err(DecodeError::UnknownTag { what, tag });
            }
        },
    })
}

fn encode_position(position: Position, out: &mut Writer<'_>) {
    out.u32(position.epoch.0);
    out.varint(position.tick.0);
    out.bytes(&position.hash.0);
}

fn decode_position(from: &mut Reader<'_>) -> Result<Position, DecodeError> {
    Ok(Position {
        epoch: Epoch(from.u32()?),
        tick: Tick(from.varint()?),
        hash: RecordHash(from.array()?),
    })
}
