//! The numbers of one zone, as systems read them. They never change while it runs.

use std::sync::Arc;

use bevy_ecs::prelude::Resource;
use everhold_protocol::ZoneName;

use super::rules::{RuleBook, TickRules, ZoneMap};

/// The numbers of one zone. Derived: from the configuration, not from the state.
#[derive(Resource, Clone, Debug)]
pub struct GameSettings {
    /// The rules.
    pub rules: Arc<RuleBook>,
    /// The zone's ground.
    pub map: Arc<ZoneMap>,
    /// The rules' times in ticks.
    pub tick_rules: TickRules,
}

impl GameSettings {
    /// The numbers of the zone of this name, at so many ticks per second. `None` if the rule book has no such zone.
    #[must_use]
    pub fn new(rules: Arc<RuleBook>, name: &ZoneName, tick_hz: u16) -> Option<Self> {
        let map = Arc::new(rules.zone(name)?.clone());
        let tick_rules = TickRules::new(&rules, tick_hz);
        Some(Self { rules, map, tick_rules })
    }
}
