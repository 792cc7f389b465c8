//! What a player is told reliably, once, and in order. Everything of value is told here and nowhere else: a snapshot only carries
//! the digest by which the client checks that it has heard it all.

use serde::{Deserialize, Serialize};

use crate::ids::{EntityId, Item, Tick};

/// An event with its place in the session's sequence. `seq` counts from 1 without gaps for the whole life of the session.
///
/// Events are sent once on a connection, in order. What a connection may not have brought is told again after the next attach, as far
/// as the zone still has it: it keeps the last 256 events that the client has not acknowledged, for as long as the character is in
/// sight. What is forgotten by then, [`events_forgotten`](crate::ServerMessage::Attached::events_forgotten) says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqEvent {
    /// Place in the session's sequence.
    pub seq: u64,
    /// The tick that caused it.
    pub tick: Tick,
    /// What happened.
    pub event: Event,
}

/// Why a purse changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GoldCause {
    /// What a new character starts with: gold comes into being.
    Start,
    /// Loot of a monster: gold comes into being.
    Loot,
    /// From another player.
    GiftFrom(EntityId),
    /// To another player.
    GiftTo(EntityId),
}

/// Why an inventory changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ItemCause {
    /// What a new character starts with: the item comes into being.
    Start,
    /// Picked up from the ground.
    PickedUp,
    /// From another player.
    GiftFrom(EntityId),
    /// To another player.
    GiftTo(EntityId),
}

/// Why the rules did not do what an intent asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectReason {
    /// No such target in the zone, or not one of that kind.
    NoTarget,
    /// Out of reach.
    TooFar,
    /// Still cooling down. Of chat also: others had been silent for longer, and one tick carries no more lines.
    Cooldown,
    /// The player is dead.
    Dead,
    /// Not that much gold.
    NotEnoughGold,
    /// Not that item.
    NotYours,
    /// The inventory, or the receiver's, is full.
    Full,
    /// Another player was first.
    Contested,
    /// This input made a zone fail and is refused for good.
    Quarantined,
    /// It is no intent: a heading longer than full speed, a gift of nothing, text that may not be said, or a kind that this server does
    /// not know.
    Invalid,
}

/// Something that a session must hear about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The purse changed.
    Gold {
        /// What is in it now.
        total: u64,
        /// By how much it changed.
        delta: i64,
        /// Why.
        cause: GoldCause,
    },
    /// An item came.
    ItemGained {
        /// The item.
        item: Item,
        /// Why.
        cause: ItemCause,
    },
    /// An item went.
    ItemLost {
        /// The item.
        item: Item,
        /// Why.
        cause: ItemCause,
    },
    /// Somebody said something.
    Chat {
        /// The speaker.
        from: EntityId,
        /// What.
        text: String,
    },
    /// This player killed somebody.
    Kill {
        /// The one that was killed.
        victim: EntityId,
    },
    /// This player died.
    Death {
        /// By whose hand.
        by: EntityId,
    },
    /// This player lives again.
    Respawn,
    /// An intent was not done: one of value (strike excepted), or one that cannot be.
    Rejected {
        /// The intent's sequence number.
        seq: u64,
        /// Why.
        reason: RejectReason,
    },
}
