//! The small game that comes with the server: its words, numbers, state, and systems. It uses the engine, which knows
//! it as a [`Game`] only: the configuration of a zone brings its [`RuleBook`].
//!
//! What a player asks for is applied in `intents`, or noted there and resolved by one of the `systems` when all have
//! asked; `rules` are the functions and numbers behind both, without an ECS; `view` says what there is to see.

pub mod rules;
mod words;
mod archive;
pub mod state;
pub mod settings;
pub mod value;
mod grid;
mod players;
mod refit;
mod intents;
mod systems;
mod view;
#[cfg(feature = "testing")]
pub mod chat_fault;
#[cfg(feature = "testing")]
pub mod test_zone;
#[cfg(test)]
pub(crate) mod yard;

use std::sync::Arc;

use bevy_ecs::prelude::*;
use everhold_protocol::{Heading, OwnState, Tick};

pub use rules::{RuleBook, RuleError};

use crate::zone::archive_schema::{ArchiveSchema, SchemaError};
use crate::zone::facts::{CharacterFacts, FrozenPlayer};
use crate::zone::game::{Game, GameZone, PlayerTurn, Terms};
use crate::zone::probe::InputRun;
use crate::zone::{Scene, ZoneBuilder};
use rules::RULES_VERSION;
use settings::GameSettings;
use state::{Belongings, Due};
use value::ValueDigest;

impl Game for RuleBook {
    fn rules_id(&self, tick_hz: u16) -> [u8; 32] {
        Self::rules_id(self, tick_hz)
    }

    fn rules_code(&self) -> u32 {
        RULES_VERSION
    }

    fn build(self: Arc<Self>, zone: &mut ZoneBuilder<'_>) -> Option<Box<dyn GameZone>> {
        let settings = GameSettings::new(self, zone.name(), zone.tick_hz())?;
        let (ground, monster) = (settings.map.rules(), settings.rules.monster());
        let terms = Terms {
            zone_number: ground.number,
            tick_hz: settings.tick_rules.tick_hz,
            linger: settings.tick_rules.linger,
            resume_window: settings.tick_rules.resume_window,
        };
        state::declare_state(zone);
        zone.derived_component::<ValueDigest>();
        zone.derived(grid::PreyGrid::new(ground.width_cm, ground.height_cm, monster.sight_cm));
        zone.derived(settings);
        zone.output::<intents::Contests>();
        zone.output::<systems::monsters::Bites>();
        systems::declare(zone);
        let world = zone.world();
        Some(Box::new(SmallGame {
            terms,
            moves: intents::MoveQuery::new(world),
            viewer: view::Viewer::new(world),
        }))
    }

    fn archive_schema(&self) -> Result<ArchiveSchema, SchemaError> {
        archive::schema(self)
    }

    fn facts(&self, player: FrozenPlayer<'_>) -> CharacterFacts {
        archive::facts(player)
    }
}

/// The game in one zone.
struct SmallGame {
    terms: Terms,
    moves: intents::MoveQuery,
    viewer: view::Viewer,
}

impl GameZone for SmallGame {
    fn terms(&self) -> Terms {
        self.terms
    }

    fn begin(&self, world: &mut World) {
        let GameSettings { map, tick_rules, .. } = world.resource::<GameSettings>().clone();
        world.resource_mut::<Due>().item = Tick(tick_rules.item_spawn);
        for camp in (0u16..).take(map.rules().camps.len()) {
            systems::monsters::spawn_monster(world, camp);
        }
        for _ in 0..map.rules().items_at_start {
            systems::ground::spawn_item(world);
        }
    }

    fn derive(&self, world: &mut World) {
        let mut owners = world.query::<(Entity, &Belongings)>();
        let digests: Vec<_> = owners
            .iter(world)
            .map(|(owner, belongings)| (owner, ValueDigest::of(belongings)))
            .collect();
        world.insert_batch(digests);
    }

    fn derive_player(&self, world: &mut World, player: Entity) {
        if let Some(belongings) = world.get::<Belongings>(player) {
            let digest = ValueDigest::of(belongings);
            world.entity_mut(player).insert(digest);
        }
    }

    fn refit(&self, world: &mut World) {
        refit::refit(world);
    }

    fn spawn_player(&self, world: &mut World, player: Entity) {
        players::spawn_player(world, player);
    }

    fn halt(&self, world: &mut World, player: Entity) {
        intents::steer(world, player, Heading::STILL);
    }

    fn apply(&self, world: &mut World, turn: PlayerTurn<'_>) {
        intents::apply(world, turn);
    }

    fn apply_run(&mut self, world: &mut World, run: InputRun<'_>) -> usize {
        intents::steer_many(world, &mut self.moves, run)
    }

    fn show(&mut self, world: &World, scene: &mut Scene) {
        self.viewer.fill(world, scene);
    }

    fn own_state(&self, world: &World, player: Entity) -> Option<OwnState> {
        view::own_state(world, player)
    }
}

#[cfg(test)]
mod tests;
