//! The rule book: every number that the rules read, from one TOML text, checked once. Unknown keys are errors.

use std::collections::{BTreeMap, BTreeSet};

use everhold_protocol::ZoneName;
use everhold_protocol::limits::INVENTORY_ITEMS_MAX;
use serde::{Deserialize, Serialize};

use super::map::{SIDE_CM_MAX, SPEED_CM_S_MAX, ZoneMap, ZoneRules};

/// Rises when the same numbers would lead to another world: it is part of [`RuleBook::rules_id`].
const RULES_VERSION: u32 = 1;
/// The longest time of any rule, ms: an hour. It keeps every tick count far from overflow.
const TIME_MS_MAX: u32 = 3_600_000;
/// The most gold that comes into being at once: a change of a purse is told as a signed number, and this is far from its limit.
const GOLD_MAX: u64 = 1_000_000;

/// Why a text is no rule book.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not TOML, or not of this shape.
    #[error("rules: {0}")]
    Shape(String),
    /// A number that the rules cannot work with.
    #[error("rules: {0}")]
    Number(String),
}

/// What a player's character is and may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayerRules {
    /// Hit points, whole.
    pub hp: u16,
    /// Full speed, cm per second.
    pub speed_cm_s: i32,
    /// Gold of a new character.
    pub start_gold: u64,
    /// Items of a new character, as names of [`ItemRules::kinds`].
    pub start_items: Vec<String>,
    /// How far a pick-up or a gift reaches, cm.
    pub reach_cm: i32,
    /// How long an away player is still seen (and can be struck), ms; until the next full second of the zone's time.
    pub linger_ms: u32,
    /// From death to life, ms.
    pub respawn_ms: u32,
}

/// The melee strike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StrikeRules {
    /// How far it reaches, cm.
    pub range_cm: i32,
    /// What it takes, hit points.
    pub damage: u16,
    /// Between two strikes of one player, ms.
    pub cooldown_ms: u32,
}

/// Chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatRules {
    /// Between two lines of one player, ms.
    pub cooldown_ms: u32,
    /// How far a line is heard, cm.
    pub reach_cm: i32,
    /// Lines that one tick carries: each costs one event for each attached player in reach.
    pub lines_per_tick_max: u16,
}

/// What monsters are and do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonsterRules {
    /// Hit points, whole.
    pub hp: u16,
    /// Full speed, cm per second.
    pub speed_cm_s: i32,
    /// How far it sees a player, cm.
    pub sight_cm: i32,
    /// How far from its camp it goes, cm.
    pub leash_cm: i32,
    /// How far it bites, cm.
    pub bite_range_cm: i32,
    /// What a bite takes, hit points.
    pub bite_damage: u16,
    /// Between two bites, ms.
    pub bite_cooldown_ms: u32,
    /// Between two looks around, ms.
    pub think_ms: u32,
    /// How long it wanders one way, ms.
    pub wander_ms: u32,
    /// Gold that the killer gets, at least.
    pub loot_gold_min: u64,
    /// Gold that the killer gets, at most.
    pub loot_gold_max: u64,
    /// From its death until its camp has another, ms.
    pub respawn_ms: u32,
}

/// What lies on the ground.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemRules {
    /// Names of the kinds; an item's kind is an index into them.
    pub kinds: Vec<String>,
    /// Between two new items while a zone has fewer than its `items_max`, ms.
    pub spawn_ms: u32,
}

/// The text, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    player: PlayerRules,
    strike: StrikeRules,
    chat: ChatRules,
    monster: MonsterRules,
    item: ItemRules,
    zone: Vec<ZoneRules>,
}

/// Every number that the rules read, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleBook {
    text: Text,
    start_items: Vec<u16>,
    zones: BTreeMap<ZoneName, ZoneMap>,
}

impl RuleBook {
    /// Reads and checks a text such as `assets/world.toml`.
    pub fn from_toml(text: &str) -> Result<Self, RuleError> {
        let text: Text = toml::from_str(text).map_err(|error| RuleError::Shape(error.to_string()))?;
        check(&text).map_err(RuleError::Number)?;
        let start_items = start_items(&text).map_err(RuleError::Number)?;
        let mut zones = BTreeMap::new();
        for rules in &text.zone {
            zones.insert(rules.name.clone(), ZoneMap::new(rules.clone())?);
        }
        Ok(Self {
            text,
            start_items,
            zones,
        })
    }

    /// The world that comes with the server: three zones.
    ///
    /// # Panics
    /// Never: a test reads the same text.
    #[must_use]
    pub fn default_world() -> Self {
        Self::from_toml(include_str!("../../../assets/world.toml")).expect("the embedded world is well-formed")
    }

    /// The zones of this world, in order of name.
    pub fn zones(&self) -> impl Iterator<Item = &ZoneName> {
        self.zones.keys()
    }

    /// A zone's ground, if the world has the zone.
    #[must_use]
    pub fn zone(&self, name: &ZoneName) -> Option<&ZoneMap> {
        self.zones.get(name)
    }

    /// Hash of everything that decides what a record does to a zone: the rules' version and numbers, the tick rate, and the layout of
    /// the state. A shard runs only records and checkpoints of its own.
    #[must_use]
    pub fn rules_id(&self, tick_hz: u16) -> [u8; 32] {
        let numbers = rmp_serde::to_vec(&self.text).expect("plain structs of numbers and text always encode");
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"everhold rules");
        hasher.update(&RULES_VERSION.to_le_bytes());
        hasher.update(&crate::limits::STATE_LAYOUT.to_le_bytes());
        hasher.update(&tick_hz.to_le_bytes());
        hasher.update(&numbers);
        *hasher.finalize().as_bytes()
    }

    /// What a player's character is and may do.
    #[must_use]
    pub fn player(&self) -> &PlayerRules {
        &self.text.player
    }

    /// The kinds of a new character's items.
    #[must_use]
    pub fn start_items(&self) -> &[u16] {
        &self.start_items
    }

    /// The melee strike.
    #[must_use]
    pub fn strike(&self) -> &StrikeRules {
        &self.text.strike
    }

    /// Chat.
    #[must_use]
    pub fn chat(&self) -> &ChatRules {
        &self.text.chat
    }

    /// What monsters are and do.
    #[must_use]
    pub fn monster(&self) -> &MonsterRules {
        &self.text.monster
    }

    /// What lies on the ground.
    #[must_use]
    pub fn item(&self) -> &ItemRules {
        &self.text.item
    }
}

fn start_items(text: &Text) -> Result<Vec<u16>, String> {
    let kind = |name: &String| {
        text.item
            .kinds
            .iter()
            .position(|kind| kind == name)
            .map(|index| index as u16)
    };
    let names = &text.player.start_items;
    names
        .iter()
        .map(|name| kind(name).ok_or_else(|| format!("start_items: no item kind {name:?}")))
        .collect()
}

fn check(text: &Text) -> Result<(), String> {
    check_positive(text)?;
    check_limits(text)?;
    check_times(text)?;
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    match text
        .zone
        .iter()
        .find(|zone| !names.insert(&zone.name) || !numbers.insert(zone.number))
    {
        Some(twin) => Err(format!("zone {}: its name or its number is taken", twin.name)),
        None => Ok(()),
    }
}

fn check_positive(
    Text {
        player,
        strike,
        chat,
        monster,
        item,
        zone,
    }: &Text,
) -> Result<(), String> {
    let positive = [
        ("player.hp", i64::from(player.hp)),
        ("player.reach_cm", i64::from(player.reach_cm)),
        ("strike.range_cm", i64::from(strike.range_cm)),
        ("strike.damage", i64::from(strike.damage)),
        ("chat.reach_cm", i64::from(chat.reach_cm)),
        ("chat.lines_per_tick_max", i64::from(chat.lines_per_tick_max)),
        ("monster.hp", i64::from(monster.hp)),
        ("monster.sight_cm", i64::from(monster.sight_cm)),
        ("monster.leash_cm", i64::from(monster.leash_cm)),
        ("monster.bite_range_cm", i64::from(monster.bite_range_cm)),
        ("the number of item.kinds", item.kinds.len() as i64),
        ("the number of zones", zone.len() as i64),
    ];
    match positive.into_iter().find(|&(_, value)| value < 1) {
        Some((name, value)) => Err(format!("{name} must be at least 1, not {value}")),
        None => Ok(()),
    }
}

fn check_limits(
    Text {
        player,
        strike,
        monster,
        item,
        ..
    }: &Text,
) -> Result<(), String> {
    let lengths = [
        player.reach_cm,
        strike.range_cm,
        monster.sight_cm,
        monster.leash_cm,
        monster.bite_range_cm,
    ];
    if lengths.into_iter().any(|cm| cm > SIDE_CM_MAX) {
        return Err(format!("no reach, range, sight, or leash may exceed {SIDE_CM_MAX} cm"));
    }
    for (name, speed) in [
        ("player.speed_cm_s", player.speed_cm_s),
        ("monster.speed_cm_s", monster.speed_cm_s),
    ] {
        if !(1..=SPEED_CM_S_MAX).contains(&speed) {
            return Err(format!("{name} must be within 1..={SPEED_CM_S_MAX}, not {speed}"));
        }
    }
    if monster.loot_gold_min > monster.loot_gold_max || monster.loot_gold_max > GOLD_MAX {
        return Err(format!(
            "monster.loot_gold_min must not exceed loot_gold_max, nor that {GOLD_MAX}"
        ));
    }
    if player.start_gold > GOLD_MAX {
        return Err(format!("player.start_gold must not exceed {GOLD_MAX}"));
    }
    if player.start_items.len() > INVENTORY_ITEMS_MAX || item.kinds.len() > usize::from(u16::MAX) {
        return Err(format!(
            "start_items must fit an inventory of {INVENTORY_ITEMS_MAX}, and kinds 16 bits"
        ));
    }
    Ok(())
}

fn check_times(text: &Text) -> Result<(), String> {
    let times = [
        ("player.linger_ms", text.player.linger_ms),
        ("player.respawn_ms", text.player.respawn_ms),
        ("strike.cooldown_ms", text.strike.cooldown_ms),
        ("chat.cooldown_ms", text.chat.cooldown_ms),
        ("monster.bite_cooldown_ms", text.monster.bite_cooldown_ms),
        ("monster.think_ms", text.monster.think_ms),
        ("monster.wander_ms", text.monster.wander_ms),
        ("monster.respawn_ms", text.monster.respawn_ms),
        ("item.spawn_ms", text.item.spawn_ms),
    ];
    match times.into_iter().find(|(_, ms)| !(1..=TIME_MS_MAX).contains(ms)) {
        Some((name, ms)) => Err(format!("{name} must be within 1..={TIME_MS_MAX}, not {ms}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: &str = include_str!("../../../assets/world.toml");

    fn with(from: &str, to: &str) -> Result<RuleBook, RuleError> {
        assert!(WORLD.contains(from), "{from}");
        RuleBook::from_toml(&WORLD.replacen(from, to, 1))
    }

    fn complaint(from: &str, to: &str) -> String {
        with(from, to).unwrap_err().to_string()
    }

    #[test]
    fn default_world_has_three_zones_with_something_in_each() {
        let book = RuleBook::default_world();
        let names: Vec<&str> = book.zones().map(ZoneName::as_str).collect();
        assert_eq!(names, ["forest", "harbor", "meadow"]);
        for name in book.zones() {
            let zone = book.zone(name).unwrap().rules();
            assert!(
                !zone.camps.is_empty() && !zone.obstacles.is_empty() && zone.items_at_start > 0,
                "{name}"
            );
        }
    }

    #[test]
    fn unknown_key_is_named() {
        assert!(complaint("speed_cm_s = 500", "spede_cm_s = 500").contains("spede_cm_s"));
        assert!(complaint("number = 1", "number = 1\nmayor = 1").contains("mayor"));
    }

    #[test]
    fn numbers_that_rules_cannot_work_with_are_refused() {
        assert!(complaint("hp = 100", "hp = 0").contains("player.hp"));
        assert!(complaint("speed_cm_s = 500", "speed_cm_s = 5000").contains("player.speed_cm_s"));
        assert!(complaint("cooldown_ms = 500", "cooldown_ms = 0").contains("strike.cooldown_ms"));
        assert!(complaint("loot_gold_min = 5", "loot_gold_min = 50").contains("loot_gold_min"));
        assert!(complaint("sight_cm = 1_500", "sight_cm = 2_000_000").contains("sight"));
        assert!(complaint("\"bread\", \"torch\"]", "\"bread\", \"tarch\"]").contains("tarch"));
    }

    #[test]
    fn zones_that_cannot_be_are_refused() {
        assert!(complaint("number = 2", "number = 1").contains("forest"));
        assert!(complaint("number = 2", "number = 5000").contains("4095"));
        assert!(complaint("items_at_start = 80", "items_at_start = 121").contains("items_max"));
        assert!(complaint("[30_000, 30_000]]", "[25_000, 30_000]]").contains("inside an obstacle"));
        assert!(complaint("[24_000, 26_000, 27_000, 34_000]", "[27_000, 26_000, 24_000, 34_000]").contains("obstacle"));
    }

    #[test]
    fn rules_id_follows_numbers_and_tick_rate_but_not_the_text() {
        let book = RuleBook::default_world();
        let same = with("# The world", "# A world").unwrap();
        assert_eq!(book.rules_id(20), same.rules_id(20));
        assert_ne!(book.rules_id(20), book.rules_id(30));
        assert_ne!(book.rules_id(20), with("hp = 100", "hp = 101").unwrap().rules_id(20));
        assert_ne!(
            book.rules_id(20),
            with("[8_000, 30_000]", "[8_000, 30_001]").unwrap().rules_id(20)
        );
    }
}
