//! A record: the inputs of one tick, frozen before the step. It stores nothing itself.
//!
//! The body, packed by hand because ten thousand players fill one twenty times a second:
//!
//! ```text
//! layout u8 = 2 · epoch u32 · flags u8 (1: a digest follows) · [digest u64] · count varint · inputs
//! input = tag u8 · fields; a session is the zigzag varint of its difference to the session before it
//! ```
//!
//! In layout 1, which is still read, a join says nothing of births.
//!
//! `hash = BLAKE3(domain, prev_hash, epoch, tick, body)`, all integers little-endian: a record names the whole history
//! before it.

use bytes::Bytes;
use everhold_protocol::codec::{DecodeError, Reader, Writer};
use everhold_protocol::{Account, Epoch, Intent, RefusalCode, SessionId, Tick};

use super::store::{RecordHash, StoredRecord};
use crate::ingress::{AttachToken, Birth, Input, Join, Lodge, Resume};
use crate::ownership::DataStamp;
use crate::zone::Digest;

/// The layout that is written. An older one keeps its reader; an unknown one is refused.
const LAYOUT: u8 = 2;
/// The oldest layout that is read.
const LAYOUT_MIN: u8 = 1;
/// The layout from which on a join says whether a character may be born.
const LAYOUT_OF_BIRTHS: u8 = 2;
/// Separates these hashes from every other use of BLAKE3.
const DOMAIN: &str = "everhold zone record v1";
const FLAG_DIGEST: u8 = 1;

const TAG_EPOCH_START: u8 = 0;
const TAG_JOIN: u8 = 1;
const TAG_RESUME: u8 = 2;
const TAG_DETACH: u8 = 3;
const TAG_INTENT: u8 = 4;
const TAG_EVENT_ACK: u8 = 5;
const TAG_QUARANTINE: u8 = 6;
const TAG_INVALID: u8 = 7;
const TAG_LOGOUT: u8 = 8;
const TAG_LODGE: u8 = 9;
const TAG_EVICT: u8 = 10;
const TAG_OUTRANK: u8 = 11;
const TAG_DISMISS: u8 = 12;

const BIRTH_NEVER: u8 = 0;
const BIRTH_ALLOWED: u8 = 1;
const BIRTH_ALWAYS: u8 = 2;

/// The frozen inputs of one tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The ownership under which the tick ran.
    pub epoch: Epoch,
    /// The tick.
    pub tick: Tick,
    /// The hash of the record before it.
    pub prev_hash: RecordHash,
    /// The zone's digest after tick − 1, in some records: replay compares it.
    pub digest_before: Option<Digest>,
    /// The inputs in the order in which they are applied.
    pub inputs: Vec<Input>,
}

/// The reason why stored bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes are not those that were hashed.
    #[error("the record's hash is not that of its bytes")]
    HashMismatch,
    /// A layout of a later version.
    #[error(
        "record layout {0} is unknown; this build reads {LAYOUT_MIN} to {LAYOUT}: start the build that wrote it, or a \
         later one"
    )]
    LayoutUnknown(u8),
    /// A flag of a later version.
    #[error("record flags {0:#04x} are unknown")]
    FlagsUnknown(u8),
    /// The bytes end early, go on too long, or hold an unknown tag or value.
    #[error("the record cannot be read")]
    Malformed(#[from] DecodeError),
}

impl RecordError {
    /// Whether the bytes are whole, and of a later layout than this build reads.
    #[must_use]
    pub const fn is_of_later_build(&self) -> bool {
        matches!(self, Self::LayoutUnknown(_) | Self::FlagsUnknown(_))
    }
}

impl Record {
    /// Encodes the record as the store keeps it.
    #[must_use]
    pub fn encode(&self) -> StoredRecord {
        // 12 bytes hold most inputs: tag, session, sequence number, intent.
        let mut body = Vec::with_capacity(32 + 12 * self.inputs.len());
        let mut out = Writer::new(&mut body);
        out.u8(LAYOUT);
        out.u32(self.epoch.0);
        out.u8(if self.digest_before.is_some() { FLAG_DIGEST } else { 0 });
        if let Some(digest) = self.digest_before {
            out.u64(digest.0);
        }
        out.varint(self.inputs.len() as u64);
        let mut previous = SessionId::default();
        for input in &self.inputs {
            encode_input(input, &mut previous, &mut out);
        }
        let hash = hash_record(self.prev_hash, self.epoch, self.tick, &body);
        StoredRecord {
            tick: self.tick,
            prev_hash: self.prev_hash,
            hash,
            body: Bytes::from(body),
        }
    }

    /// Decodes a record. Total: any bytes give a record or an error.
    pub fn decode(stored: &StoredRecord) -> Result<Self, RecordError> {
        // In every layout the epoch stands after the first byte: so what is damaged is told from what is unknown.
        let epoch = hashed_epoch(&stored.body);
        if hash_record(stored.prev_hash, epoch, stored.tick, &stored.body) != stored.hash {
            return Err(RecordError::HashMismatch);
        }
        let mut from = Reader::new(&stored.body);
        let layout = from.u8()?;
        if !(LAYOUT_MIN..=LAYOUT).contains(&layout) {
            return Err(RecordError::LayoutUnknown(layout));
        }
        from.u32()?;
        let flags = from.u8()?;
        let digest_before = match flags {
            0 => None,
            FLAG_DIGEST => Some(Digest(from.u64()?)),
            _ => return Err(RecordError::FlagsUnknown(flags)),
        };
        let inputs = decode_inputs(layout, &mut from)?;
        from.finish()?;
        Ok(Self {
            epoch,
            tick: stored.tick,
            prev_hash: stored.prev_hash,
            digest_before,
            inputs,
        })
    }
}

#[cfg(feature = "testing")]
impl StoredRecord {
    /// Makes a record of any bytes, with the hash that fits them: for tests.
    #[must_use]
    pub fn sealed(tick: Tick, prev_hash: RecordHash, body: &[u8]) -> Self {
        Self {
            tick,
            prev_hash,
            hash: hash_record(prev_hash, hashed_epoch(body), tick, body),
            body: Bytes::copy_from_slice(body),
        }
    }
}

/// Reads the epoch that the hash of a body was made with: 0 of one that is too short to have any.
fn hashed_epoch(body: &[u8]) -> Epoch {
    Epoch(Reader::new(body.get(1..).unwrap_or_default()).u32().unwrap_or_default())
}

fn hash_record(prev_hash: RecordHash, epoch: Epoch, tick: Tick, body: &[u8]) -> RecordHash {
    let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
    hasher.update(&prev_hash.0);
    hasher.update(&epoch.0.to_le_bytes());
    hasher.update(&tick.0.to_le_bytes());
    hasher.update(body);
    RecordHash(*hasher.finalize().as_bytes())
}

fn encode_session(session: SessionId, previous: &mut SessionId, out: &mut Writer<'_>) {
    let difference = session.0.wrapping_sub(previous.0).cast_signed();
    *previous = session;
    out.zigzag_i64(difference);
}

fn decode_session(previous: &mut SessionId, from: &mut Reader<'_>) -> Result<SessionId, DecodeError> {
    let difference = from.zigzag_i64()?;
    previous.0 = previous.0.wrapping_add(difference.cast_unsigned());
    Ok(*previous)
}

/// Encodes an input of a session and a number.
fn encode_numbered(tag: u8, (session, number): (SessionId, u64), previous: &mut SessionId, out: &mut Writer<'_>) {
    out.u8(tag);
    encode_session(session, previous, out);
    out.varint(number);
}

fn encode_join(join: &Join, out: &mut Writer<'_>) {
    out.u8(TAG_JOIN);
    out.varint(join.account.0);
    out.bytes(&join.ticket);
    out.varint(join.ticket_forget_tick.0);
    out.bytes(&join.secret);
    out.varint(join.token.0);
    encode_birth(join.birth, out);
}

fn decode_join(layout: u8, from: &mut Reader<'_>) -> Result<Join, DecodeError> {
    Ok(Join {
        account: Account(from.varint()?),
        ticket: from.array()?,
        ticket_forget_tick: Tick(from.varint()?),
        secret: from.array()?,
        token: AttachToken(from.varint()?),
        birth: if layout < LAYOUT_OF_BIRTHS {
            Birth::Always
        } else {
            decode_birth(from)?
        },
    })
}

fn encode_lodge(lodge: &Lodge, out: &mut Writer<'_>) {
    out.u8(TAG_LODGE);
    out.varint(lodge.account.0);
    encode_stamp(lodge.asked, out);
    out.varint(lodge.generation);
    out.varint(lodge.payload.len() as u64);
    out.bytes(&lodge.payload);
}

fn decode_lodge(from: &mut Reader<'_>) -> Result<Lodge, DecodeError> {
    Ok(Lodge {
        account: Account(from.varint()?),
        asked: decode_stamp(from)?,
        generation: from.varint()?,
        payload: decode_payload(from)?,
    })
}

fn encode_generation(tag: u8, account: Account, generation: u64, out: &mut Writer<'_>) {
    out.u8(tag);
    out.varint(account.0);
    out.varint(generation);
}

fn encode_stamp(stamp: DataStamp, out: &mut Writer<'_>) {
    out.u32(stamp.epoch.0);
    out.varint(stamp.tick.0);
}

fn decode_stamp(from: &mut Reader<'_>) -> Result<DataStamp, DecodeError> {
    Ok(DataStamp {
        epoch: Epoch(from.u32()?),
        tick: Tick(from.varint()?),
    })
}

fn encode_birth(birth: Birth, out: &mut Writer<'_>) {
    match birth {
        Birth::Never => out.u8(BIRTH_NEVER),
        Birth::Allowed { asked, generation } => {
            out.u8(BIRTH_ALLOWED);
            encode_stamp(asked, out);
            out.varint(generation);
        }
        Birth::Always => out.u8(BIRTH_ALWAYS),
    }
}

fn decode_birth(from: &mut Reader<'_>) -> Result<Birth, DecodeError> {
    Ok(match from.u8()? {
        BIRTH_NEVER => Birth::Never,
        BIRTH_ALLOWED => Birth::Allowed {
            asked: decode_stamp(from)?,
            generation: from.varint()?,
        },
        BIRTH_ALWAYS => Birth::Always,
        tag => return Err(DecodeError::UnknownTag { what: "birth", tag }),
    })
}

fn decode_payload(from: &mut Reader<'_>) -> Result<Bytes, DecodeError> {
    let len = usize::try_from(from.varint()?).map_err(|_| DecodeError::Truncated)?;
    from.bytes(len).map(Bytes::copy_from_slice)
}

fn decode_code(from: &mut Reader<'_>) -> Result<RefusalCode, DecodeError> {
    let tag = from.u8()?;
    let what = "reason of a dismissal";
    RefusalCode::from_code(tag.into()).ok_or(DecodeError::UnknownTag { what, tag })
}

fn encode_input(input: &Input, previous: &mut SessionId, out: &mut Writer<'_>) {
    match input {
        Input::EpochStart { epoch, nonce, rules_id } => {
            out.u8(TAG_EPOCH_START);
            out.u32(epoch.0);
            out.u64(*nonce);
            out.bytes(rules_id);
        }
        Input::Join(join) => encode_join(join, out),
        Input::Lodge(lodge) => encode_lodge(lodge, out),
        Input::Evict { account, generation } => encode_generation(TAG_EVICT, *account, *generation, out),
        Input::Outrank { account, generation } => encode_generation(TAG_OUTRANK, *account, *generation, out),
        Input::Dismiss { account, code } => {
            out.u8(TAG_DISMISS);
            out.varint(account.0);
            out.u8(u8::try_from(code.code()).expect("codes are small numbers"));
        }
        Input::Resume(Resume {
            session,
            secret,
            next_secret,
            event_seq,
            token,
        }) => {
            out.u8(TAG_RESUME);
            encode_session(*session, previous, out);
            out.bytes(secret);
            out.bytes(next_secret);
            out.varint(*event_seq);
            out.varint(token.0);
        }
        Input::Detach { session, token } => encode_numbered(TAG_DETACH, (*session, token.0), previous, out),
        Input::Logout { session, token } => encode_numbered(TAG_LOGOUT, (*session, token.0), previous, out),
        Input::Intent { session, seq, intent } => {
            out.u8(TAG_INTENT);
            encode_session(*session, previous, out);
            out.varint(*seq);
            intent.encode(out);
        }
        Input::Invalid { session, seq } => encode_numbered(TAG_INVALID, (*session, *seq), previous, out),
        Input::EventAck { session, event_seq } => encode_numbered(TAG_EVENT_ACK, (*session, *event_seq), previous, out),
        Input::Quarantine { session, seq } => encode_numbered(TAG_QUARANTINE, (*session, *seq), previous, out),
    }
}

fn decode_inputs(layout: u8, from: &mut Reader<'_>) -> Result<Vec<Input>, DecodeError> {
    let count = from.varint()?;
    // Each input is at least two bytes long, so a lie about the count cannot make this allocate more than the bytes are
    // worth.
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= from.remaining() / 2);
    let count = count.ok_or(DecodeError::Truncated)?;
    let mut inputs = Vec::with_capacity(count);
    let mut previous = SessionId::default();
    for _ in 0..count {
        inputs.push(decode_input(layout, &mut previous, from)?);
    }
    Ok(inputs)
}

fn decode_input(layout: u8, previous: &mut SessionId, from: &mut Reader<'_>) -> Result<Input, DecodeError> {
    Ok(match from.u8()? {
        TAG_EPOCH_START => Input::EpochStart {
            epoch: Epoch(from.u32()?),
            nonce: from.u64()?,
            rules_id: from.array()?,
        },
        TAG_JOIN => Input::Join(decode_join(layout, from)?),
        TAG_LODGE => Input::Lodge(decode_lodge(from)?),
        TAG_EVICT => Input::Evict {
            account: Account(from.varint()?),
            generation: from.varint()?,
        },
        TAG_OUTRANK => Input::Outrank {
            account: Account(from.varint()?),
            generation: from.varint()?,
        },
        TAG_DISMISS => Input::Dismiss {
            account: Account(from.varint()?),
            code: decode_code(from)?,
        },
        TAG_RESUME => Input::Resume(Resume {
            session: decode_session(previous, from)?,
            secret: from.array()?,
            next_secret: from.array()?,
            event_seq: from.varint()?,
            token: AttachToken(from.varint()?),
        }),
        TAG_DETACH => Input::Detach {
            session: decode_session(previous, from)?,
            token: AttachToken(from.varint()?),
        },
        TAG_LOGOUT => Input::Logout {
            session: decode_session(previous, from)?,
            token: AttachToken(from.varint()?),
        },
        TAG_INTENT => Input::Intent {
            session: decode_session(previous, from)?,
            seq: from.varint()?,
            intent: Intent::decode_checked(from)?,
        },
        TAG_INVALID => Input::Invalid {
            session: decode_session(previous, from)?,
            seq: from.varint()?,
        },
        TAG_EVENT_ACK => Input::EventAck {
            session: decode_session(previous, from)?,
            event_seq: from.varint()?,
        },
        TAG_QUARANTINE => Input::Quarantine {
            session: decode_session(previous, from)?,
            seq: from.varint()?,
        },
        tag => return Err(DecodeError::UnknownTag { what: "input", tag }),
    })
}

#[cfg(test)]
mod tests;
