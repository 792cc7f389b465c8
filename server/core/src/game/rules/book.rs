//! The rule book: every number that the rules read, from one TOML text, checked once. Unknown keys are errors.

mod bounds;

use std::collections::BTreeMap;

use everhold_protocol::ZoneName;
use serde::{Deserialize, Serialize};

use self::bounds::{check, check_maps};
use super::error::RuleError;
use super::map::{ZoneMap, ZoneRules, within};
use crate::limits::WORLD_BYTES_MAX;
use crate::ownership::{RulesStamp, state_layout};

/// Rises when the same numbers would lead to another world: it is part of [`RuleBook::rules_id`].
pub const RULES_VERSION: u32 = 2;

/// The numbers of a player's character.
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
    /// The reach of a pick-up or a gift, cm.
    pub reach_cm: i32,
    /// The time for which an away player is still seen (and can be struck), ms; until the next full second of the
    /// zone's time.
    pub linger_ms: u32,
    /// The time after that for which the player comes back with its session's secret, ms; later it takes a ticket.
    pub resume_window_ms: u32,
    /// From death to life, ms.
    pub respawn_ms: u32,
}

/// The melee strike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StrikeRules {
    /// The reach of a strike, cm.
    pub range_cm: i32,
    /// Hit points that a strike takes.
    pub damage: u16,
    /// Between two strikes of one player, ms.
    pub cooldown_ms: u32,
}

/// The numbers of chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatRules {
    /// Between two lines of one player, ms.
    pub cooldown_ms: u32,
    /// The distance at which a line is heard, cm.
    pub reach_cm: i32,
    /// Lines that one tick carries. Of more, those of who has been silent for longest.
    pub lines_per_tick_max: u16,
    /// Lines times listeners of one tick, at least as many as lines. Each line has an equal share: in a crowd the
    /// nearest hear it.
    pub tells_per_tick_max: u32,
}

/// The numbers of monsters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonsterRules {
    /// Hit points, whole.
    pub hp: u16,
    /// Full speed, cm per second.
    pub speed_cm_s: i32,
    /// The distance at which it sees a player, cm.
    pub sight_cm: i32,
    /// The distance that it goes from its camp, cm.
    pub leash_cm: i32,
    /// The reach of a bite, cm.
    pub bite_range_cm: i32,
    /// Hit points that a bite takes.
    pub bite_damage: u16,
    /// Between two bites, ms.
    pub bite_cooldown_ms: u32,
    /// Between two looks around, ms.
    pub think_ms: u32,
    /// The time for which it wanders one way, ms.
    pub wander_ms: u32,
    /// Gold that the killer gets, at least.
    pub loot_gold_min: u64,
    /// Gold that the killer gets, at most.
    pub loot_gold_max: u64,
    /// From its death until its camp has another, ms.
    pub respawn_ms: u32,
}

/// The numbers of items on the ground.
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
        within(
            "the length of the file",
            text.len() as i128,
            0..=WORLD_BYTES_MAX as i128,
        )
        .map_err(RuleError::Number)?;
        let text: Text = toml::from_str(text).map_err(|error| RuleError::Shape(error.to_string()))?;
        check(&text).map_err(RuleError::Number)?;
        check_maps(&text.zone)?;
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
        Self::from_toml(include_str!("../../../../../assets/world.toml")).expect("the embedded world is well-formed")
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

    /// Hash of everything that decides what a record does to a zone: the rules' version and numbers, the tick rate, and
    /// the layout of the state. A shard runs only records and checkpoints of its own.
    #[must_use]
    pub fn rules_id(&self, tick_hz: u16) -> [u8; 32] {
        let numbers = rmp_serde::to_vec(&self.text).expect("plain structs of numbers and text always encode");
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"everhold rules");
        hasher.update(&RULES_VERSION.to_le_bytes());
        hasher.update(&state_layout().to_le_bytes());
        hasher.update(&tick_hz.to_le_bytes());
        hasher.update(&numbers);
        *hasher.finalize().as_bytes()
    }

    /// Returns the stamp of these rules at a tick rate.
    #[must_use]
    pub fn stamp(&self, tick_hz: u16) -> RulesStamp {
        RulesStamp {
            id: self.rules_id(tick_hz),
            code: RULES_VERSION,
            layout: state_layout(),
        }
    }

    /// Returns the text that says the same as the one that was read, without its comments: another book that is read
    /// from it has the same id.
    ///
    /// # Panics
    /// Never: a test writes all that a text may hold.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.text).expect("plain structs of numbers and text are TOML")
    }

    /// Returns the numbers of a player's character.
    #[must_use]
    pub fn player(&self) -> &PlayerRules {
        &self.text.player
    }

    /// Returns the kinds of a new character's items.
    #[must_use]
    pub fn start_items(&self) -> &[u16] {
        &self.start_items
    }

    /// Returns the numbers of the melee strike.
    #[must_use]
    pub fn strike(&self) -> &StrikeRules {
        &self.text.strike
    }

    /// Returns the numbers of chat.
    #[must_use]
    pub fn chat(&self) -> &ChatRules {
        &self.text.chat
    }

    /// Returns the numbers of monsters.
    #[must_use]
    pub fn monster(&self) -> &MonsterRules {
        &self.text.monster
    }

    /// Returns the numbers of items on the ground.
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
        .map(|name| kind(name).ok_or_else(|| format!("player.start_items: no item kind {name:?}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: &str = include_str!("../../../../../assets/world.toml");

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
        assert!(complaint("tells_per_tick_max = 600", "tells_per_tick_max = 7").contains("tells_per_tick_max"));
        assert!(complaint("loot_gold_min = 5", "loot_gold_min = 50").contains("loot_gold_min"));
        assert!(complaint("sight_cm = 1_500", "sight_cm = 2_000_000").contains("sight"));
        assert!(complaint("\"bread\", \"torch\"]", "\"bread\", \"tarch\"]").contains("tarch"));
    }

    #[test]
    fn number_out_of_bounds_is_told_with_its_key_value_and_bounds() {
        for (from, to, key, bound) in [
            (
                "start_gold = 100",
                "start_gold = 1_000_001",
                "player.start_gold",
                "0..=1000000, not 1000001",
            ),
            (
                "reach_cm = 100_000",
                "reach_cm = 2_000_001",
                "chat.reach_cm",
                "1..=2000000, not 2000001",
            ),
            (
                "lines_per_tick_max = 8",
                "lines_per_tick_max = 257",
                "chat.lines_per_tick_max",
                "1..=256, not 257",
            ),
            (
                "sight_cm = 1_500",
                "sight_cm = 1_000_001",
                "monster.sight_cm",
                "1..=1000000, not 1000001",
            ),
            (
                "think_ms = 400",
                "think_ms = 3_600_001",
                "monster.think_ms",
                "1..=3600000, not 3600001",
            ),
            (
                "spawn_ms = 1_000",
                "spawn_ms = 0",
                "item.spawn_ms",
                "1..=3600000, not 0",
            ),
            (
                "width_cm = 60_000",
                "width_cm = 1_000_001",
                "zone meadow: width_cm",
                "100..=1000000, not 1000001",
            ),
            (
                "items_max = 120",
                "items_max = 81_063",
                "zone meadow: items_max and camps together",
                "0..=81072, not 81073",
            ),
        ] {
            let words = complaint(from, to);
            assert!(words.contains(key) && words.contains(bound), "{words}");
        }
    }

    fn with_obstacles(obstacles: impl Iterator<Item = [i32; 4]>) -> Result<RuleBook, RuleError> {
        let walls: Vec<String> = obstacles.map(|wall| format!("{wall:?}")).collect();
        let zone = format!(
            "[[zone]]\nname = \"far\"\nnumber = 9\nwidth_cm = 1_000_000\nheight_cm = 1_000_000\nspawns = [[0, 0]]\n\
             items_at_start = 0\nitems_max = 0\nobstacles = [{}]\n",
            walls.join(", ")
        );
        RuleBook::from_toml(&format!("{WORLD}\n{zone}"))
    }

    #[test]
    fn obstacles_that_would_fill_the_memory_or_a_tick_are_refused() {
        let large = with_obstacles((0..3_000).map(|n| [n, 0, 1_000_000, 1_000_000]));
        let words = large.unwrap_err().to_string();
        assert!(words.contains("entries") && words.contains("16777216"), "{words}");
        let heap = with_obstacles((0..257).map(|n| [500_000 + n, 500_000, 500_300, 500_300]));
        let words = heap.unwrap_err().to_string();
        assert!(words.contains("zone far") && words.contains("256, not 257"), "{words}");
        assert!(with_obstacles((0..256).map(|n| [500_000 + n, 500_000, 500_300, 500_300])).is_ok());
    }

    #[test]
    fn items_that_no_scene_holds_are_refused() {
        let words = complaint(
            "items_at_start = 80\nitems_max = 120",
            "items_at_start = 4_000_000\nitems_max = 4_000_000",
        );
        assert!(words.contains("items_max") && words.contains("4000010"), "{words}");
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
    fn text_of_a_book_is_read_as_the_same_rules() {
        for text in [WORLD, include_str!("../yard.toml")] {
            let book = RuleBook::from_toml(text).unwrap();
            let same = RuleBook::from_toml(&book.to_toml()).unwrap();
            assert_eq!((same.rules_id(20), &same), (book.rules_id(20), &book));
        }
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
