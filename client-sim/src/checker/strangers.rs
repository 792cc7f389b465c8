//! Gifts to and from characters that no player of the run has: of another swarm, of a person, or of an earlier run,
//! whose bodies linger. No player of the run hears what such a character has, so the books of the run end where it
//! begins.

use serde::Serialize;

/// Gifts between the run's players and strangers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Strangers {
    /// Gold that players gave to strangers.
    pub gold_given: u64,
    /// Gold that strangers gave to players.
    pub gold_received: u64,
    /// Things that players gave to strangers.
    pub items_given: u64,
    /// Things that strangers gave to players.
    pub items_received: u64,
}

/// Counts how often a thing came to the players from outside, and left them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ThingOrigin {
    /// Came into being in a player's hands.
    pub(super) born: u32,
    /// Was with a player who joined.
    pub(super) brought: u32,
    pub(super) from_strangers: u32,
    pub(super) to_strangers: u32,
}

impl ThingOrigin {
    /// Returns how many players should have it: 1 or 0, unless something is wrong.
    pub(super) fn owners(self) -> u32 {
        (self.born + self.brought + self.from_strangers).saturating_sub(self.to_strangers)
    }

    /// Returns how often it came into being, as far as the players were told.
    pub(super) fn times(self) -> u32 {
        self.born.max(self.owners())
    }
}
