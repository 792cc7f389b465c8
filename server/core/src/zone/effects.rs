//! The effects of a tick, as they are gathered: events enter a session's outbox (state) and, for attached ones, the
//! tick's outputs; answers wait until the tick ends.

use bevy_ecs::prelude::*;
use everhold_protocol::event::RejectReason;
use everhold_protocol::{Event, SeqEvent, SessionId, Tick};

use super::game::GameZone;
use super::index::EntityIndex;
use super::output::{Outputs, Reply, Residence, ValueMove, Welcome};
use super::registry::{Id, seen_by_owner};
use super::state::{Clock, InputSeq, Outbox, Session};
use crate::ingress::AttachToken;
use crate::limits::{OUTBOX_COMMON_EVENTS_MAX, OUTBOX_EVENTS_MAX};

// What the engine tells the owner alone. A declaration that forbids it fails the build here.
const _: () = {
    seen_by_owner::<InputSeq>();
    seen_by_owner::<Outbox>();
};

/// An answer to a connection. An attach is answered at the end of the tick, with everything the tick did to the player.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// An answer that is complete already.
    Now(Reply),
    /// Attached, if the token still speaks for the session when the tick ends.
    Attach {
        /// The session.
        session: SessionId,
        /// The last event that the client has.
        event_seq: u64,
    },
}

/// The outputs of the tick, before they are in order. Output: taken at the tick's end.
#[derive(Resource, Default)]
pub(crate) struct Effects {
    /// In order of the inputs that asked.
    pub(crate) answers: Vec<(AttachToken, Answer)>,
    /// Events of attached sessions.
    pub(crate) events: Vec<(SessionId, SeqEvent)>,
    /// In order.
    pub(crate) residences: Vec<Residence>,
    /// In order.
    pub(crate) moves: Vec<ValueMove>,
    /// Whether a character came that ran under other rules: the state is fitted to these once in such a tick.
    pub(crate) is_refit_due: bool,
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

    /// Whether an event that many sessions are told is worth a place: the client acknowledges what it receives.
    pub(crate) fn has_room_for_common(&self) -> bool {
        self.events.len() < OUTBOX_COMMON_EVENTS_MAX
    }

    /// The last event that is not kept any more; those after it all are.
    pub(crate) fn forgotten(&self) -> u64 {
        self.events.front().map_or(self.event_seq, |first| first.seq - 1)
    }

    /// Returns the number of events at the front that the client has, if it has all up to `event_seq`.
    pub(crate) fn acknowledged(&self, event_seq: u64) -> usize {
        self.events.partition_point(|event| event.seq <= event_seq)
    }
}

/// Emits an event to one session: into its outbox and, if it is attached, the tick's outputs. Other entities hear
/// nothing.
pub(crate) fn emit(world: &mut World, entity: Entity, event: Event) {
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
        world.resource_mut::<Effects>().events.push((id, event));
    }
}

/// Tells who came in, went to rest, or left. The tick's outputs carry it, in the order of telling.
pub(crate) fn note_residence(world: &mut World, residence: Residence) {
    world.resource_mut::<Effects>().residences.push(residence);
}

/// Tells a move of value. The tick's outputs carry it, in the order of telling.
pub(crate) fn tell_move(world: &mut World, told: ValueMove) {
    world.resource_mut::<Effects>().moves.push(told);
}

/// Tells a session that an intent was not done.
pub(crate) fn reject(world: &mut World, entity: Entity, seq: u64, reason: RejectReason) {
    emit(world, entity, Event::Rejected { seq, reason });
}

/// Takes what the tick tells, in the order that outputs promise.
pub(crate) fn conclude(world: &mut World, game: &dyn GameZone) -> Outputs {
    let Effects {
        answers,
        mut events,
        residences,
        moves,
        is_refit_due: _,
    } = std::mem::take(&mut *world.resource_mut::<Effects>());
    let mut outputs = Outputs {
        tick: world.resource::<Clock>().tick,
        residences,
        moves,
        ..Outputs::default()
    };
    let mut fresh = Vec::new();
    for (token, answer) in answers {
        match answer {
            Answer::Now(reply) => outputs.replies.push((token, reply)),
            Answer::Attach { session, event_seq } => {
                if let Some(reply) = attached(world, game, (token, session), event_seq) {
                    fresh.push(session);
                    outputs.replies.push((token, reply));
                }
            }
        }
    }
    fresh.sort_unstable();
    // What a session that attached in this tick heard in it is part of its answer.
    events.retain(|(session, _)| fresh.binary_search(session).is_err() && is_attached(world, *session));
    events.sort_unstable_by_key(|(session, event)| (*session, event.seq));
    outputs.events = events;
    outputs
}

fn is_attached(world: &World, session: SessionId) -> bool {
    let entity = world.resource::<EntityIndex>().entity(session);
    let state = entity.and_then(|entity| world.get::<Session>(entity));
    state.is_some_and(|session| session.presence.is_attached())
}

/// The answer to an attach, or `None` if the token does not speak for the session any more.
fn attached(
    world: &World,
    game: &dyn GameZone,
    (token, session): (AttachToken, SessionId),
    event_seq: u64,
) -> Option<Reply> {
    let entity = world.resource::<EntityIndex>().entity(session)?;
    let player = world.entity(entity);
    if player.get::<Session>()?.presence.token() != Some(token.0) {
        return None;
    }
    let outbox = player.get::<Outbox>()?;
    Some(Reply::Attached(Welcome {
        session,
        last_input_seq: player.get::<InputSeq>()?.last,
        event_seq: outbox.event_seq,
        events_forgotten: outbox.forgotten(),
        own: game.own_state(world, entity)?,
        missed: outbox.events.range(outbox.acknowledged(event_seq)..).cloned().collect(),
    }))
}
