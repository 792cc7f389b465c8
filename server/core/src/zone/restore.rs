//! A zone from bytes: a base and its deltas, merged so that the later one wins, placed into a fresh World in order of
//! id.

use std::collections::BTreeSet;

use bevy_ecs::prelude::*;
use everhold_protocol::{EntityId, Tick};

use super::field::{Corrupt, Field, get_varint, take};
use super::hasher::Digest;
use super::kinds::Kinds;
use super::registry::State;
use super::rows::Rows;
use super::state::Clock;
use crate::limits::{STATE_LAYOUT, STATE_LAYOUT_MIN};

/// The reason why a chain of captures makes no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Nothing to restore from.
    #[error("the chain of captures is empty")]
    Empty,
    /// Written by another version of this program.
    #[error("layout {found} of a capture is unknown, this program reads {STATE_LAYOUT_MIN} to {STATE_LAYOUT}")]
    Layout {
        /// The layout that the capture names.
        found: u16,
    },
    /// Cut short, or damaged.
    #[error("a capture is damaged")]
    Corrupt,
    /// Not one base followed by deltas of rising ticks.
    #[error("the captures are not a base and its deltas in order")]
    Order,
    /// Read in full, but not the state that was captured.
    #[error("the restored state has digest {found:?}, the capture says {expected:?}")]
    Digest {
        /// The digest that the last capture names.
        expected: Digest,
        /// The digest of the restored state.
        found: Digest,
    },
    /// The rule book has no such zone.
    #[error("the rules know no zone of this name")]
    ZoneUnknown,
    /// The captures are of another zone.
    #[error("the captures are of zone number {found}")]
    OtherZone {
        /// Its number.
        found: u16,
    },
    /// The zone ran other rules. They change only with a zone at rest.
    #[error("the zone ran other rules than this program has")]
    Rules,
}

impl From<Corrupt> for RestoreError {
    fn from(_: Corrupt) -> Self {
        Self::Corrupt
    }
}

/// Reads the chain into the World, which is fresh. Returns what the digest must be.
pub(crate) fn read_chain(world: &mut World, kinds: &Kinds, chain: &[&[u8]]) -> Result<Digest, RestoreError> {
    let mut rows = kinds.rows();
    let mut last: Option<(Tick, Digest)> = None;
    for &body in chain {
        let parent = last.map(|(tick, _)| tick);
        last = Some(read_body(world, kinds, &mut rows, (body, parent))?);
    }
    let (tick, digest) = last.ok_or(RestoreError::Empty)?;
    if world.resource::<Clock>().tick != tick {
        return Err(RestoreError::Corrupt);
    }
    rows.place(world);
    Ok(digest)
}

/// The title of a capture: what it says of itself, without the state that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureTitle {
    /// The last tick it holds.
    pub tick: Tick,
    /// The digest of the whole state then.
    pub digest: Digest,
    /// The zone's seed and the id of its rules, if the capture tells them: a base does.
    pub terms: Option<(u64, [u8; 32])>,
}

impl CaptureTitle {
    /// Reads it off the first part of a capture's body. Total: any bytes give a title or an error.
    pub fn read(mut body: &[u8]) -> Result<Self, RestoreError> {
        let input = &mut body;
        let (_, tick, digest) = read_title(input)?;
        let mut terms = None;
        // The engine's own resource of the lowest number stands first, if it is told.
        if get_varint(input)? > 0 && u8::get(input)? == Clock::KIND {
            let len = usize::try_from(get_varint(input)?).map_err(|_| Corrupt)?;
            let clock = Clock::get(&mut take(input, len)?)?;
            terms = Some((clock.seed, clock.rules_id));
        }
        Ok(Self { tick, digest, terms })
    }
}

/// Reads layout, kind (1: a base), tick, and digest off the front of a body.
fn read_title(input: &mut &[u8]) -> Result<(u8, Tick, Digest), RestoreError> {
    let found = u16::from_le_bytes(<[u8; 2]>::get(input)?);
    if !(STATE_LAYOUT_MIN..=STATE_LAYOUT).contains(&found) {
        return Err(RestoreError::Layout { found });
    }
    let base = u8::get(input)?;
    let tick = Tick::get(input)?;
    Ok((base, tick, Digest(u64::from_le_bytes(<[u8; 8]>::get(input)?))))
}

/// Reads one body, which follows one of the tick `parent`: resources into the World, entities into the rows.
fn read_body(
    world: &mut World,
    kinds: &Kinds,
    rows: &mut Rows,
    (mut body, parent): (&[u8], Option<Tick>),
) -> Result<(Tick, Digest), RestoreError> {
    let input = &mut body;
    let (base, tick, digest) = read_title(input)?;
    match (base, parent) {
        (1, None) => {}
        (0, Some(parent)) if parent <= tick => {}
        (0 | 1, _) => return Err(RestoreError::Order),
        _ => return Err(RestoreError::Corrupt),
    }
    for _ in 0..get_varint(input)? {
        let kind = u8::get(input)?;
        let len = usize::try_from(get_varint(input)?).map_err(|_| Corrupt)?;
        let mut bytes = take(input, len)?;
        kinds.place_resource(world, kind, &mut bytes)?;
        if !bytes.is_empty() {
            return Err(RestoreError::Corrupt);
        }
    }
    let gone: BTreeSet<EntityId> = Field::get(input)?;
    for id in gone {
        rows.forget(id);
    }
    let removed: BTreeSet<(EntityId, u8)> = Field::get(input)?;
    for (id, kind) in removed {
        rows.remove(id, kind)?;
    }
    for _ in 0..get_varint(input)? {
        let id = EntityId::get(input)?;
        let mask = get_varint(input)?;
        rows.merge(id, mask, input)?;
    }
    if input.is_empty() {
        Ok((tick, digest))
    } else {
        Err(RestoreError::Corrupt)
    }
}
