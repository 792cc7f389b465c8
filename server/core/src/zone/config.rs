//! What a zone is made of, and what its rules read: numbers that never change while it runs.

use std::sync::Arc;

use bevy_ecs::prelude::Resource;
use everhold_protocol::ZoneName;

use crate::rules::{Pace, RuleBook, ZoneMap};

/// What a zone is made of.
#[derive(Clone, Debug)]
pub struct ZoneConfig {
    /// Which zone of the rule book.
    pub name: ZoneName,
    /// Chance, for a zone that begins. A restored zone keeps the seed of its state.
    pub seed: u64,
    /// Ticks per second, at least 1.
    pub tick_hz: u16,
    /// The rules, for all zones.
    pub rules: Arc<RuleBook>,
}

impl ZoneConfig {
    /// What a zone of this configuration runs: the id that its `EpochStart` must carry.
    #[must_use]
    pub fn rules_id(&self) -> [u8; 32] {
        self.rules.rules_id(self.tick_hz)
    }
}

/// The numbers of one zone, as systems read them. Derived: from the configuration, not from the state.
#[derive(Resource, Clone, Debug)]
pub struct Setting {
    /// The rules.
    pub rules: Arc<RuleBook>,
    /// The zone's ground.
    pub map: Arc<ZoneMap>,
    /// The rules' times in ticks.
    pub pace: Pace,
}

impl Setting {
    /// `None` if the rule book has no such zone.
    #[must_use]
    pub fn new(config: &ZoneConfig) -> Option<Self> {
        let map = Arc::new(config.rules.zone(&config.name)?.clone());
        Some(Self {
            map,
            pace: Pace::new(&config.rules, config.tick_hz),
            rules: config.rules.clone(),
        })
    }
}
