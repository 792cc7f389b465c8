//! The bounds of every number of a world file. A number that is not within them is told with its key and its bounds.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use everhold_protocol::limits::INVENTORY_ITEMS_MAX;

use super::super::error::RuleError;
use super::super::map::{IndexSize, SIDE_CM_MAX, SPEED_CM_S_MAX, ZoneMap, ZoneRules, within};
use super::Text;
use crate::limits::{
    CHAT_LINES_PER_TICK_MAX, CHAT_TELLS_PER_TICK_MAX, KIND_NAME_BYTES_MAX, MAP_CELLS_MAX, MAP_ENTRIES_MAX,
    ZONE_NUMBER_MAX,
};

/// The longest time of any rule, ms: an hour. It keeps every tick count far from overflow.
const TIME_MS: RangeInclusive<i128> = 1..=3_600_000;
/// The most gold that comes into being at once: a change of a purse is told as a signed number, and this is far from
/// its limit.
const GOLD_MAX: u64 = 1_000_000;

/// Checks every number but those that are of one zone alone.
pub(super) fn check(text: &Text) -> Result<(), String> {
    let numbers = player_numbers(text)
        .into_iter()
        .chain(monster_numbers(text))
        .chain(times(text));
    for (key, value, range) in numbers {
        within(key, value, range)?;
    }
    let monster = &text.monster;
    if monster.loot_gold_min > monster.loot_gold_max {
        return Err(format!(
            "monster.loot_gold_min must not exceed loot_gold_max, which is {}, and is {}",
            monster.loot_gold_max, monster.loot_gold_min
        ));
    }
    for kind in &text.item.kinds {
        let key = format!("the length of item kind {kind:?}");
        within(&key, kind.len() as i128, 1..=KIND_NAME_BYTES_MAX as i128)?;
    }
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

/// A key, its value, and the bounds of it, which the value may have.
type Number = (&'static str, i128, RangeInclusive<i128>);

/// Lengths: from a centimetre to the widest zone.
const LENGTH_CM: RangeInclusive<i128> = 1..=SIDE_CM_MAX as i128;
/// Speeds, cm per second: at zero one could not walk at all.
const SPEED_CM_S: RangeInclusive<i128> = 1..=SPEED_CM_S_MAX as i128;
/// Gold that comes into being at once.
const GOLD: RangeInclusive<i128> = 0..=GOLD_MAX as i128;
/// Hit points, and what a blow takes: sixteen bits.
const HIT_POINTS: RangeInclusive<i128> = 1..=u16::MAX as i128;

fn player_numbers(text: &Text) -> [Number; 13] {
    let Text {
        player,
        strike,
        chat,
        item,
        zone,
        ..
    } = text;
    let zones_max = i128::from(ZONE_NUMBER_MAX) + 1;
    [
        ("player.hp", player.hp.into(), HIT_POINTS),
        ("player.speed_cm_s", player.speed_cm_s.into(), SPEED_CM_S),
        ("player.start_gold", player.start_gold.into(), GOLD),
        (
            "the number of player.start_items",
            player.start_items.len() as i128,
            0..=INVENTORY_ITEMS_MAX as i128,
        ),
        ("player.reach_cm", player.reach_cm.into(), LENGTH_CM),
        ("strike.range_cm", strike.range_cm.into(), LENGTH_CM),
        ("strike.damage", strike.damage.into(), HIT_POINTS),
        ("chat.reach_cm", chat.reach_cm.into(), 1..=2 * i128::from(SIDE_CM_MAX)),
        (
            "chat.lines_per_tick_max",
            chat.lines_per_tick_max.into(),
            1..=CHAT_LINES_PER_TICK_MAX.into(),
        ),
        (
            "chat.tells_per_tick_max",
            chat.tells_per_tick_max.into(),
            // A speaker hears itself.
            chat.lines_per_tick_max.into()..=CHAT_TELLS_PER_TICK_MAX.into(),
        ),
        (
            "the number of item.kinds",
            item.kinds.len() as i128,
            1..=u16::MAX.into(),
        ),
        ("the number of zones", zone.len() as i128, 1..=zones_max),
        ("item.spawn_ms", item.spawn_ms.into(), TIME_MS),
    ]
}

fn monster_numbers(Text { monster, .. }: &Text) -> [Number; 7] {
    [
        ("monster.hp", monster.hp.into(), HIT_POINTS),
        ("monster.speed_cm_s", monster.speed_cm_s.into(), SPEED_CM_S),
        ("monster.sight_cm", monster.sight_cm.into(), LENGTH_CM),
        ("monster.leash_cm", monster.leash_cm.into(), LENGTH_CM),
        ("monster.bite_range_cm", monster.bite_range_cm.into(), LENGTH_CM),
        ("monster.bite_damage", monster.bite_damage.into(), 0..=u16::MAX.into()),
        ("monster.loot_gold_max", monster.loot_gold_max.into(), GOLD),
    ]
}

fn times(text: &Text) -> [Number; 9] {
    let (player, monster) = (&text.player, &text.monster);
    [
        ("player.linger_ms", player.linger_ms),
        ("player.resume_window_ms", player.resume_window_ms),
        ("player.respawn_ms", player.respawn_ms),
        ("strike.cooldown_ms", text.strike.cooldown_ms),
        ("chat.cooldown_ms", text.chat.cooldown_ms),
        ("monster.bite_cooldown_ms", monster.bite_cooldown_ms),
        ("monster.think_ms", monster.think_ms),
        ("monster.wander_ms", monster.wander_ms),
        ("monster.respawn_ms", monster.respawn_ms),
    ]
    .map(|(key, ms)| (key, ms.into(), TIME_MS))
}

/// Checks the indices of all zones together, before any of them is made.
pub(super) fn check_maps(zones: &[ZoneRules]) -> Result<(), RuleError> {
    let mut sum = IndexSize::default();
    for rules in zones {
        let size = ZoneMap::index_size(rules)?;
        sum.cells += size.cells;
        sum.entries += size.entries;
    }
    let (cells, entries) = (sum.cells as i128, sum.entries as i128);
    within(
        "the cells of all zones' obstacle indices (one for each 2,048 cm x 2,048 cm)",
        cells,
        0..=MAP_CELLS_MAX as i128,
    )
    .and_then(|()| {
        within(
            "the entries of all zones' obstacle indices (each obstacle has one in each cell of 2,048 cm that it is in \
             or near)",
            entries,
            0..=MAP_ENTRIES_MAX as i128,
        )
    })
    .map_err(RuleError::Number)
}
