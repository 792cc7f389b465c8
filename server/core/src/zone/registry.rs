//! The vocabulary of declarations: how a type of a zone's World is treated, and who may be told of it. It names no
//! type: the engine declares its own to the [`ZoneBuilder`](super::declare::ZoneBuilder), and the game its own.
//!
//! A type is `state` (captured, restored, digested), `derived` (rebuilt from the state) or `output` (empty between
//! ticks). A test walks the World and fails on a type that is declared nowhere. State also says who may see it, and
//! only what it allows can be put into a scene.

use std::fmt::Debug;

use bevy_ecs::component::Component;
use bevy_ecs::lifecycle::HookContext;
use bevy_ecs::world::DeferredWorld;
use everhold_protocol::EntityId;

use super::field::{Corrupt, Field};
use super::hasher::StateHasher;
use super::removals::Removals;

/// An entity's stable id. Queries, hooks, and captures know an entity by it; `Entity` never orders, seeds, or is
/// stored.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[component(immutable)]
pub struct Id(pub EntityId);

/// The clients that may be told a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// No client.
    Nobody,
    /// The client whose character it is.
    Owner,
    /// Every client that sees the entity.
    Everyone,
}

/// The treatment of a type of the World.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Captured, restored, digested.
    State(Visibility),
    /// Rebuilt from the state.
    Derived,
    /// Empty between ticks.
    Output,
}

/// A declared type, by the name that the World registers it under.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// Its `std::any::type_name`.
    pub name: &'static str,
    /// Its treatment in captures and between ticks.
    pub treatment: Treatment,
}

impl Declared {
    /// Names a type and its treatment.
    #[must_use]
    pub fn new<T>(treatment: Treatment) -> Self {
        Self {
            name: std::any::type_name::<T>(),
            treatment,
        }
    }
}

/// A declared component or resource of the state.
pub trait State: Field + Clone + Debug + Send + Sync + 'static {
    /// Its number in captures, from 0 to 63; never used again for another type. Components and resources are counted
    /// apart.
    const KIND: u8;
    /// The clients that may be told it.
    const VISIBILITY: Visibility;

    /// Appends what a layout has of it.
    fn put_at(&self, layout: u16, out: &mut Vec<u8>);
    /// Takes it from the front of bytes of a layout; fields that were added since are their defaults.
    fn get_at(layout: u16, input: &mut &[u8]) -> Result<Self, Corrupt>;
    /// Adds what a layout has of it to a digest.
    fn mix_at(&self, layout: u16, hasher: &mut StateHasher);
}

/// Fails the build of a scene that shows what not everybody may see.
pub(crate) const fn seen_by_everyone<C: State>() {
    assert!(matches!(C::VISIBILITY, Visibility::Everyone));
}

/// Fails the build of an answer that tells the owner what no client may see.
pub(crate) const fn seen_by_owner<C: State>() {
    assert!(!matches!(C::VISIBILITY, Visibility::Nobody));
}

/// Notes that a component of kind `C` leaves its entity, on despawn too: change detection cannot tell a delta about
/// what is gone.
pub(crate) fn note_removal<C: State>(mut world: DeferredWorld<'_>, context: HookContext) {
    let Some(&Id(id)) = world.get::<Id>(context.entity) else {
        return;
    };
    if let Some(mut removals) = world.get_resource_mut::<Removals>() {
        removals.note_removed(id, C::KIND);
    }
}
