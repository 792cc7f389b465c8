//! The systems of a tick, each in its phase, all in one chain with the engine's own: the order is here and nowhere
//! else.
//!
//! Where one actor's turn affects another, a system first collects, sorts by a total key, and then acts; the order of a
//! query is history and differs after a restore. Systems that add or remove components or entities take the whole World
//! and do it themselves, in order of id, so there is no deferred command, whose place in the order nothing would
//! decide.

pub(crate) mod chat;
pub(crate) mod combat;
pub(crate) mod ground;
pub(crate) mod monsters;
pub(crate) mod walk;

use bevy_ecs::prelude::*;

use crate::zone::ZoneBuilder;
use crate::zone::rest::Upkeep;

/// A phase of a tick after its inputs are applied.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Lines of chat are told.
    Talk,
    /// Monsters look around and choose where to go.
    Think,
    /// Everybody walks.
    Walk,
    /// Players strike.
    Strike,
    /// Monsters bite.
    Bite,
    /// Items change hands.
    PickUp,
    /// The dead live again.
    Revive,
    /// Monsters and items come into being.
    Spawn,
    /// After everything else; empty but for what tests plant.
    #[cfg(feature = "testing")]
    Planted,
}

/// Adds the systems, in one chain.
pub(crate) fn declare(zone: &mut ZoneBuilder<'_>) {
    let schedule = zone.schedule();
    schedule.configure_sets(
        (
            Phase::Talk,
            Upkeep,
            Phase::Think,
            Phase::Walk,
            Phase::Strike,
            Phase::Bite,
            Phase::PickUp,
            Phase::Revive,
            Phase::Spawn,
        )
            .chain(),
    );
    schedule.add_systems((
        chat::talk.in_set(Phase::Talk),
        (monsters::map_prey, monsters::think).chain().in_set(Phase::Think),
        walk::walk.in_set(Phase::Walk),
        combat::strike.in_set(Phase::Strike),
        (monsters::seek_bites, combat::bite).chain().in_set(Phase::Bite),
        ground::pick_up.in_set(Phase::PickUp),
        combat::revive.in_set(Phase::Revive),
        (monsters::repopulate, ground::grow).chain().in_set(Phase::Spawn),
    ));
    #[cfg(feature = "testing")]
    schedule.configure_sets(Phase::Planted.after(Phase::Spawn));
}
