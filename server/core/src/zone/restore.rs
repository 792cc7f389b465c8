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
use crate::limits::STATE_LAYOUT_MIN;
use crate::ownership::{reads_layout, state_layout};

/// The reason why a chain of captures makes no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Nothing to restore from.
    #[error("the chain of captures is empty")]
    Empty,
    /// Written by another version of this program.
    #[error(
        "layout {found} of a capture is unknown, this program reads {STATE_LAYOUT_MIN} to {}: start the build that \
         wrote it, or a later one",
        state_layout()
    )]
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

/// Reads the chain into the World, which is fresh. Returns what the digest of the last capture's layout must be.
pub(crate) fn read_chain(world: &mut World, kinds: &Kinds, chain: &[&[u8]]) -> Result<(u16, Digest), RestoreError> {
    let mut rows = kinds.rows();
    let mut last: Option<Title> = None;
    for &body in chain {
        let parent = last.map(|last| last.tick);
        last = Some(read_body(world, kinds, &mut rows, (body, parent))?);
    }
    let last = last.ok_or(RestoreError::Empty)?;
    if world.resource::<Clock>().tick != last.tick {
        return Err(RestoreError::Corrupt);
    }
    rows.place(world);
    Ok((last.layout, last.digest))
}

/// The fixed beginning of a body.
#[derive(Clone, Copy)]
struct Title {
    layout: u16,
    /// 1: a base.
    base: u8,
    tick: Tick,
    digest: Digest,
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
        let Title {
            layout, tick, digest, ..
        } = read_title(input)?;
        let mut terms = None;
        // The engine's own resource of the lowest number stands first, if it is told.
        if get_varint(input)? > 0 && u8::get(input)? == Clock::KIND {
            let len = usize::try_from(get_varint(input)?).map_err(|_| Corrupt)?;
            let clock = Clock::get_at(layout, &mut take(input, len)?)?;
            terms = Some((clock.seed, clock.rules_id));
        }
        Ok(Self { tick, digest, terms })
    }
}

/// Reads it off the front of a body.
fn read_title(input: &mut &[u8]) -> Result<Title, RestoreError> {
    let found = u16::from_le_bytes(<[u8; 2]>::get(input)?);
    if !reads_layout(found) {
        return Err(RestoreError::Layout { found });
    }
    Ok(Title {
        layout: found,
        base: u8::get(input)?,
        tick: Tick::get(input)?,
        digest: Digest(u64::from_le_bytes(<[u8; 8]>::get(input)?)),
    })
}

/// Reads one body, which follows one of the tick `parent`: resources into the World, entities into the rows.
fn read_body(
    world: &mut World,
    kinds: &Kinds,
    rows: &mut Rows,
    (mut body, parent): (&[u8], Option<Tick>),
) -> Result<Title, RestoreError> {
    let input = &mut body;
    let title = read_title(input)?;
    let layout = title.layout;
    match (title.base, parent) {
        (1, None) => {}
        (0, Some(parent)) if parent <= title.tick => {}
        (0 | 1, _) => return Err(RestoreError::Order),
        _ => return Err(RestoreError::Corrupt),
    }
    for _ in 0..get_varint(input)? {
        let kind = u8::get(input)?;
        let len = usize::try_from(get_varint(input)?).map_err(|_| Corrupt)?;
        let mut bytes = take(input, len)?;
        kinds.place_resource(world, (kind, layout), &mut bytes)?;
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
        rows.merge(id, (mask, layout), input)?;
    }
    if input.is_empty() {
        Ok(title)
    } else {
        Err(RestoreError::Corrupt)
    }
}
