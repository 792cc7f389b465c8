//! Reliable events: told to a player once, and in order. Everything of value is told here and nowhere else: a snapshot
//! only carries the digest by which the client checks that it has received every event.

use serde::{Deserialize, Serialize};

use crate::ids::{EntityId, Item, Tick};

/// An event with its place in the session's sequence. `seq` counts from 1 without gaps for the whole life of the
/// session.
///
/// Events are sent once on a connection, in order. Those that a connection may not have brought are sent again after
/// the next attach, as far as the zone still has them: it keeps the last 256 events that the client has not
/// acknowledged, for as long as the character is in sight.
/// [`events_forgotten`](crate::message::Attached::events_forgotten) names the last that is dropped by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqEvent {
    /// Place in the session's sequence.
    pub seq: u64,
    /// The tick that caused it.
    pub tick: Tick,
    /// The event.
    pub event: Event,
}

/// The reason why a purse changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GoldCause {
    /// Equipment of a new character: gold comes into being.
    Start,
    /// Loot of a monster: gold comes into being.
    Loot,
    /// From another player.
    GiftFrom(EntityId),
    /// To another player.
    GiftTo(EntityId),
}

/// The reason why an inventory changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ItemCause {
    /// Equipment of a new character: the item comes into being.
    Start,
    /// Picked up from the ground.
    PickedUp,
    /// From another player.
    GiftFrom(EntityId),
    /// To another player.
    GiftTo(EntityId),
}

/// The reason why the rules did not do what an intent asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectReason {
    /// The target does not exist in the zone, or is not of that kind.
    NoTarget,
    /// The target is out of reach.
    TooFar,
    /// The action is still cooling down. For chat also: others had been silent for longer, and one tick carries no more
    /// lines.
    Cooldown,
    /// The player is dead.
    Dead,
    /// The purse has not that much gold.
    NotEnoughGold,
    /// The player does not own that item.
    NotYours,
    /// The inventory, or the receiver's, is full.
    Full,
    /// Another player was first.
    Contested,
    /// This input made a zone fail and is refused for good.
    Quarantined,
    /// It is no intent: a heading longer than full speed, a gift of nothing, text that may not be said, or a kind that
    /// this server does not know.
    Invalid,
}

/// An event that a session must be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The purse changed.
    Gold {
        /// Gold in the purse now.
        total: u64,
        /// Change of the gold.
        delta: i64,
        /// The reason.
        cause: GoldCause,
    },
    /// The player received an item.
    ItemGained {
        /// The item.
        item: Item,
        /// The reason.
        cause: ItemCause,
    },
    /// The player lost an item.
    ItemLost {
        /// The item.
        item: Item,
        /// The reason.
        cause: ItemCause,
    },
    /// A player said something.
    Chat {
        /// The speaker.
        from: EntityId,
        /// The text.
        text: String,
    },
    /// This player killed another entity.
    Kill {
        /// The killed entity.
        victim: EntityId,
    },
    /// This player died.
    Death {
        /// The killer.
        by: EntityId,
    },
    /// This player lives again.
    Respawn,
    /// An intent was not done: one of value (strike excepted), or one that cannot be.
    Rejected {
        /// The intent's sequence number.
        seq: u64,
        /// The reason.
        reason: RejectReason,
    },
}
