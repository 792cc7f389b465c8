//! A zone from bytes: a base and its deltas, merged so that the later one wins, placed into a fresh World in order of
//! id.

use std::collections::BTreeSet;

use bevy_ecs::prelude::*;
use everhold_protocol::{EntityId, Tick};

use super::field::{Corrupt, Field, get_varint, take};
use super::hasher::Digest;
use super::kinds::Kinds;
use super::rows::Rows;
use super::state::Clock;
use crate::limits::STATE_LAYOUT;

/// The reason why a chain of captures makes no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Nothing to restore from.
    #[error("the chain of captures is empty")]
    Empty,
    /// Written by another version of this program.
    #[error("layout {found} of a capture is unknown, this program reads {STATE_LAYOUT}")]
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

/// Reads one body, which follows one of the tick `parent`: resources into the World, entities into the rows.
fn read_body(
    world: &mut World,
    kinds: &Kinds,
    rows: &mut Rows,
    (mut body, parent): (&[u8], Option<Tick>),
) -> Result<(Tick, Digest), RestoreError> {
    let input = &mut body;
    let found = u16::from_le_bytes(<[u8; 2]>::get(input)?);
    if found != STATE_LAYOUT {
        return Err(RestoreError::Layout { found });
    }
    let base = u8::get(input)?;
    let tick = Tick::get(input)?;
    let digest = Digest(u64::from_le_bytes(<[u8; 8]>::get(input)?));
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
