//! The configuration of a zone. It holds no state: that begins with the zone, or is restored.

use std::sync::Arc;

use everhold_protocol::ZoneName;

use super::game::Game;
use crate::ownership::{RulesStamp, state_layout};

/// The configuration of a zone.
#[derive(Clone, Debug)]
pub struct ZoneConfig {
    /// The zone's name in the game's world.
    pub name: ZoneName,
    /// Chance, for a zone that begins. A restored zone keeps the seed of its state.
    pub seed: u64,
    /// Ticks per second, at least 1.
    pub tick_hz: u16,
    /// The game, for all zones.
    pub game: Arc<dyn Game>,
}

impl ZoneConfig {
    /// Returns the id of the rules that a zone of this configuration runs: its `EpochStart` must carry it.
    #[must_use]
    pub fn rules_id(&self) -> [u8; 32] {
        self.game.rules_id(self.tick_hz)
    }

    /// Returns the stamp of those rules.
    #[must_use]
    pub fn rules(&self) -> RulesStamp {
        RulesStamp {
            id: self.rules_id(),
            code: self.game.rules_code(),
            layout: state_layout(),
        }
    }
}
