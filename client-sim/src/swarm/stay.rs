//! A player's stay in the world, as it is reported: what it came with, and what it left with. It judges nothing.

use everhold_protocol::{Account, OwnState};

use crate::report::{PlayerStay, Possessions};

/// A stay.
#[derive(Debug, Default)]
pub(super) struct Stay {
    came_with: Option<Possessions>,
    is_settled: bool,
}

impl Stay {
    /// The player was attached, for the first time or again.
    pub(super) fn on_attached(&mut self, own: &OwnState) {
        self.came_with.get_or_insert_with(|| Possessions::from(own));
    }

    /// The player has heard everything that it ever will.
    pub(super) fn on_settled(&mut self) {
        self.is_settled = true;
    }

    /// Returns the stay of a player that got in, and has this now.
    pub(super) fn report(&self, account: Account, own: &OwnState) -> Option<PlayerStay> {
        Some(PlayerStay {
            account,
            came_with: self.came_with.clone()?,
            left_with: self.is_settled.then(|| Possessions::from(own)),
        })
    }
}
