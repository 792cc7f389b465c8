//! What a zone is made of. It holds no state: that begins with it, or is restored.

use std::sync::Arc;

use everhold_protocol::ZoneName;

use super::game::Game;

/// What a zone is made of.
#[derive(Clone, Debug)]
pub struct ZoneConfig {
    /// Which zone of the game's world.
    pub name: ZoneName,
    /// Chance, for a zone that begins. A restored zone keeps the seed of its state.
    pub seed: u64,
    /// Ticks per second, at least 1.
    pub tick_hz: u16,
    /// The game, for all zones.
    pub game: Arc<dyn Game>,
}

impl ZoneConfig {
    /// What a zone of this configuration runs: the id that its `EpochStart` must carry.
    #[must_use]
    pub fn rules_id(&self) -> [u8; 32] {
        self.game.rules_id(self.tick_hz)
    }
}
