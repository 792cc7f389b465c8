//! For tests only: zones with a shuffled schedule or a bug planted on purpose, and a look at what the rules must conserve.
//!
//! Each [`Plant`] is a habit that a restored World would not share, put into one small system after all others. The replay property
//! must fail with each of them; if it does not, it proves nothing about the rules either.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bevy_ecs::message::{Message, MessageReader, MessageRegistry, Messages};
use bevy_ecs::prelude::*;
use everhold_protocol::{EntityId, Event, GoldCause, Heading, Item};

use super::registry::Id;
use super::restore::RestoreError;
use super::state::{Belongings, Body, Clock, Course, Health, Lying, Outbox, Session};
use super::systems::Phase;
use super::{Zone, ZoneConfig};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
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

/// How a zone under test differs from a real one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rig {
    /// Shuffles systems whose order is not fixed.
    pub shuffle_seed: Option<u64>,
    /// A bug.
    pub plant: Option<Plant>,
}

/// A line of chat that makes a rule fail, in every zone of the process: the one that applies it (`loop-on-chat=TEXT`,
/// `panic-on-chat=TEXT`), or a system after all inputs, for which nobody is to blame (`loop-after-chat=TEXT`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    text: String,
    sprung: Sprung,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sprung {
    Loop,
    Panic,
    LoopLater,
}

impl FromStr for Trap {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, text) = text.split_once('=').ok_or("it is written KIND=TEXT")?;
        let sprung = match kind {
            "loop-on-chat" => Sprung::Loop,
            "panic-on-chat" => Sprung::Panic,
            "loop-after-chat" => Sprung::LoopLater,
            _ => return Err("it is loop-on-chat, panic-on-chat, or loop-after-chat"),
        };
        Ok(Self {
            text: text.to_owned(),
            sprung,
        })
    }
}

static TRAP: OnceLock<Trap> = OnceLock::new();

/// A [`Sprung::LoopLater`] is due.
static LATER: AtomicBool = AtomicBool::new(false);

/// Sets the process's trap.
///
/// # Panics
/// If one is set already.
pub fn set(trap: Trap) {
    TRAP.set(trap).expect("a process has one trap");
}

/// Called by the rule with every line of chat.
pub(super) fn spring(text: &str) {
    match TRAP.get().filter(|trap| trap.text == text).map(|trap| trap.sprung) {
        None => {}
        Some(Sprung::Panic) => panic!("planted: {text}"),
        Some(Sprung::Loop) => spin(),
        Some(Sprung::LoopLater) => LATER.store(true, Ordering::Relaxed),
    }
}

/// Called when all inputs of a tick are applied.
pub(super) fn spring_later() {
    if LATER.swap(false, Ordering::Relaxed) {
        spin();
    }
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// What the rules must conserve.
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

impl Zone {
    /// For tests: a new zone, rigged.
    ///
    /// # Panics
    /// As [`Zone::new`].
    #[must_use]
    pub fn rigged(config: ZoneConfig, rig: Rig) -> Self {
        let mut zone = Self::empty(&config, rig.shuffle_seed).expect("the rule book has a zone of this name");
        plant(&mut zone, rig.plant);
        zone.begin(&config);
        zone
    }

    /// For tests: a restored zone, rigged.
    pub fn restore_rigged(config: ZoneConfig, chain: &[&[u8]], rig: Rig) -> Result<Self, RestoreError> {
        let mut zone = Self::empty(&config, rig.shuffle_seed).ok_or(RestoreError::ZoneUnknown)?;
        plant(&mut zone, rig.plant);
        zone.read(&config, chain)?;
        Ok(zone)
    }

    /// For tests: counts what must be conserved.
    pub fn audit(&mut self) -> Audit {
        let tick = self.tick();
        let mut audit = Audit::default();
        let mut owners = self.world.query::<(&Belongings, &Outbox)>();
        for (belongings, outbox) in owners.iter(&self.world) {
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
        let mut ground = self.world.query::<(&Id, &Lying)>();
        audit.items.extend(ground.iter(&self.world).map(|(id, lying)| Item {
            uid: id.0,
            kind: lying.kind,
        }));
        audit.items.sort_unstable();
        audit
    }
}

fn plant(zone: &mut Zone, plant: Option<Plant>) {
    let schedule = &mut zone.schedule;
    match plant {
        None => {}
        Some(Plant::HashMapOrder) => drop(schedule.add_systems(hash_map_order.in_set(Phase::Planted))),
        Some(Plant::QueryOrder) => drop(schedule.add_systems(query_order.in_set(Phase::Planted))),
        Some(Plant::Local) => drop(schedule.add_systems(local.in_set(Phase::Planted))),
        Some(Plant::Changed) => drop(schedule.add_systems(changed.in_set(Phase::Planted))),
        Some(Plant::CrossTickMessage) => {
            MessageRegistry::register_message::<Nudge>(&mut zone.world);
            schedule.add_systems((read_message, write_message).chain().in_set(Phase::Planted));
        }
        Some(Plant::FloatSum) => drop(schedule.add_systems(float_sum.in_set(Phase::Planted))),
        Some(Plant::CommandsOrder) => drop(schedule.add_systems(commands_order.in_set(Phase::Planted))),
        Some(Plant::UnorderedCommands) => {
            schedule.add_systems((insert_east, insert_west).in_set(Phase::Planted));
        }
        Some(Plant::Panic) => drop(schedule.add_systems(panic_in_tick_3.in_set(Phase::Planted))),
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
    if clock.tick.is_multiple_of(3) {
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
    assert!(clock.tick != 3, "planted");
}
