//! The excuses in the books of the archive, for what the machines cannot help yet. Each goes with the fault that it is
//! for; nothing else of the books depends on them.

use everhold_core::durability::archive::ArchivedCharacter;
use everhold_core::ownership::{DataStamp, Tenure};
use everhold_protocol::{Epoch, Tick};

use super::Services;

impl Services {
    /// Whether the archive has seen, or had, an epoch of the zone that shuts this owner out: its claim did not ask it.
    /// If store and authority forgot the zone, its epochs begin anew, and ticks of two owners have one name.
    #[must_use]
    pub fn is_shut_out(&self, tenure: &Tenure) -> bool {
        let zone = self.archive.zone(&tenure.zone, None).ok().flatten();
        let fence = zone.map(|zone| zone.fence);
        let book = self.archived.get(&tenure.zone);
        let was_shut_out = book.is_some_and(|book| book.shut_out.contains(&tenure.epoch()));
        was_shut_out
            || fence.is_some_and(|fence| fence.0 >= tenure.epoch() && fence != (tenure.epoch(), tenure.grant.nonce()))
    }
}

/// Whether a character of which a history knows nothing was born in ticks that are taken back: no commit names it any
/// more, and its row stays. Or it is not born at all: its account is reserved.
pub(super) fn is_left_behind(character: &ArchivedCharacter, history: &[(Epoch, Tick, Tick)]) -> bool {
    character.stamp.is_none_or(|stamp| !is_within(history, stamp))
}

/// Whether a tick is in a history.
pub(super) fn is_within(history: &[(Epoch, Tick, Tick)], stamp: DataStamp) -> bool {
    let mut stretches = history.iter();
    stretches.any(|(epoch, after, last)| *epoch == stamp.epoch && stamp.tick > *after && stamp.tick <= *last)
}
