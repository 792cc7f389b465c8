//! The trailing section of a checkpoint's body: the moves of value that the archive may lack, and the beginnings of
//! epochs that it may not know of. It stands after the bytes of the zone, which it is no part of, and has a checksum of
//! its own. A body without it has none.
//!
//! ```text
//!   state … │ layout, count, rows …, count, forks … (more, of a later build) │ footer
//!   footer: length u32 LE │ checksum, 8 bytes │ mark, 8 bytes
//! ```
//!
//! A base has all forks that are known, a delta those that the archive may not know of; the first builds wrote none. A
//! fork is: epoch, and the epoch, tick, and hash (32 bytes) of its root.
//!
//! A row is: epoch, ticks since the row before, `seq`, flags, kind of value, amount, and of command, thing, giver, and
//! taker those that the flags name. Numbers are varints. The time on the wall is none of a row: it follows from the
//! tick.

use bytes::Bytes;
use everhold_protocol::codec::{DecodeError, Reader, Writer};
use everhold_protocol::{Account, Epoch, Tick};

use crate::durability::archive::{LedgerRow, WallMs};
use crate::durability::forks::Fork;
use crate::durability::store::{Position, RecordHash};
use crate::ownership::DataStamp;
use crate::zone::RestoreError;

/// The layout that this build writes, and the latest that it reads.
pub const SECTION_LAYOUT: u64 = 1;

/// The last bytes of a body with a section.
const MARK: [u8; 8] = *b"\xfeEHmoves";

const CHECKSUM_BYTES: usize = 8;

/// Bytes after the section itself.
const FOOTER_BYTES: usize = size_of::<u32>() + CHECKSUM_BYTES + MARK.len();

const HAS_COMMAND: u8 = 1;
const HAS_THING: u8 = 2;
const HAS_GIVER: u8 = 4;
const HAS_TAKER: u8 = 8;

/// The reason why the section of a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// It is not what was written.
    #[error("the moves of value in a checkpoint are damaged")]
    Damaged,
    /// A later build wrote it.
    #[error("layout {0} of the moves of value in a checkpoint is unknown, this build reads up to {SECTION_LAYOUT}")]
    Layout(u64),
}

/// A restore takes such a body for damaged, or for one of a later build.
impl From<SectionError> for RestoreError {
    fn from(error: SectionError) -> Self {
        match error {
            SectionError::Damaged => Self::Corrupt,
            SectionError::Layout(found) => Self::Layout {
                found: u16::try_from(found).unwrap_or(u16::MAX),
            },
        }
    }
}

impl From<DecodeError> for SectionError {
    fn from(_: DecodeError) -> Self {
        Self::Damaged
    }
}

/// The content of a section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MovesSection {
    /// Moves of value, in order of tick.
    pub rows: Vec<LedgerRow>,
    /// Beginnings of epochs, oldest first.
    pub forks: Vec<Fork>,
}

/// Returns the section of these rows, which are in order of tick, and forks, as it is appended to a body.
///
/// # Panics
/// If it were longer than 4 GiB.
#[must_use]
pub fn encode<'a>(rows: impl Iterator<Item = &'a LedgerRow>, forks: &[Fork]) -> Vec<u8> {
    let (mut written, mut count, mut before) = (Vec::new(), 0, Tick(0));
    for row in rows {
        count += 1;
        put_row(row, before, &mut written);
        before = row.stamp.tick;
    }
    let mut section = Vec::with_capacity(16 + written.len() + FOOTER_BYTES);
    let mut out = Writer::new(&mut section);
    out.varint(SECTION_LAYOUT);
    out.varint(count);
    out.bytes(&written);
    out.varint(forks.len() as u64);
    for fork in forks {
        out.varint(fork.epoch.0.into());
        out.varint(fork.root.epoch.0.into());
        out.varint(fork.root.tick.0);
        out.bytes(&fork.root.hash.0);
    }
    let checksum = checksum(&section);
    let len = u32::try_from(section.len()).expect("a section is bounded by its rows");
    let mut out = Writer::new(&mut section);
    out.u32(len);
    out.bytes(&checksum);
    out.bytes(&MARK);
    section
}

/// Divides a body into the zone's own bytes and the section behind them. Total: any bytes give an answer.
pub fn split(body: &Bytes) -> Result<(Bytes, MovesSection), SectionError> {
    let Some(before) = body.strip_suffix(&MARK) else {
        return Ok((body.clone(), MovesSection::default()));
    };
    let (before, expected) = before
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(SectionError::Damaged)?;
    let (before, len) = before.split_last_chunk().ok_or(SectionError::Damaged)?;
    let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| SectionError::Damaged)?;
    let state = before.len().checked_sub(len).ok_or(SectionError::Damaged)?;
    let section = &before[state..];
    if checksum(section) != *expected {
        return Err(SectionError::Damaged);
    }
    Ok((body.slice(..state), decode(section)?))
}

fn decode(section: &[u8]) -> Result<MovesSection, SectionError> {
    let mut from = Reader::new(section);
    let layout = from.varint()?;
    if layout > SECTION_LAYOUT {
        return Err(SectionError::Layout(layout));
    }
    let count = from.varint()?;
    // No row is shorter than six bytes: a count that was made up allocates nothing.
    let mut rows = Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(section.len() / 6));
    let mut before = Tick(0);
    for _ in 0..count {
        let row = get_row(&mut from, before)?;
        before = row.stamp.tick;
        rows.push(row);
    }
    let count = if from.is_empty() { 0 } else { from.varint()? };
    let forks = (0..count).map(|_| get_fork(&mut from));
    let forks = forks.collect::<Result<_, SectionError>>()?;
    Ok(MovesSection { rows, forks })
}

fn get_fork(from: &mut Reader<'_>) -> Result<Fork, SectionError> {
    let epoch = Epoch(from.varint_u32()?);
    let root = Position {
        epoch: Epoch(from.varint_u32()?),
        tick: Tick(from.varint()?),
        hash: RecordHash(from.array()?),
    };
    Ok(Fork { epoch, root })
}

fn put_row(row: &LedgerRow, before: Tick, bytes: &mut Vec<u8>) {
    let mut out = Writer::new(bytes);
    let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
    out.varint(row.stamp.epoch.0.into());
    out.varint(row.stamp.tick.since(before));
    out.varint(row.seq.into());
    out.u8(flag(row.command.is_some(), HAS_COMMAND)
        | flag(row.thing.is_some(), HAS_THING)
        | flag(row.from.is_some(), HAS_GIVER)
        | flag(row.to.is_some(), HAS_TAKER));
    out.varint(row.value.into());
    out.varint(row.amount.cast_unsigned());
    if let Some((session, seq)) = row.command {
        out.entity_id(session);
        out.varint(seq);
    }
    let numbers = [row.thing, row.from.map(|from| from.0), row.to.map(|to| to.0)];
    for number in numbers.into_iter().flatten() {
        out.varint(number);
    }
}

fn get_row(from: &mut Reader<'_>, before: Tick) -> Result<LedgerRow, SectionError> {
    let epoch = Epoch(from.varint_u32()?);
    let tick = before.0.checked_add(from.varint()?).ok_or(SectionError::Damaged)?;
    let seq = from.varint_u32()?;
    let flags = from.u8()?;
    let value = from.varint_u32()?;
    let amount = from.varint()?.cast_signed();
    let has = |flag: u8| flags & flag != 0;
    let command = if has(HAS_COMMAND) {
        Some((from.entity_id()?, from.varint()?))
    } else {
        None
    };
    let mut number = |flag: u8| if has(flag) { from.varint().map(Some) } else { Ok(None) };
    Ok(LedgerRow {
        stamp: DataStamp {
            epoch,
            tick: Tick(tick),
        },
        seq,
        wall: WallMs(0),
        command,
        value,
        thing: number(HAS_THING)?,
        amount,
        from: number(HAS_GIVER)?.map(Account),
        to: number(HAS_TAKER)?.map(Account),
    })
}

fn checksum(section: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::hash(section);
    *hash.as_bytes().first_chunk().expect("it is longer")
}
