//! Chance, as a function. There is no generator with a state: a number depends on the zone's seed, the tick, an id, and
//! what it is for, so it is the same in every process that replays the tick and does not depend on who asked before.

use everhold_protocol::{EntityId, Tick};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The use of a number: two uses at one tick for one id are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// The place where a player is born or lives again.
    SpawnPoint = 1,
    /// The direction in which a monster wanders.
    Wander = 2,
    /// The gold that a killed monster leaves.
    Loot = 3,
    /// The place where an item lies.
    ItemPlace = 4,
    /// The kind of an item.
    ItemKind = 5,
    /// The player who gets an item that several want.
    Contest = 6,
    /// The order of a tick's strikes.
    Initiative = 7,
    /// The order of lines of chat among players who have been silent for equally long.
    Turn = 8,
}

/// 64 bits for `(seed, tick, id, purpose)`.
#[must_use]
pub fn roll(seed: u64, tick: Tick, id: EntityId, purpose: Purpose) -> u64 {
    let mut bytes = [0u8; 24];
    bytes[..8].copy_from_slice(&tick.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&id.0.to_le_bytes());
    bytes[16..].copy_from_slice(&(purpose as u64).to_le_bytes());
    xxh3_64_with_seed(&bytes, seed)
}

/// A number below `bound` (which is not zero) out of 64 random bits; the bias is below `bound / 2^64`.
#[must_use]
pub fn below(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_argument_changes_the_roll() {
        let base = roll(1, Tick(2), EntityId(3), Purpose::Loot);
        assert_eq!(base, roll(1, Tick(2), EntityId(3), Purpose::Loot));
        assert_ne!(base, roll(2, Tick(2), EntityId(3), Purpose::Loot));
        assert_ne!(base, roll(1, Tick(3), EntityId(3), Purpose::Loot));
        assert_ne!(base, roll(1, Tick(2), EntityId(4), Purpose::Loot));
        assert_ne!(base, roll(1, Tick(2), EntityId(3), Purpose::Wander));
    }

    #[test]
    fn below_covers_its_whole_range_and_stays_in_it() {
        let mut seen = [false; 5];
        for tick in (0..200).map(Tick) {
            seen[below(roll(9, tick, EntityId(1), Purpose::Wander), 5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(below(u64::MAX, 5), 4);
    }
}
