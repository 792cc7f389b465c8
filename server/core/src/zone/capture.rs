//! Captures of a zone: what is cut, what changed since the last confirmed one, and the digest. What a cut's bytes are,
//! [`super::frozen`] says.

use std::collections::BTreeSet;

use bevy_ecs::change_detection::Tick as ChangeTick;
use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use everhold_protocol::EntityId;

use super::frozen::{Cut, Frozen, FrozenTable};
use super::hasher::Digest;
use super::index::EntityIndex;
use super::kinds::Kinds;
use super::registry::Id;
use super::removals::Removals;
use super::state::{Clock, Ids};

/// The last confirmed capture, and the one in flight: at most one is at a time.
pub(crate) struct Captor {
    kinds: Kinds,
    /// The ids of every table.
    ids: QueryState<(&'static Id, Has<Disabled>)>,
    confirmed: Option<ChangeTick>,
    in_flight: Option<InFlight>,
}

/// A capture that is not confirmed yet, with what it took out of the removals.
struct InFlight {
    cut_at: ChangeTick,
    gone: BTreeSet<EntityId>,
    removed: BTreeSet<(EntityId, u8)>,
}

impl Captor {
    /// For a new World of these kinds, of which nothing is captured.
    pub(crate) fn new(world: &mut World, kinds: Kinds) -> Self {
        Self {
            kinds,
            ids: QueryState::new(world),
            confirmed: None,
            in_flight: None,
        }
    }

    /// Returns the kinds of components and resources that the state consists of.
    pub(crate) const fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// The World is what a chain of captures says: the next delta may follow it.
    pub(crate) fn adopt(&mut self, world: &mut World) {
        self.confirmed = Some(mark(world));
        let unknown_from = world.resource::<Ids>().peek();
        *world.resource_mut::<Removals>() = Removals {
            unknown_from,
            ..Removals::default()
        };
    }

    /// Hash of the whole state, as far as a layout has it.
    pub(crate) fn digest(&mut self, world: &World, layout: u16) -> Digest {
        Digest(self.kinds.digest(world, layout))
    }

    /// Cuts.
    ///
    /// # Panics
    /// If a capture is in flight: its dirty set would be lost.
    pub(crate) fn freeze(&mut self, world: &mut World, cut: Cut) -> Frozen {
        assert!(self.in_flight.is_none(), "a capture is in flight");
        let since = self.confirmed.filter(|_| cut == Cut::Delta);
        let base = since.is_none();
        let Removals { gone, removed, .. } = std::mem::take(&mut *world.resource_mut::<Removals>());
        let (told_gone, told_removed) = if base {
            Default::default()
        } else {
            (gone.clone(), self.still_removed(world, &removed))
        };
        let frozen = Frozen {
            tick: world.resource::<Clock>().tick,
            base,
            rules_id: world.resource::<Clock>().rules_id,
            resources: self.kinds.cut_resources(world, since),
            gone: told_gone,
            removed: told_removed,
            tables: self.tables(world, since),
        };
        world.resource_mut::<Removals>().unknown_from = world.resource::<Ids>().peek();
        self.in_flight = Some(InFlight {
            cut_at: mark(world),
            gone,
            removed,
        });
        frozen
    }

    /// Copies every table. What changed after `since` is what a delta tells.
    fn tables(&mut self, world: &World, since: Option<ChangeTick>) -> Vec<FrozenTable> {
        let ids = self.ids.contiguous_iter(world).expect("ids are kept in tables");
        let mut tables: Vec<_> = ids.map(|(ids, _)| FrozenTable::new(ids.to_vec())).collect();
        self.kinds.cut_components(world, since, &mut tables);
        tables
    }

    /// Only what is still so: an entity may be gone since, or have the component again.
    fn still_removed(&self, world: &World, removed: &BTreeSet<(EntityId, u8)>) -> BTreeSet<(EntityId, u8)> {
        let entity_index = world.resource::<EntityIndex>();
        let is_gone = |entity, kind| !self.kinds.is_on(world, entity, kind);
        removed
            .iter()
            .filter(|(id, kind)| entity_index.entity(*id).is_some_and(|entity| is_gone(entity, *kind)))
            .copied()
            .collect()
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
            world.resource_mut::<Removals>().give_back(gone, removed);
        }
    }
}

/// A point in the World's own count of changes. The increment is what makes it one: a write made before the next system
/// runs would otherwise carry the same number as the mark, and be lost for ever.
fn mark(world: &mut World) -> ChangeTick {
    let at = world.change_tick();
    world.increment_change_tick();
    at
}
