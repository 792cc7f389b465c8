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

/// A consistent cut of a zone between two ticks, before it is bytes.
#[derive(Debug)]
pub struct Frozen {
    /// The last tick it holds.
    pub tick: Tick,
    /// Whether it stands alone.
    pub base: bool,
    /// The digest of the whole state. A base holds all that it takes to compute it, and leaves it to [`Frozen::encode`].
    pub(crate) digest: Option<Digest>,
    pub(crate) resources: FrozenResources,
    pub(crate) gone: BTreeSet<EntityId>,
    pub(crate) removed: BTreeSet<(EntityId, u8)>,
    pub(crate) tables: Vec<FrozenTable>,
}

impl Frozen {
    /// The bytes that [`Zone::restore`](super::Zone::restore) reads: see [`super::capture`] for their layout.
    #[must_use]
    pub fn encode(self) -> Capture {
        let digest = self.digest.unwrap_or_else(|| self.own_digest());
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

    fn own_digest(&self) -> Digest {
        let tables = self.tables.iter().map(FrozenTable::digest);
        Digest(tables.fold(self.resources.digest(), u64::wrapping_add))
    }
}

/// One component of a table: of all its rows, or of some.
#[derive(Debug)]
pub(crate) enum Column<C> {
    All(Vec<C>),
    Some { rows: Vec<u32>, values: Vec<C> },
}

impl<C: State + Clone> Column<C> {
    /// What changed after `since`; everything without it; nothing if the table has no such component.
    pub(crate) fn cut(column: Option<&ContiguousRef<'_, C>>, since: Option<ChangeTick>) -> Self {
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        let Some(column) = column else {
            return Self::Some { rows, values };
        };
        let (changed, now) = (column.changed_ticks_slice(), column.this_run_tick());
        let is_new = |changed: &ChangeTick| since.is_none_or(|since| changed.is_newer_than(since, now));
        if changed.iter().all(is_new) {
            return Self::All(column.to_vec());
        }
        for (row, (value, changed)) in (0..).zip(column.iter().zip(changed)) {
            if is_new(changed) {
                rows.push(row);
                values.push(value.clone());
            }
        }
        Self::Some { rows, values }
    }

    pub(crate) fn read(&self) -> Reading<'_, C> {
        match self {
            Self::All(values) => Reading {
                rows: None,
                values: values.iter(),
            },
            Self::Some { rows, values } => Reading {
                rows: Some(rows),
                values: values.iter(),
            },
        }
    }

    /// Its share of the digest, if it is that of all rows.
    pub(crate) fn digest(&self, ids: &[Id]) -> u64 {
        match self {
            Self::All(values) => digest_column(ids, values),
            Self::Some { .. } => 0,
        }
    }
}

/// A column that is read from its first row on.
pub(crate) struct Reading<'a, C> {
    rows: Option<&'a [u32]>,
    values: std::slice::Iter<'a, C>,
}

impl<'a, C> Reading<'a, C> {
    /// The component of this row, if there is one. Rows are asked for in order.
    pub(crate) fn take(&mut self, row: u32) -> Option<&'a C> {
        if let Some(rows) = &mut self.rows {
            let (&next, rest) = rows.split_first()?;
            if next != row {
                return None;
            }
            *rows = rest;
        }
        self.values.next()
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
