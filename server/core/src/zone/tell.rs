//! Telling sessions: events enter the outbox (state) and, for attached ones, the tick's outputs.

use bevy_ecs::prelude::*;
use everhold_protocol::event::RejectReason;
use everhold_protocol::{Event, SeqEvent, SessionId, Tick};

use super::output::{Reply, Residence};
use super::registry::Id;
use super::state::{Clock, Outbox, Session};
use crate::ingress::AttachToken;
use crate::limits::OUTBOX_EVENTS_MAX;

/// An answer to a connection. An attach is answered at the end of the tick, with everything the tick did to the player.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Final.
    Now(Reply),
    /// Attached, if the token still speaks for the session when the tick ends.
    Attach {
        /// The session.
        session: SessionId,
        /// The last event that the client has.
        event_seq: u64,
    },
}

/// What the tick tells. Output: taken at the tick's end.
#[derive(Resource, Default)]
pub(crate) struct Told {
    /// In order of the inputs that asked.
    pub(crate) answers: Vec<(AttachToken, Answer)>,
    /// Events of attached sessions.
    pub(crate) events: Vec<(SessionId, SeqEvent)>,
    /// In order.
    pub(crate) residences: Vec<Residence>,
}

impl Outbox {
    /// Numbers the event and keeps it; beyond the limit the oldest is forgotten.
    pub(crate) fn push(&mut self, tick: Tick, event: Event) -> SeqEvent {
        self.event_seq += 1;
        let event = SeqEvent {
            seq: self.event_seq,
            tick,
            event,
        };
        if self.events.len() >= OUTBOX_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event.clone());
        event
    }

    /// The last event that is not kept any more; those after it all are.
    pub(crate) fn forgotten(&self) -> u64 {
        self.events.front().map_or(self.event_seq, |first| first.seq - 1)
    }

    /// How many events at the front the client has, if it has all up to `event_seq`.
    pub(crate) fn acknowledged(&self, event_seq: u64) -> usize {
        self.events.partition_point(|event| event.seq <= event_seq)
    }
}

/// Tells one session. Entities that are no session hear nothing.
pub(crate) fn tell(world: &mut World, entity: Entity, event: Event) {
    let tick = world.resource::<Clock>().tick;
    let (Some(&Id(id)), Some(session)) = (world.get::<Id>(entity), world.get::<Session>(entity)) else {
        return;
    };
    let attached = session.presence.is_attached();
    let Some(mut outbox) = world.get_mut::<Outbox>(entity) else {
        return;
    };
    let event = outbox.push(tick, event);
    if attached {
        world.resource_mut::<Told>().events.push((id, event));
    }
}

/// Tells a session that an intent was not done.
pub(crate) fn reject(world: &mut World, entity: Entity, seq: u64, reason: RejectReason) {
    tell(world, entity, Event::Rejected { seq, reason });
}
