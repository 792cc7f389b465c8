//! For tests only: zones with a shuffled schedule or with systems that no game declares, and a look into their Worlds.

use bevy_ecs::prelude::*;

use super::restore::RestoreError;
use super::{Zone, ZoneConfig};

impl Zone {
    /// For tests: a new zone, whose systems without an order are shuffled by a seed, and to which `plant` adds.
    ///
    /// # Panics
    /// As [`Zone::new`].
    pub(crate) fn new_with(config: &ZoneConfig, shuffle_seed: Option<u64>, plant: impl FnOnce(&mut Self)) -> Self {
        let mut zone = Self::empty(config, shuffle_seed).expect("the game has a zone of this name");
        plant(&mut zone);
        zone.begin(config);
        zone
    }

    /// For tests: the same of a restored zone.
    pub(crate) fn restore_with(
        config: &ZoneConfig,
        chain: &[&[u8]],
        shuffle_seed: Option<u64>,
        plant: impl FnOnce(&mut Self),
    ) -> Result<Self, RestoreError> {
        let mut zone = Self::empty(config, shuffle_seed).ok_or(RestoreError::ZoneUnknown)?;
        plant(&mut zone);
        zone.read(chain)?;
        Ok(zone)
    }

    /// For tests: the World.
    pub(crate) const fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// For tests: the World and the systems of a tick.
    pub(crate) const fn parts(&mut self) -> (&mut World, &mut Schedule) {
        (&mut self.world, &mut self.schedule)
    }
}
