//! What is derived from the state: directories, the removal ledger, the grid of players, and what the tick's inputs asked for.
//! Hooks keep the directories; they have no effect on the state.

use std::collections::{BTreeSet, HashMap};

use bevy_ecs::lifecycle::HookContext;
use bevy_ecs::prelude::*;
use bevy_ecs::world::DeferredWorld;
use everhold_protocol::{Account, EntityId, SessionId};

use super::registry::Id;
use super::state::Session;
use crate::ingress::Spread;

/// Finds entities. The hash maps are for look-ups only: their order is history, and nothing iterates them.
#[derive(Resource, Default)]
pub struct Directory {
    entities: HashMap<EntityId, Entity, Spread>,
    accounts: HashMap<Account, SessionId, Spread>,
}

impl Directory {
    /// The entity of an id.
    #[must_use]
    pub fn entity(&self, id: EntityId) -> Option<Entity> {
        self.entities.get(&id).copied()
    }

    /// The session of an account.
    #[must_use]
    pub fn session(&self, account: Account) -> Option<SessionId> {
        self.accounts.get(&account).copied()
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.accounts.len()
    }

    /// How many entities there are.
    #[must_use]
    pub fn entities(&self) -> usize {
        self.entities.len()
    }
}

/// What deltas must say is gone. Change detection sees only what is there.
#[derive(Resource, Default)]
pub struct Ledger {
    /// Entities that are gone.
    pub gone: BTreeSet<EntityId>,
    /// Components that left, by kind; some of the entities may be gone, or have got the component back.
    pub removed: BTreeSet<(EntityId, u8)>,
    /// Ids from this one on were given out after the last cut: no capture can know them, so nothing is noted for them.
    pub unknown_from: EntityId,
}

impl Ledger {
    /// A component left its entity.
    pub fn note_removed(&mut self, id: EntityId, kind: u8) {
        if id < self.unknown_from {
            self.removed.insert((id, kind));
        }
    }

    fn note_gone(&mut self, id: EntityId) {
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

/// Installs the directories and their hooks. To be called before the first spawn.
pub(crate) fn install(world: &mut World) {
    world.init_resource::<Directory>();
    world.init_resource::<Ledger>();
    world
        .register_component_hooks::<Id>()
        .on_insert(enter_entity)
        .on_discard(leave_entity);
    world.register_component_hooks::<Session>().on_insert(enter_session);
}

fn enter_entity(mut world: DeferredWorld<'_>, context: HookContext) {
    let Some(&Id(id)) = world.get::<Id>(context.entity) else {
        return;
    };
    let before = world.resource_mut::<Directory>().entities.insert(id, context.entity);
    assert!(before.is_none(), "id {id:?} was given out twice");
}

fn leave_entity(mut world: DeferredWorld<'_>, context: HookContext) {
    let Some(&Id(id)) = world.get::<Id>(context.entity) else {
        return;
    };
    world.resource_mut::<Directory>().entities.remove(&id);
    world.resource_mut::<Ledger>().note_gone(id);
}

fn enter_session(mut world: DeferredWorld<'_>, context: HookContext) {
    let (Some(&Id(id)), Some(session)) = (world.get::<Id>(context.entity), world.get::<Session>(context.entity)) else {
        return;
    };
    let account = session.account;
    world.resource_mut::<Directory>().accounts.insert(account, id);
}
