//! The two sides of gifts. It knows no players' histories.

use std::fmt;

use everhold_protocol::Item;

/// Gifts between the two players of a pair, as one side was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) gold: u64,
    items: u64,
    /// Wrapping sum of the uids: equal counts of different things are not equal gifts.
    uids: u64,
}

/// The gifts from one player to another, as each was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    pub(super) given: Side,
    pub(super) received: Side,
}

impl Pair {
    pub(super) fn is_even(&self) -> bool {
        self.given == self.received
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { given, received } = self;
        write!(
            f,
            "{} gold and {} items given, {} and {} received",
            given.gold, given.items, received.gold, received.items
        )
    }
}

impl Side {
    /// Counts one more thing.
    pub(super) fn add(&mut self, item: Item) {
        self.items += 1;
        self.uids = self.uids.wrapping_add(item.uid.0);
    }
}
