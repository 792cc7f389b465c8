//! A game as the engine knows it: what it declares, and what it is asked while a zone runs. The engine knows no other
//! word of it.
//!
//! ```text
//!   Game::build ──declares──► ZoneBuilder          once for each zone, before anything is in its World
//!   GameZone::begin | derive                       once: the history begins, or goes on after a restore
//!   GameZone::refit                                when an epoch begins under other rules than the one before
//!   GameZone::apply_run | apply, spawn_player, derive_player, halt    while a tick's inputs are applied
//!   systems in ZoneBuilder::schedule               then
//!   GameZone::own_state, show                      when the tick is told and shown
//!   Game::facts                                    of characters as they were cut, for the archive
//! ```

use std::fmt::Debug;
use std::sync::Arc;

use bevy_ecs::prelude::*;
use everhold_protocol::{Intent, OwnState, SessionId};

use super::archive_schema::{ArchiveSchema, SchemaError};
use super::declare::ZoneBuilder;
use super::facts::{CharacterFacts, FrozenPlayer};
use super::probe::InputRun;
use super::scene::Scene;

/// A game with its numbers, as all zones of a world share it.
pub trait Game: Debug + Send + Sync {
    /// Returns the hash of everything that decides what a record does to a zone. No record is replayed under another.
    fn rules_id(&self, tick_hz: u16) -> [u8; 32];

    /// Returns the version of the rules' code, which is a part of every id: it rises when the same numbers would lead
    /// to another world.
    fn rules_code(&self) -> u32;

    /// Declares the game's state, outputs, and systems, and puts [`Upkeep`](super::rest::Upkeep) into their chain.
    /// `None` if the game has no zone of this name.
    ///
    /// # Panics
    /// If the tick rate is zero.
    fn build(self: Arc<Self>, zone: &mut ZoneBuilder<'_>) -> Option<Box<dyn GameZone>>;

    /// Returns what the game keeps in the archive for people to query.
    fn archive_schema(&self) -> Result<ArchiveSchema, SchemaError>;

    /// Returns what the archive is to say of a character, as the schema declares it.
    fn facts(&self, player: FrozenPlayer<'_>) -> CharacterFacts;
}

/// The game in one zone. Whatever it does to the World is a function of the World and the arguments.
pub trait GameZone: Send + Sync {
    /// Returns what the engine must know of the zone.
    fn terms(&self) -> Terms;

    /// Fills a World at the beginning of its history: tick 0, epoch 0.
    fn begin(&self, world: &mut World);

    /// Adds what is derived and lives on entities to a World that was restored.
    fn derive(&self, world: &mut World);

    /// Adds what is derived and lives on a player's entity to one that came back from rest.
    fn derive_player(&self, world: &mut World, player: Entity);

    /// Fits the state, which ran under other rules until now, to these: whatever the World holds, the game's systems
    /// can run on it afterwards. It may not ask what the other rules were.
    fn refit(&self, world: &mut World);

    /// Makes `player`, which is a session by now, a new character.
    fn spawn_player(&self, world: &mut World, player: Entity);

    /// Stops the character: its connection is gone, or is another one, which does not know what the one before was
    /// doing.
    fn halt(&self, world: &mut World, player: Entity);

    /// Applies an intent whose turn it is.
    fn apply(&self, world: &mut World, turn: PlayerTurn<'_>);

    /// Applies as many intents at the front of the run as it can apply together, and returns how many inputs it took:
    /// zero, if the first is not of that kind. The engine applies the next one alone, with [`GameZone::apply`]. Each
    /// intent is entered with [`InputRun::enter`] first, and whether it has its turn, [`Turn`](super::turns::Turn)
    /// says. While an input is quarantined the engine does not ask: there are no runs then.
    fn apply_run(&mut self, world: &mut World, run: InputRun<'_>) -> usize;

    /// Replaces the scene's content by what there is to see now.
    fn show(&mut self, world: &World, scene: &mut Scene);

    /// Returns everything that the player is and has, for the answer to an attach.
    fn own_state(&self, world: &World, player: Entity) -> Option<OwnState>;
}

/// A player's next intent.
#[derive(Clone, Copy, Debug)]
pub struct PlayerTurn<'a> {
    /// The session's entity.
    pub player: Entity,
    /// The session.
    pub session: SessionId,
    /// The intent's place in the session's sequence.
    pub seq: u64,
    /// The player's request.
    pub intent: &'a Intent,
}

/// The numbers of a zone that the engine reads; the game says them. Derived, and never changed.
#[derive(Resource, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The zone's number, at most [`crate::limits::ZONE_NUMBER_MAX`]: part of every id.
    pub zone_number: u16,
    /// Ticks per second, at least 1.
    pub tick_hz: u16,
    /// Ticks for which an away player is still seen at least: the away are looked for once a second.
    pub linger: u64,
    /// Ticks for which an away player who is seen no more comes back with a secret.
    pub resume_window: u64,
}
