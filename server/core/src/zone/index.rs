//! The index of a zone: which entity has an id, which session an account. Hooks keep it, and note the entities that are
//! gone among the removals; it has no effect on the state.

use std::collections::HashMap;

use bevy_ecs::lifecycle::HookContext;
use bevy_ecs::prelude::*;
use bevy_ecs::world::DeferredWorld;
use everhold_protocol::hash::BuildIdHasher;
use everhold_protocol::{Account, EntityId, SessionId};

use super::declare::ZoneBuilder;
use super::registry::Id;
use super::removals::Removals;
use super::state::Session;

/// The entities by id, and the sessions by account. Derived. The hash maps are for look-ups only: their order is
/// history, and nothing iterates them.
#[derive(Resource, Default)]
pub struct EntityIndex {
    entities: HashMap<EntityId, Entity, BuildIdHasher>,
    accounts: HashMap<Account, SessionId, BuildIdHasher>,
}

impl EntityIndex {
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

    /// Returns the number of sessions.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.accounts.len()
    }

    /// Returns the number of entities.
    #[must_use]
    pub fn entities(&self) -> usize {
        self.entities.len()
    }
}

/// Declares the index and the removals, and installs their hooks.
pub(crate) fn declare(zone: &mut ZoneBuilder<'_>) {
    zone.derived(EntityIndex::default());
    zone.derived(Removals::default());
    let world = zone.world();
    world
        .register_component_hooks::<Id>()
        .on_insert(enter_entity)
        .on_discard(leave_entity);
    world
        .register_component_hooks::<Session>()
        .on_insert(enter_session)
        .on_discard(leave_session);
}

fn enter_entity(mut world: DeferredWorld<'_>, context: HookContext) {
    let Some(&Id(id)) = world.get::<Id>(context.entity) else {
        return;
    };
    let before = world.resource_mut::<EntityIndex>().entities.insert(id, context.entity);
    assert!(before.is_none(), "id {id:?} was given out twice");
}

fn leave_entity(mut world: DeferredWorld<'_>, context: HookContext) {
    let Some(&Id(id)) = world.get::<Id>(context.entity) else {
        return;
    };
    world.resource_mut::<EntityIndex>().entities.remove(&id);
    world.resource_mut::<Removals>().note_gone(id);
}

fn enter_session(mut world: DeferredWorld<'_>, context: HookContext) {
    let (Some(&Id(id)), Some(session)) = (world.get::<Id>(context.entity), world.get::<Session>(context.entity)) else {
        return;
    };
    let account = session.account;
    world.resource_mut::<EntityIndex>().accounts.insert(account, id);
}

fn leave_session(mut world: DeferredWorld<'_>, context: HookContext) {
    let Some(session) = world.get::<Session>(context.entity) else {
        return;
    };
    let account = session.account;
    world.resource_mut::<EntityIndex>().accounts.remove(&account);
}
