//! Time passes: tickets expire, and players who are long away go to rest, and forget the events that nobody came for.

use bevy_ecs::prelude::*;
use everhold_protocol::{Account, EntityId};

use crate::zone::config::Setting;
use crate::zone::output::Residence;
use crate::zone::registry::Id;
use crate::zone::shared::Shared;
use crate::zone::state::{Clock, Outbox, Presence, Resting, Session, Tickets};
use crate::zone::tell::Told;

/// Forgets expired tickets once a second: a scan of them all, which only then counts as a change.
pub(crate) fn forget_tickets(clock: Res<'_, Clock>, setting: Res<'_, Setting>, mut tickets: ResMut<'_, Tickets>) {
    let due = clock.tick.is_multiple_of(u64::from(setting.pace.tick_hz));
    if due && tickets.used.values().any(|&forget| forget <= clock.tick) {
        tickets.used.retain(|_, forget| *forget > clock.tick);
    }
}

/// Hides players who are away for longer than they linger. Looks once a second: a scan of everybody.
pub(crate) fn retire_the_away(world: &mut World, away: &mut QueryState<(Entity, &Id, &Session), Without<Resting>>) {
    let tick = world.resource::<Clock>().tick;
    let pace = &world.resource::<Setting>().pace;
    if !tick.is_multiple_of(u64::from(pace.tick_hz)) {
        return;
    }
    let linger = pace.linger;
    let mut due: Vec<(EntityId, Entity, Account)> = away
        .iter(world)
        .filter(|(_, _, session)| matches!(session.presence, Presence::Away(since) if since + linger <= tick))
        .map(|(entity, id, session)| (id.0, entity, session.account))
        .collect();
    due.sort_unstable();
    for (_, entity, account) in due {
        let mut player = world.entity_mut(entity);
        player.insert(Resting { since: tick });
        // An answer to an attach tells what the player is and has. What the events said of others is not worth 34 KB in each base.
        if let Some(mut outbox) = player.get_mut::<Outbox>().filter(|outbox| !outbox.events.is_empty()) {
            outbox.events = Shared::default();
        }
        world.resource_mut::<Told>().residences.push(Residence::Left(account));
    }
}
