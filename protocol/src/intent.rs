//! What a player wants to do. An [`Intent`] that exists is well-formed; whether it is allowed, the rules decide at its tick.

use serde::{Deserialize, Serialize};

use crate::ids::EntityId;

/// A direction of movement: each axis −127..=127, of length at most 127. `(0, 0)` stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heading {
    /// East, in 127ths of full speed.
    dx: i8,
    /// North, in 127ths of full speed.
    dy: i8,
}

impl Heading {
    /// Standing still.
    pub const STILL: Self = Self { dx: 0, dy: 0 };

    /// A heading, or an error if it is longer than full speed.
    pub const fn new(dx: i8, dy: i8) -> Result<Self, IntentError> {
        let (x, y) = (dx as i32, dy as i32);
        if x * x + y * y <= 127 * 127 { Ok(Self { dx, dy }) } else { Err(IntentError::HeadingTooLong { dx, dy }) }
    }

    /// East, in 127ths of full speed.
    #[must_use]
    pub const fn dx(self) -> i8 {
        self.dx
    }

    /// North, in 127ths of full speed.
    #[must_use]
    pub const fn dy(self) -> i8 {
        self.dy
    }
}

/// One thing that a player asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// Move this way until told otherwise.
    Move(Heading),
    /// Hit this one.
    Strike {
        /// Player or monster.
        target: EntityId,
    },
    /// Take this item from the ground.
    PickUp {
        /// The item's entity, which is also its uid.
        item: EntityId,
    },
    /// Give gold to a player near by.
    GiveGold {
        /// Who gets it.
        to: EntityId,
        /// How much; zero is refused.
        amount: u64,
    },
    /// Give an item to a player near by.
    GiveItem {
        /// Who gets it.
        to: EntityId,
        /// The item's uid.
        item: EntityId,
    },
    /// Say something to everybody in the zone; at most [`crate::limits::CHAT_BYTES_MAX`] bytes, no control characters.
    Say(String),
}

/// Why bytes are no intent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntentError {
    /// Faster than full speed.
    #[error("heading ({dx}, {dy}) is longer than 127")]
    HeadingTooLong {
        /// East.
        dx: i8,
        /// North.
        dy: i8,
    },
    /// Too long, empty, or with control characters.
    #[error("chat text is empty, longer than {max} bytes, or has control characters", max = crate::limits::CHAT_BYTES_MAX)]
    ChatText,
    /// A gift of nothing.
    #[error("an amount of zero cannot be given")]
    ZeroAmount,
}
