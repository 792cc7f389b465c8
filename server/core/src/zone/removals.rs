//! The removals that a delta must tell: change detection sees only what is there. It knows ids and kinds, and no World.

use std::collections::BTreeSet;

use bevy_ecs::prelude::Resource;
use everhold_protocol::EntityId;

/// The entities and components that left since the last cut. Derived.
#[derive(Resource, Default)]
pub struct Removals {
    /// Entities that are gone.
    pub gone: BTreeSet<EntityId>,
    /// Components that left, by kind; some of the entities may be gone, or have got the component back.
    pub removed: BTreeSet<(EntityId, u8)>,
    /// Ids from this one on were given out after the last cut: no capture can know them, so nothing is noted for them.
    pub unknown_from: EntityId,
}

impl Removals {
    /// Notes that a component left its entity.
    pub fn note_removed(&mut self, id: EntityId, kind: u8) {
        if id < self.unknown_from {
            self.removed.insert((id, kind));
        }
    }

    /// Notes that an entity is gone.
    pub fn note_gone(&mut self, id: EntityId) {
        if id < self.unknown_from {
            self.gone.insert(id);
        }
    }

    /// Takes back what a failed capture had taken.
    pub fn give_back(&mut self, mut gone: BTreeSet<EntityId>, mut removed: BTreeSet<(EntityId, u8)>) {
        self.gone.append(&mut gone);
        self.removed.append(&mut removed);
    }
}
