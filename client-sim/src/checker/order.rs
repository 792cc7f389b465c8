//! Orders that are answered one to one. It knows no events.

use std::fmt;

use everhold_protocol::Intent;

/// Kinds of orders whose every instance is answered by exactly one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderKind {
    /// Pick an item up.
    PickUp,
    /// Give gold.
    GiveGold,
    /// Give an item.
    GiveItem,
}

impl OrderKind {
    pub(super) const ALL: [Self; 3] = [Self::PickUp, Self::GiveGold, Self::GiveItem];

    pub(super) fn of(intent: &Intent) -> Option<Self> {
        match intent {
            Intent::PickUp { .. } => Some(Self::PickUp),
            Intent::GiveGold { .. } => Some(Self::GiveGold),
            Intent::GiveItem { .. } => Some(Self::GiveItem),
            Intent::Move(_) | Intent::Strike { .. } | Intent::Say(_) => None,
        }
    }
}

impl fmt::Display for OrderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PickUp => "pick up",
            Self::GiveGold => "give gold",
            Self::GiveItem => "give an item",
        })
    }
}
