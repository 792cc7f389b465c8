//! A cut of a zone as plain values. Copying it out is all that the thread of the zone has to do; another thread makes
//! bytes of it.
//!
//! Components are copied by columns, as tables keep them: most are plain numbers and copied as memory is, and
//! collections are [`Shared`](super::shared::Shared). Which kinds there are, `super::kinds` knows: here each is a
//! column or a value of some type.
//!
//! Layout of a body: version (u16 LE), 1 for a base or 0 for a delta, tick, digest (u64 LE), resources, entities that
//! are gone, components that were removed, entities with what changed. A reader applies them in this order: an id that
//! left and came back within one delta is there afterwards. What a later layout added, the fields' declarations say:
//! see [`super::declare`].

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Debug;

use bevy_ecs::change_detection::{ContiguousRef, Tick as ChangeTick};
use everhold_protocol::{EntityId, Tick};

use super::field::{Field, put_varint};
use super::hasher::{Digest, StateHasher};
use super::registry::{Id, State};
use crate::ownership::state_layout;

/// The extent of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// The whole state.
    Base,
    /// The changes since the last confirmed capture. Where there is none, this is a base too.
    Delta,
}

/// A consistent cut of a zone, between two ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The last tick it holds.
    pub tick: Tick,
    /// Whether it stands alone.
    pub base: bool,
    /// The state's digest.
    pub digest: Digest,
    /// The bytes that [`super::Zone::restore`] reads.
    pub body: Vec<u8>,
}

/// A consistent cut of a zone between two ticks, before it is bytes. It holds the whole state, a delta too: its digest
/// needs it.
#[derive(Debug)]
pub struct Frozen {
    /// The last tick it holds.
    pub tick: Tick,
    /// Whether it stands alone.
    pub base: bool,
    /// The id of the rules that the zone runs.
    pub(crate) rules_id: [u8; 32],
    pub(crate) resources: Vec<FrozenResource>,
    pub(crate) gone: BTreeSet<EntityId>,
    pub(crate) removed: BTreeSet<(EntityId, u8)>,
    pub(crate) tables: Vec<FrozenTable>,
}

impl Frozen {
    /// The bytes that [`Zone::restore`](super::Zone::restore) reads.
    #[must_use]
    pub fn encode(self) -> Capture {
        let resources = self.resources.iter().map(|resource| resource.value.digest());
        let tables = self.tables.iter().map(FrozenTable::digest);
        let digest = Digest(resources.chain(tables).fold(0, u64::wrapping_add));
        let mut body = Vec::new();
        body.extend_from_slice(&state_layout().to_le_bytes());
        body.push(u8::from(self.base));
        self.tick.put(&mut body);
        body.extend_from_slice(&digest.0.to_le_bytes());
        put_resources(&self.resources, &mut body);
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

/// Appends the number of those that are to be told, and each as its kind, its length, and its bytes, in order of kind.
fn put_resources(resources: &[FrozenResource], out: &mut Vec<u8>) {
    let told = || resources.iter().filter(|resource| resource.is_told);
    put_varint(told().count() as u64, out);
    let mut bytes = Vec::new();
    for resource in told() {
        bytes.clear();
        resource.value.append(&mut bytes);
        out.push(resource.kind);
        put_varint(bytes.len() as u64, out);
        out.extend_from_slice(&bytes);
    }
}

/// A resource as it was cut.
#[derive(Debug)]
pub(crate) struct FrozenResource {
    pub(crate) kind: u8,
    /// Whether this cut tells it.
    pub(crate) is_told: bool,
    pub(crate) value: Box<dyn FrozenValue>,
}

/// The value of a resource of some type.
pub(crate) trait FrozenValue: Debug + Send {
    /// Appends its bytes.
    fn append(&self, out: &mut Vec<u8>);
    /// Its share of the digest.
    fn digest(&self) -> u64;
}

impl<R: State> FrozenValue for R {
    fn append(&self, out: &mut Vec<u8>) {
        self.put(out);
    }

    fn digest(&self) -> u64 {
        digest_resource(self, state_layout())
    }
}

/// A table of the World as it was cut.
#[derive(Debug)]
pub(crate) struct FrozenTable {
    ids: Vec<Id>,
    /// In order of kind, each with its bit in a row's mask.
    columns: Vec<(u64, Box<dyn FrozenColumn>)>,
}

impl FrozenTable {
    /// A table of these entities, to which columns are added.
    pub(crate) const fn new(ids: Vec<Id>) -> Self {
        Self {
            ids,
            columns: Vec::new(),
        }
    }

    /// Whether this is its first entity: no entity is in two tables.
    pub(crate) fn begins_with(&self, first: Id) -> bool {
        self.ids.first() == Some(&first)
    }

    /// Adds the column of a kind above those that are there.
    pub(crate) fn add<C: State>(&mut self, column: Column<C>) {
        self.columns.push((1 << C::KIND, Box::new(column)));
    }

    /// The components of this type, one for each entity; `None` if the table has none.
    pub(crate) fn column<C: State>(&self) -> Option<&[C]> {
        let (_, column) = self.columns.iter().find(|(bit, _)| *bit == 1 << C::KIND)?;
        let column: &Column<C> = column.as_any().downcast_ref()?;
        Some(&column.values)
    }

    /// Appends the rows of which something is to be told, each as its id, its mask, and its components in order of
    /// kind, and counts them.
    fn put(&self, out: &mut Vec<u8>) -> u64 {
        let mut masks = vec![0; self.ids.len()];
        for (bit, column) in &self.columns {
            column.mark(*bit, &mut masks);
        }
        let mut count = 0;
        for (row, mask) in masks.into_iter().enumerate().filter(|(_, mask)| *mask != 0) {
            count += 1;
            self.put_masked(row, mask, out);
        }
        count
    }

    /// Appends a row whole.
    pub(super) fn put_row(&self, row: usize, out: &mut Vec<u8>) {
        let mask = self.columns.iter().fold(0, |mask, (bit, _)| mask | bit);
        self.put_masked(row, mask, out);
    }

    fn put_masked(&self, row: usize, mask: u64, out: &mut Vec<u8>) {
        self.ids[row].0.put(out);
        put_varint(mask, out);
        for (_, column) in self.columns.iter().filter(|(bit, _)| mask & bit != 0) {
            column.put(row, out);
        }
    }

    /// Its share of the digest.
    fn digest(&self) -> u64 {
        let columns = self.columns.iter().map(|(_, column)| column.digest(&self.ids));
        columns.fold(0, u64::wrapping_add)
    }
}

/// A column of components of some type.
pub(crate) trait FrozenColumn: Debug + Send {
    /// Itself, for those who know its type.
    fn as_any(&self) -> &dyn Any;
    /// Sets the bit in the masks of the rows that are to be told.
    fn mark(&self, bit: u64, masks: &mut [u64]);
    /// Appends one row's component.
    fn put(&self, row: usize, out: &mut Vec<u8>);
    /// Its share of the digest.
    fn digest(&self, ids: &[Id]) -> u64;
}

/// One component of all rows of a table.
#[derive(Debug)]
pub(crate) struct Column<C> {
    values: Vec<C>,
    /// Of a delta.
    changes: Option<RowChanges>,
}

/// The change tick of each row, compared off the tick thread, which only copies.
#[derive(Debug)]
struct RowChanges {
    at: Vec<ChangeTick>,
    since: ChangeTick,
    now: ChangeTick,
}

impl<C: State> Column<C> {
    /// Copies everything. What changed after `since` is what a delta tells (`None`: everything).
    pub(crate) fn cut(column: &ContiguousRef<'_, C>, since: Option<ChangeTick>) -> Self
    where
        C: bevy_ecs::component::Component,
    {
        Self {
            values: column.to_vec(),
            changes: since.map(|since| RowChanges {
                at: column.changed_ticks_slice().to_vec(),
                since,
                now: column.this_run_tick(),
            }),
        }
    }
}

impl<C: State> FrozenColumn for Column<C> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn mark(&self, bit: u64, masks: &mut [u64]) {
        match &self.changes {
            None => masks.iter_mut().for_each(|mask| *mask |= bit),
            Some(RowChanges { at, since, now }) => {
                for (mask, at) in masks.iter_mut().zip(at) {
                    if at.is_newer_than(*since, *now) {
                        *mask |= bit;
                    }
                }
            }
        }
    }

    fn put(&self, row: usize, out: &mut Vec<u8>) {
        self.values[row].put(out);
    }

    fn digest(&self, ids: &[Id]) -> u64 {
        digest_column(ids, &self.values, state_layout())
    }
}

/// Returns a column's part of the digest of a layout: a sum of its values' hashes, so that their order has no part in
/// it.
pub(crate) fn digest_column<C: State>(ids: &[Id], values: &[C], layout: u16) -> u64 {
    ids.iter().zip(values).fold(0, |sum: u64, (id, value)| {
        let mut hasher = StateHasher::new(u64::from(C::KIND));
        hasher.word(id.0.0);
        value.mix_at(layout, &mut hasher);
        sum.wrapping_add(hasher.finish())
    })
}

/// Returns a resource's part of the digest of a layout.
pub(crate) fn digest_resource<R: State>(resource: &R, layout: u16) -> u64 {
    let mut hasher = StateHasher::new(!u64::from(R::KIND));
    resource.mix_at(layout, &mut hasher);
    hasher.finish()
}
