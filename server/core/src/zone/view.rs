//! What a tick shows: the scene for interest and replication, and the answers and events for the gate. It changes nothing.

use bevy_ecs::prelude::*;
use everhold_protocol::{EntityKind, EntityView, OwnState, SessionId};

use super::index::Directory;
use super::output::{Outputs, Reply};
use super::registry::{Id, seen_by_everyone, seen_by_owner};
use super::scene::{Scene, SceneSession};
use super::state::{Belongings, Body, Clock, Health, InputSeq, Lying, Outbox, Resting, Session};
use super::tell::{Answer, Told};
use super::value::ValueDigest;
use crate::ingress::AttachToken;

// What leaves this module for every viewer, and what for the owner alone. A declaration that forbids it fails the build here.
const _: () = {
    seen_by_everyone::<Body>();
    seen_by_everyone::<Health>();
    seen_by_everyone::<Lying>();
    seen_by_everyone::<Resting>();
    seen_by_owner::<Belongings>();
    seen_by_owner::<InputSeq>();
    seen_by_owner::<Outbox>();
};

type Creature = (&'static Id, &'static Body, &'static Health, Has<Session>);
type Attached = (
    &'static Id,
    &'static Session,
    &'static Body,
    &'static Health,
    &'static InputSeq,
    &'static Outbox,
    &'static ValueDigest,
);

/// The queries that fill a scene.
pub(crate) struct Viewer {
    creatures: QueryState<Creature, Without<Resting>>,
    items: QueryState<(&'static Id, &'static Body), With<Lying>>,
    sessions: QueryState<Attached>,
}

impl Viewer {
    pub(crate) fn new(world: &mut World) -> Self {
        Self {
            creatures: world.query_filtered(),
            items: world.query_filtered(),
            sessions: world.query(),
        }
    }

    /// Replaces the scene's content.
    pub(crate) fn fill(&mut self, world: &World, scene: &mut Scene) {
        let Scene { entities, sessions } = scene;
        entities.clear();
        let creatures = self.creatures.iter(world);
        creatures.for_each(|(id, body, health, is_player)| {
            entities.push(EntityView {
                id: id.0,
                kind: if is_player {
                    EntityKind::Player
                } else {
                    EntityKind::Monster
                },
                x: body.x,
                y: body.y,
                health: health_255ths(health),
            });
        });
        self.items.iter(world).for_each(|(id, body)| {
            entities.push(EntityView {
                id: id.0,
                kind: EntityKind::Item,
                x: body.x,
                y: body.y,
                health: u8::MAX,
            });
        });
        sessions.clear();
        let rows = self.sessions.iter(world);
        rows.for_each(|(id, session, body, health, input_seq, outbox, value)| {
            if let Some(token) = session.presence.token() {
                sessions.push(SceneSession {
                    session: id.0,
                    attach: AttachToken(token),
                    last_input_seq: input_seq.last,
                    event_seq: outbox.event_seq,
                    x: body.x,
                    y: body.y,
                    hp: health.hp,
                    value_digest: value.0,
                });
            }
        });
    }

    /// How many sessions are attached.
    pub(crate) fn attached(&mut self, world: &World) -> usize {
        let sessions = self.sessions.iter(world);
        sessions.filter(|row| row.1.presence.is_attached()).count()
    }
}

/// Health in 255ths, rounded up, so that only the dead have none.
fn health_255ths(health: &Health) -> u8 {
    if health.hp >= health.max && health.hp > 0 {
        return 255;
    }
    let share = (u32::from(health.hp) * 255).div_ceil(u32::from(health.max.max(1)));
    share.min(255) as u8
}

/// Takes what the tick tells, in the order that outputs promise.
pub(crate) fn conclude(world: &mut World) -> Outputs {
    let Told {
        answers,
        mut events,
        residences,
    } = std::mem::take(&mut *world.resource_mut::<Told>());
    let mut outputs = Outputs {
        tick: world.resource::<Clock>().tick,
        residences,
        ..Outputs::default()
    };
    let mut fresh = Vec::new();
    for (token, answer) in answers {
        match answer {
            Answer::Now(reply) => outputs.replies.push((token, reply)),
            Answer::Attach { session, event_seq } => {
                if let Some(reply) = attached(world, token, session, event_seq) {
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
    let entity = world.resource::<Directory>().entity(session);
    let state = entity.and_then(|entity| world.get::<Session>(entity));
    state.is_some_and(|session| session.presence.is_attached())
}

/// The answer to an attach, or `None` if the token does not speak for the session any more.
fn attached(world: &World, token: AttachToken, session: SessionId, event_seq: u64) -> Option<Reply> {
    let player = world.entity(world.resource::<Directory>().entity(session)?);
    if player.get::<Session>()?.presence.token() != Some(token.0) {
        return None;
    }
    let (body, health) = (player.get::<Body>()?, player.get::<Health>()?);
    let (belongings, outbox) = (player.get::<Belongings>()?, player.get::<Outbox>()?);
    Some(Reply::Attached {
        session,
        last_input_seq: player.get::<InputSeq>()?.last,
        event_seq: outbox.event_seq,
        events_forgotten: outbox.forgotten(),
        own: OwnState {
            x: body.x,
            y: body.y,
            hp: health.hp,
            gold: belongings.gold,
            items: belongings.items.to_vec(),
        },
        missed: outbox.events.range(outbox.acknowledged(event_seq)..).cloned().collect(),
    })
}
