//! For tests only: zones with a shuffled schedule or a bug planted on purpose, and a look at what the rules must
//! conserve.
//!
//! Each [`PlantedBug`] is a habit that a restored World would not share, put into one small system after all others.
//! The replay property must fail with each of them; if it does not, it proves nothing about the rules either.

use std::collections::HashMap;

use bevy_ecs::message::{Message, MessageReader, MessageRegistry, Messages};
use bevy_ecs::prelude::*;
use everhold_protocol::{EntityId, Event, GoldCause, Heading, Item, Tick};

use super::state::{Belongings, Body, Course, Health, Lying};
use super::systems::Phase;
use crate::zone::registry::Id;
use crate::zone::restore::RestoreError;
use crate::zone::state::{Clock, Outbox, Session};
use crate::zone::{Zone, ZoneConfig};

/// A bug that a test plants: the property that is tested must fail with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// Acts on the first of a hash map.
    HashMapOrder,
    /// Acts on the first of a query.
    QueryOrder,
    /// Counts in a `Local`.
    Local,
    /// Acts on `Changed`.
    Changed,
    /// Acts on a message of the tick before.
    CrossTickMessage,
    /// Adds floats in the order of a query.
    FloatSum,
    /// Inserts onto one entity through `Commands`, in the order of a query: the last one wins.
    CommandsOrder,
    /// Two systems without an order insert onto one entity through `Commands`. The ambiguity check does not see it.
    UnorderedCommands,
    /// Panics in tick 3.
    Panic,
}

/// The differences between a zone under test and a real one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestZone {
    /// Shuffles systems whose order is not fixed.
    pub shuffle_seed: Option<u64>,
    /// The bug in it.
    pub bug: Option<PlantedBug>,
}

/// The contents of a zone, by which tests see that the rules conserve gold and items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Gold in all purses.
    pub gold: u64,
    /// Gold that came into being in the last tick, by what its owners were told.
    pub gold_minted: u64,
    /// Every item there is, owned or on the ground, sorted by uid.
    pub items: Vec<Item>,
    /// Events that wait in outboxes.
    pub outbox_events: usize,
}

impl TestZone {
    /// Begins a zone that differs so.
    ///
    /// # Panics
    /// As [`Zone::new`].
    #[must_use]
    pub fn begin(self, config: &ZoneConfig) -> Zone {
        Zone::new_with(config, self.shuffle_seed, |zone| plant(zone, self.bug))
    }

    /// Restores a zone that differs so.
    pub fn restore(self, config: &ZoneConfig, chain: &[&[u8]]) -> Result<Zone, RestoreError> {
        Zone::restore_with(config, chain, self.shuffle_seed, |zone| plant(zone, self.bug))
    }
}

impl Audit {
    /// Counts what must be conserved.
    #[must_use]
    pub fn of(zone: &mut Zone) -> Self {
        let tick = zone.tick();
        let world = zone.world();
        let mut audit = Self::default();
        let mut owners = world.query::<(&Belongings, &Outbox)>();
        for (belongings, outbox) in owners.iter(world) {
            audit.gold += belongings.gold;
            audit.items.extend(belongings.items.iter());
            audit.outbox_events += outbox.events.len();
            for event in outbox.events.iter().filter(|event| event.tick == tick) {
                if let Event::Gold {
                    delta,
                    cause: GoldCause::Start | GoldCause::Loot,
                    ..
                } = event.event
                {
                    audit.gold_minted += delta.unsigned_abs();
                }
            }
        }
        let mut ground = world.query::<(&Id, &Lying)>();
        audit.items.extend(ground.iter(world).map(|(id, lying)| Item {
            uid: id.0,
            kind: lying.kind,
        }));
        audit.items.sort_unstable();
        audit
    }
}

fn plant(zone: &mut Zone, bug: Option<PlantedBug>) {
    let (world, schedule) = zone.parts();
    match bug {
        None => {}
        Some(PlantedBug::HashMapOrder) => drop(schedule.add_systems(hash_map_order.in_set(Phase::Planted))),
        Some(PlantedBug::QueryOrder) => drop(schedule.add_systems(query_order.in_set(Phase::Planted))),
        Some(PlantedBug::Local) => drop(schedule.add_systems(local.in_set(Phase::Planted))),
        Some(PlantedBug::Changed) => drop(schedule.add_systems(changed.in_set(Phase::Planted))),
        Some(PlantedBug::CrossTickMessage) => {
            MessageRegistry::register_message::<Nudge>(world);
            schedule.add_systems((read_message, write_message).chain().in_set(Phase::Planted));
        }
        Some(PlantedBug::FloatSum) => drop(schedule.add_systems(float_sum.in_set(Phase::Planted))),
        Some(PlantedBug::CommandsOrder) => drop(schedule.add_systems(commands_order.in_set(Phase::Planted))),
        Some(PlantedBug::UnorderedCommands) => {
            schedule.add_systems((insert_east, insert_west).in_set(Phase::Planted));
        }
        Some(PlantedBug::Panic) => drop(schedule.add_systems(panic_in_tick_3.in_set(Phase::Planted))),
    }
}

/// The smallest effect that a digest sees, and that no rule undoes.
fn nudge(health: &mut Health) {
    health.max = health.max % 1_000 + 1;
}

fn hash_map_order(mut players: Query<'_, '_, (&Id, &mut Health), With<Session>>) {
    let mut by_id: HashMap<EntityId, Mut<'_, Health>> = players.iter_mut().map(|(id, health)| (id.0, health)).collect();
    if let Some(first) = by_id.values_mut().next() {
        nudge(first);
    }
}

fn query_order(mut players: Query<'_, '_, &mut Health, With<Session>>) {
    if let Some(mut first) = players.iter_mut().next() {
        nudge(&mut first);
    }
}

fn nudge_least(players: &mut Query<'_, '_, (&Id, &mut Health), With<Session>>) {
    if let Some((_, mut least)) = players.iter_mut().min_by_key(|(id, _)| id.0) {
        nudge(&mut least);
    }
}

fn local(mut count: Local<'_, u32>, mut players: Query<'_, '_, (&Id, &mut Health), With<Session>>) {
    *count += 1;
    if count.is_multiple_of(7) {
        nudge_least(&mut players);
    }
}

fn changed(mut moved: Query<'_, '_, &mut Health, (With<Session>, Changed<Body>)>) {
    for mut health in &mut moved {
        nudge(&mut health);
    }
}

#[derive(Message)]
struct Nudge;

fn read_message(
    mut nudges: MessageReader<'_, '_, Nudge>,
    mut players: Query<'_, '_, (&Id, &mut Health), With<Session>>,
) {
    for _ in nudges.read() {
        nudge_least(&mut players);
    }
}

fn write_message(clock: Res<'_, Clock>, mut nudges: ResMut<'_, Messages<Nudge>>) {
    nudges.update();
    if clock.tick.is_every(3) {
        nudges.write(Nudge);
    }
}

fn float_sum(
    bodies: Query<'_, '_, &Body, With<Session>>,
    mut players: Query<'_, '_, (&Id, &mut Health), With<Session>>,
) {
    let sum: f32 = bodies
        .iter()
        .map(|body| body.x as f32 * 0.1 + body.y as f32 * 0.37)
        .sum();
    if let Some((_, mut least)) = players.iter_mut().min_by_key(|(id, _)| id.0) {
        least.max = (sum.to_bits() % 1_000) as u16 + 1;
    }
}

fn commands_order(mut commands: Commands<'_, '_>, players: Query<'_, '_, (Entity, &Id, &Health), With<Session>>) {
    let Some((shared, ..)) = players.iter().min_by_key(|(_, id, _)| id.0) else {
        return;
    };
    for (_, id, health) in &players {
        commands.entity(shared).insert(Health {
            hp: health.hp,
            max: (id.0.0 % 1_000) as u16 + 1,
        });
    }
}

fn insert_heading(commands: &mut Commands<'_, '_>, players: &Query<'_, '_, (Entity, &Id), With<Session>>, dx: i8) {
    let (Some((shared, _)), Ok(heading)) = (players.iter().min_by_key(|(_, id)| id.0), Heading::new(dx, 0)) else {
        return;
    };
    commands.entity(shared).insert(Course { heading });
}

fn insert_east(mut commands: Commands<'_, '_>, players: Query<'_, '_, (Entity, &Id), With<Session>>) {
    insert_heading(&mut commands, &players, 100);
}

fn insert_west(mut commands: Commands<'_, '_>, players: Query<'_, '_, (Entity, &Id), With<Session>>) {
    insert_heading(&mut commands, &players, -100);
}

fn panic_in_tick_3(clock: Res<'_, Clock>) {
    assert!(clock.tick != Tick(3), "planted");
}
