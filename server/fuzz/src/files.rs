//! Files that a person writes: a world, a configuration.

use std::sync::Arc;

use everhold::config::RawConfig;
use everhold_core::game::RuleBook;
use everhold_core::zone::{Cut, Zone, ZoneConfig};

/// Ticks that an accepted world runs.
const TICKS: u32 = 5;
/// Zones of it that run: all are read alike.
const ZONES_MAX: usize = 2;

/// Reads a world file. One that is accepted makes zones that run.
pub fn world(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(rules) = RuleBook::from_toml(text) else { return };
    let rules = Arc::new(rules);
    for name in rules.zones().take(ZONES_MAX) {
        let config = ZoneConfig {
            name: name.clone(),
            seed: 1,
            tick_hz: 20,
            game: rules.clone(),
        };
        let mut zone = Zone::new(config.clone());
        for _ in 0..TICKS {
            zone.step(&[]);
        }
        let base = zone.capture(Cut::Base);
        let mut restored = Zone::restore(config, &[&base.body]).expect("what was captured can be restored");
        assert_eq!(restored.digest(), zone.digest());
    }
}

/// Reads a configuration: a file, and behind a zero byte variables of the environment, a line each.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, environment) = text.split_once('\0').unwrap_or((text, ""));
    let variables = environment.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let raw = RawConfig::default()
        .with_text(file)
        .and_then(|raw| raw.with_env(variables));
    let _judged = raw.and_then(RawConfig::resolve);
}
