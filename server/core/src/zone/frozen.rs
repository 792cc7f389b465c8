//! A cut of a zone as plain values. Copying it out is all that the thread of the zone has to do; whoever has time makes bytes of it.
//!
//! Components are copied by columns, as tables keep them: most are plain numbers and copied as memory is, and collections are
//! [`Shared`](super::shared::Shared).

use std::collections::BTreeSet;

use bevy_ecs::change_detection::{ContiguousRef, Tick as ChangeTick};
use everhold_protocol::{EntityId, Tick};

use super::field::{Field, put_varint};
use super::mixer::Mixer;
use super::registry::{Id, State};
use super::state::{FrozenResources, FrozenTable};
use super::{Capture, Digest};
use crate::limits::STATE_LAYOUT;

/// A consistent cut of a zone between two ticks, before it is bytes. It holds the whole state, a delta too: its digest needs it.
#[derive(Debug)]
pub struct Frozen {
    /// The last tick it holds.
    pub tick: Tick,
    /// Whether it stands alone.
    pub base: bool,
    pub(crate) resources: FrozenResources,
    pub(crate) gone: BTreeSet<EntityId>,
    pub(crate) removed: BTreeSet<(EntityId, u8)>,
    pub(crate) tables: Vec<FrozenTable>,
}

impl Frozen {
    /// The bytes that [`Zone::restore`](super::Zone::restore) reads: see [`super::capture`] for their layout.
    #[must_use]
    pub fn encode(self) -> Capture {
        let tables = self.tables.iter().map(FrozenTable::digest);
        let digest = Digest(tables.fold(self.resources.digest(), u64::wrapping_add));
        let mut body = Vec::new();
        body.extend_from_slice(&STATE_LAYOUT.to_le_bytes());
        body.push(u8::from(self.base));
        self.tick.put(&mut body);
        body.extend_from_slice(&digest.0.to_le_bytes());
        self.resources.put(&mut body);
        self.gone.put(&mut body);
        self.removed.put(&mut body);
        let mut rows = Vec::new();
        let count: u64 = self.tables.iter().map(|table| table.put(&mut rows)).sum();
        put_varint(count, &mut body);
        body.append(&mut rows);
        Capture {
            tick: self.tick,
            base: self.base,
            digest,
            body,
        }
    }
}

/// One component of all rows of a table.
#[derive(Debug)]
pub(crate) struct Column<C> {
    values: Vec<C>,
    /// Of a delta.
    changes: Option<Changes>,
}

/// When each row last changed: compared where there is time, as the tick thread only copies.
#[derive(Debug)]
struct Changes {
    at: Vec<ChangeTick>,
    since: ChangeTick,
    now: ChangeTick,
}

impl<C: State + Clone> Column<C> {
    /// Copies everything. What changed after `since` is what a delta tells (`None`: everything).
    pub(crate) fn cut(column: &ContiguousRef<'_, C>, since: Option<ChangeTick>) -> Self {
        Self {
            values: column.to_vec(),
            changes: since.map(|since| Changes {
                at: column.changed_ticks_slice().to_vec(),
                since,
                now: column.this_run_tick(),
            }),
        }
    }

    /// What is to be told of this row.
    pub(crate) fn told(&self, row: usize) -> Option<&C> {
        let is_told = |changes: &Changes| changes.at[row].is_newer_than(changes.since, changes.now);
        self.changes.as_ref().is_none_or(is_told).then(|| &self.values[row])
    }

    /// Its share of the digest.
    pub(crate) fn digest(&self, ids: &[Id]) -> u64 {
        digest_column(ids, &self.values)
    }
}

/// What a column adds to the digest: a sum of its values' hashes, so that their order has no part in it.
pub(crate) fn digest_column<C: State>(ids: &[Id], values: &[C]) -> u64 {
    ids.iter().zip(values).fold(0, |sum: u64, (id, value)| {
        let mut mixer = Mixer::new(u64::from(C::KIND));
        mixer.word(id.0.0);
        value.mix(&mut mixer);
        sum.wrapping_add(mixer.finish())
    })
}

/// What a resource adds to the digest.
pub(crate) fn digest_resource<R: State>(resource: &R) -> u64 {
    let mut mixer = Mixer::new(!u64::from(R::KIND));
    resource.mix(&mut mixer);
    mixer.finish()
}
