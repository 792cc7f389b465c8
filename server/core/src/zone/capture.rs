//! A zone's state as bytes: whole, or what changed since the last confirmed capture; and its digest.
//!
//! Layout of a body: version (u16 LE), 1 for a base or 0 for a delta, tick, digest (u64 LE), resources, entities that are gone,
//! components that were removed, entities with what changed. A reader applies them in this order: an id that left and came back
//! within one delta is there afterwards.

use std::collections::BTreeSet;

use bevy_ecs::change_detection::Tick as ChangeTick;
use bevy_ecs::prelude::*;
use everhold_protocol::{EntityId, Tick};

use super::Digest;
use super::frozen::Frozen;
use super::index::{Directory, Ledger};
use super::state::{Clock, FrozenResources, FrozenTable, Ids, RowQuery, digest_resources, digest_tables};

/// What to capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Everything.
    Base,
    /// What changed since the last confirmed capture. Where there is none, this is a base too.
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

/// What is captured and what was changed since. One capture is in flight at a time.
pub(crate) struct Captor {
    rows: RowQuery,
    confirmed: Option<ChangeTick>,
    in_flight: Option<InFlight>,
}

/// A capture that nobody has confirmed yet, with what it took out of the ledger.
struct InFlight {
    cut_at: ChangeTick,
    gone: BTreeSet<EntityId>,
    removed: BTreeSet<(EntityId, u8)>,
}

impl Captor {
    /// For a new World, of which nothing is captured.
    pub(crate) fn new(world: &mut World) -> Self {
        Self {
            rows: RowQuery::new(world),
            confirmed: None,
            in_flight: None,
        }
    }

    /// The World is what a chain of captures says: the next delta may follow it.
    pub(crate) fn adopt(&mut self, world: &mut World) {
        self.confirmed = Some(mark(world));
        let unknown_from = world.resource::<Ids>().peek();
        *world.resource_mut::<Ledger>() = Ledger {
            unknown_from,
            ..Ledger::default()
        };
    }

    /// Sum of the hashes of all components and resources: order has no part in it.
    pub(crate) fn digest(&mut self, world: &World) -> Digest {
        Digest(digest_tables(world, &mut self.rows).wrapping_add(digest_resources(world)))
    }

    /// Cuts.
    ///
    /// # Panics
    /// If a capture is in flight: its dirty set would be lost.
    pub(crate) fn freeze(&mut self, world: &mut World, cut: Cut) -> Frozen {
        assert!(self.in_flight.is_none(), "a capture is in flight");
        let since = self.confirmed.filter(|_| cut == Cut::Delta);
        let base = since.is_none();
        let Ledger { gone, removed, .. } = std::mem::take(&mut *world.resource_mut::<Ledger>());
        let (told_gone, told_removed) = if base {
            Default::default()
        } else {
            (gone.clone(), still_removed(world, &removed))
        };
        let frozen = Frozen {
            tick: world.resource::<Clock>().tick,
            base,
            resources: FrozenResources::cut(world, since),
            gone: told_gone,
            removed: told_removed,
            tables: FrozenTable::cut(world, &mut self.rows, since),
        };
        world.resource_mut::<Ledger>().unknown_from = world.resource::<Ids>().peek();
        self.in_flight = Some(InFlight {
            cut_at: mark(world),
            gone,
            removed,
        });
        frozen
    }

    /// The capture in flight is stored for good: the next delta begins where it was cut.
    pub(crate) fn confirm(&mut self) {
        if let Some(InFlight { cut_at, .. }) = self.in_flight.take() {
            self.confirmed = Some(cut_at);
        }
    }

    /// The capture in flight is lost: the next delta begins where it began.
    pub(crate) fn give_back(&mut self, world: &mut World) {
        if let Some(InFlight { gone, removed, .. }) = self.in_flight.take() {
            world.resource_mut::<Ledger>().give_back(gone, removed);
        }
    }
}

/// A point in the World's own count of changes. The increment is what makes it one: a write made before the next system runs would
/// otherwise carry the same number as the mark, and be lost for ever.
fn mark(world: &mut World) -> ChangeTick {
    let at = world.change_tick();
    world.increment_change_tick();
    at
}

/// Only what is still so: an entity may be gone since, or have the component again.
fn still_removed(world: &World, removed: &BTreeSet<(EntityId, u8)>) -> BTreeSet<(EntityId, u8)> {
    let directory = world.resource::<Directory>();
    removed
        .iter()
        .filter(|(id, kind)| {
            directory
                .entity(*id)
                .is_some_and(|entity| !super::state::has(world, entity, *kind))
        })
        .copied()
        .collect()
}
