//! Characters that leave their zone for rest, and come back from it. They leave only when they are kept elsewhere, as
//! they are: until then the zone has them, hidden. Who keeps them, and when, is decided elsewhere.
//!
//! ```text
//!          away for long          Evict: kept elsewhere at this generation
//!   awake ───────────────► rests ──────────────────────────────────────────► gone, for a minute known to have left
//!     ▲   generation + 1     │                                                │
//!     └──────────────────────┘ Join, Resume: generation + 1                   │
//!     └───────────────────────────────────────────────────────────────────────┘ Lodge, then Join or Resume
//! ```
//!
//! An account's record is looked up outside the zone, so it may be older than what the zone did since. The look-up
//! names the tick at which it was asked for: it counts if the character has not left after that tick, for a character
//! leaves when its record is there. A character that is in the zone is newer than every record.

use bevy_ecs::prelude::*;
use everhold_protocol::Account;

use super::effects::{Effects, note_residence};
use super::game::{GameZone, Terms};
use super::index::EntityIndex;
use super::kinds::Kinds;
use super::output::Residence;
use super::payload::PayloadReader;
use super::state::{Clock, FIRST_GENERATION, Presence, Residency, Resting, Session, Travel};
use crate::ingress::Lodge;
use crate::limits::{LEFT_MEMORY_S, ZONE_SESSIONS_MAX};
use crate::ownership::DataStamp;

/// Whether what was looked up of the account at `asked` is what there is: it has not left the zone since, as far back
/// as the zone knows.
pub(crate) fn is_fresh(world: &World, account: Account, asked: DataStamp) -> bool {
    let clock = world.resource::<Clock>();
    let memory = LEFT_MEMORY_S * u64::from(world.resource::<Terms>().tick_hz);
    let left = world.resource::<Travel>().left.get(&account);
    asked.epoch == clock.epoch
        && asked.tick <= clock.tick
        && clock.tick <= asked.tick + memory
        && left.is_none_or(|left| *left <= asked.tick)
}

/// Returns the generation of a character.
fn generation(world: &World, player: Entity) -> u64 {
    let residency = world.get::<Residency>(player);
    residency.map_or(FIRST_GENERATION, |residency| residency.generation)
}

fn set_generation(world: &mut World, player: Entity, generation: u64) {
    world.entity_mut(player).insert(Residency { generation });
}

/// Lets a character rest that is away for long.
pub(crate) fn retire(world: &mut World, player: Entity) {
    let since = world.resource::<Clock>().tick;
    let generation = generation(world, player) + 1;
    world
        .entity_mut(player)
        .insert((Resting { since }, Residency { generation }));
}

/// Wakes a character, if it rests.
pub(crate) fn wake(world: &mut World, player: Entity) {
    if world.get::<Resting>(player).is_some() {
        let generation = generation(world, player) + 1;
        set_generation(world, player, generation);
        world.entity_mut(player).remove::<Resting>();
    }
}

/// A character comes back. One that cannot be read, or is older than what the zone did since, does not: its player is
/// refused by what follows.
pub(crate) fn lodge(world: &mut World, game: &dyn GameZone, kinds: &Kinds, lodge: &Lodge) {
    let Lodge {
        account,
        asked,
        generation,
        payload,
    } = lodge;
    let entity_index = world.resource::<EntityIndex>();
    let is_here = entity_index.session(*account).is_some();
    if is_here || entity_index.sessions() >= ZONE_SESSIONS_MAX || !is_fresh(world, *account, *asked) {
        return;
    }
    let Ok(reader) = PayloadReader::new(payload) else {
        return;
    };
    let (id, rules_id) = (reader.id, reader.rules_id);
    let is_taken = world.resource::<EntityIndex>().entity(id).is_some();
    if is_taken || reader.place(world, kinds, *account).is_err() {
        return;
    }
    let player = world.resource::<EntityIndex>().entity(id).expect("it was placed");
    let since = world.resource::<Clock>().tick;
    let own = self::generation(world, player);
    set_generation(world, player, own.max(*generation));
    if let Some(mut session) = world.get_mut::<Session>(player)
        && session.presence.is_attached()
    {
        session.presence = Presence::Away(since);
    }
    game.derive_player(world, player);
    note_residence(world, Residence::Left(*account));
    if rules_id != world.resource::<Clock>().rules_id {
        world.resource_mut::<Effects>().is_refit_due = true;
    }
}

/// A character at rest is kept elsewhere at this generation: if it rests at it still, the zone forgets it.
pub(crate) fn evict(world: &mut World, account: Account, generation: u64) {
    let entity_index = world.resource::<EntityIndex>();
    let Some(player) = entity_index.session(account).and_then(|id| entity_index.entity(id)) else {
        return;
    };
    if world.get::<Resting>(player).is_none() || self::generation(world, player) != generation {
        return;
    }
    world.despawn(player);
    let tick = world.resource::<Clock>().tick;
    world.resource_mut::<Travel>().left.insert(account, tick);
    note_residence(world, Residence::Evicted(account));
}

/// The archive has this generation of the character, of ticks that were undone: the zone's goes above it.
pub(crate) fn outrank(world: &mut World, account: Account, generation: u64) {
    let entity_index = world.resource::<EntityIndex>();
    let Some(player) = entity_index.session(account).and_then(|id| entity_index.entity(id)) else {
        return;
    };
    if self::generation(world, player) <= generation {
        set_generation(world, player, generation + 1);
    }
}

/// Forgets characters that left long ago, once a second.
pub(crate) fn forget_those_who_left(clock: Res<'_, Clock>, terms: Res<'_, Terms>, mut travel: ResMut<'_, Travel>) {
    let hz = u64::from(terms.tick_hz);
    let is_old = |left: &everhold_protocol::Tick| *left + LEFT_MEMORY_S * hz < clock.tick;
    if clock.tick.is_every(hz) && travel.left.values().any(is_old) {
        travel.left.retain(|_, left| !is_old(left));
    }
}
