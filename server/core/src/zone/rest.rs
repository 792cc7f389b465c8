//! The engine's own systems: used tickets expire, so does the knowledge of who left, and players who are long away go
//! to rest, and forget the events that their clients did not fetch. When in a tick they run, the game says.

use bevy_ecs::prelude::*;
use everhold_protocol::{Account, EntityId};

use super::declare::ZoneBuilder;
use super::effects::note_residence;
use super::game::Terms;
use super::lodging::{self, forget_those_who_left};
use super::output::Residence;
use super::registry::Id;
use super::shared::Shared;
use super::state::{Clock, Outbox, Presence, Resting, Session, Tickets};

/// The set of the engine's systems: used tickets are forgotten, players long away go to rest. A game puts it into its
/// chain.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Upkeep;

/// Adds the engine's systems.
pub(crate) fn declare(zone: &mut ZoneBuilder<'_>) {
    zone.schedule().add_systems(
        (forget_tickets, forget_those_who_left, retire_the_away)
            .chain()
            .in_set(Upkeep),
    );
}

/// Forgets expired tickets once a second: a scan of them all, which only then counts as a change.
fn forget_tickets(clock: Res<'_, Clock>, terms: Res<'_, Terms>, mut tickets: ResMut<'_, Tickets>) {
    let due = clock.tick.is_every(u64::from(terms.tick_hz));
    if due && tickets.used.values().any(|&forget| forget <= clock.tick) {
        tickets.used.retain(|_, forget| *forget > clock.tick);
    }
}

/// Hides players who are away for longer than they linger. Looks once a second: a scan of everybody.
fn retire_the_away(world: &mut World, away: &mut QueryState<(Entity, &Id, &Session), Without<Resting>>) {
    let tick = world.resource::<Clock>().tick;
    let Terms { tick_hz, linger, .. } = *world.resource::<Terms>();
    if !tick.is_every(u64::from(tick_hz)) {
        return;
    }
    let mut due: Vec<(EntityId, Entity, Account)> = away
        .iter(world)
        .filter(|(_, _, session)| matches!(session.presence, Presence::Away(since) if since + linger <= tick))
        .map(|(entity, id, session)| (id.0, entity, session.account))
        .collect();
    due.sort_unstable();
    for (_, entity, account) in due {
        lodging::retire(world, entity);
        // An answer to an attach tells what the player is and has. What the events said of others is not worth 34 KB in
        // each base.
        if let Some(mut outbox) = world
            .get_mut::<Outbox>(entity)
            .filter(|outbox| !outbox.events.is_empty())
        {
            outbox.events = Shared::default();
        }
        note_residence(world, Residence::Left(account));
    }
}
