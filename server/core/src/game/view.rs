//! The game's view of its world: it fills the scene for interest and replication, and a player's own state. It changes
//! nothing.

use bevy_ecs::prelude::*;
use everhold_protocol::{EntityKind, EntityView, OwnState};

use super::state::{Belongings, Body, Health, Lying};
use super::value::ValueDigest;
use crate::ingress::AttachToken;
use crate::zone::registry::{Id, seen_by_everyone, seen_by_owner};
use crate::zone::scene::{Scene, SceneSession};
use crate::zone::state::{InputSeq, Outbox, Resting, Session};

// What leaves this module for every viewer, and what for the owner alone. A declaration that forbids it fails the build
// here.
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
}

/// Health in 255ths, rounded up, so that only the dead have none.
fn health_255ths(health: &Health) -> u8 {
    if health.hp >= health.max && health.hp > 0 {
        return 255;
    }
    let share = (u32::from(health.hp) * 255).div_ceil(u32::from(health.max.max(1)));
    share.min(255) as u8
}

/// Everything that a player is and has.
pub(crate) fn own_state(world: &World, player: Entity) -> Option<OwnState> {
    let player = world.entity(player);
    let (body, health) = (player.get::<Body>()?, player.get::<Health>()?);
    let belongings = player.get::<Belongings>()?;
    Some(OwnState {
        x: body.x,
        y: body.y,
        hp: health.hp,
        gold: belongings.gold,
        items: belongings.items.to_vec(),
    })
}
