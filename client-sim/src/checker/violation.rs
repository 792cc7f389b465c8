//! Violations of the promises to players, and the figure of the verdict that each counts in.

use everhold_protocol::{EntityId, Epoch, SessionId, Tick};

use super::order::OrderKind;
use super::pair::Pair;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Inputs that were confirmed are unknown now.
    #[error("player {player}: input {confirmed} was confirmed, now only {known} is known")]
    InputsLost {
        /// The player, by its number in the swarm.
        player: u32,
        /// The highest input that was confirmed.
        confirmed: u64,
        /// The highest that is known now.
        known: u64,
    },
    /// Events are missing from the sequence.
    #[error("player {player}: event {expected} was due, {got} came")]
    EventsLost {
        /// The player, by its number in the swarm.
        player: u32,
        /// The next event.
        expected: u64,
        /// The event that came instead.
        got: u64,
    },
    /// The session forgot events that it had told.
    #[error("player {player}: event {told} was told, now only {known} is known")]
    EventsForgotten {
        /// The player, by its number in the swarm.
        player: u32,
        /// The last event told.
        told: u64,
        /// The last that the session knows.
        known: u64,
    },
    /// An event number was used for two events.
    #[error("player {player}: event {seq} was told again with other content")]
    EventRepeated {
        /// The player, by its number in the swarm.
        player: u32,
        /// The event's number.
        seq: u64,
    },
    /// A snapshot older than one before it was shown.
    #[error(
        "player {player}: the world went back from epoch {} tick {} to epoch {} tick {}",
        from.0, from.1, to.0, to.1
    )]
    WentBack {
        /// The player that saw it.
        player: u32,
        /// Epoch and tick shown before.
        from: (Epoch, Tick),
        /// Epoch and tick shown then.
        to: (Epoch, Tick),
    },
    /// Purse or inventory is not what the events add up to.
    #[error("player {player}: after event {event_seq} {what} is not the sum of the events")]
    ValueMismatch {
        /// The player, by its number in the swarm.
        player: u32,
        /// The number of the last event before it.
        event_seq: u64,
        /// The difference, in words.
        what: &'static str,
    },
    /// A player got what it had, or gave what it had not.
    #[error("player {player}: event {event_seq} {what} item {uid:?}")]
    ItemOdd {
        /// The player, by its number in the swarm.
        player: u32,
        /// The event's number.
        event_seq: u64,
        /// The oddity.
        what: ItemOddity,
        /// The thing.
        uid: EntityId,
    },
    /// A chat line was told twice: an input was applied twice.
    #[error("player {player}: line {number} of {from:?} was told after line {last}")]
    ChatRepeated {
        /// The player that heard it.
        player: u32,
        /// The player that said it.
        from: SessionId,
        /// The line's number.
        number: u32,
        /// The highest number heard before.
        last: u32,
    },
    /// Orders of value and their answers do not match one to one.
    #[error("player {player}: {asked} orders to {order}, {answered} answers")]
    OrdersUnbalanced {
        /// The player, by its number in the swarm.
        player: u32,
        /// The kind of thing.
        order: OrderKind,
        /// Orders given and confirmed.
        asked: u64,
        /// Answers heard.
        answered: u64,
    },
    /// A gift with one side.
    #[error("gifts from {from:?} to {to:?} do not match: {pair}")]
    GiftOneSided {
        /// The giver.
        from: SessionId,
        /// The receiver.
        to: SessionId,
        /// The gifts as each side was told of them.
        pair: Pair,
    },
    /// A thing with several owners.
    #[error("item {uid:?} is in {owners} inventories")]
    ItemOwners {
        /// The thing.
        uid: EntityId,
        /// Number of players that have it.
        owners: u32,
    },
    /// A thing that came into being more than once.
    #[error("item {uid:?} came into being {times} times")]
    ItemBornAgain {
        /// The thing.
        uid: EntityId,
        /// Number of times.
        times: u32,
    },
    /// A thing that a player had and no player has.
    #[error("item {uid:?} is in no inventory")]
    ItemMissing {
        /// The thing.
        uid: EntityId,
    },
    /// A thing that a player has and no player was given.
    #[error("item {uid:?} came from nowhere")]
    ItemFromNowhere {
        /// The thing.
        uid: EntityId,
    },
    /// The purses do not add up.
    #[error("{expected} gold came into being, {found} is in the purses")]
    GoldSum {
        /// The sum of what came into being.
        expected: u64,
        /// The sum of what there is.
        found: u64,
    },
}

/// The oddity of an item's event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemOddity {
    /// Gained what was there already.
    GainedAgain,
    /// Lost what was not there.
    LostUnowned,
}

impl std::fmt::Display for ItemOddity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::GainedAgain => "gains again",
            Self::LostUnowned => "loses without having",
        })
    }
}

impl Violation {
    /// Returns how much it adds to [`super::Verdict::lost_acknowledged`].
    #[must_use]
    pub fn lost(&self) -> u64 {
        match self {
            Self::InputsLost { confirmed, known, .. } => confirmed.saturating_sub(*known),
            Self::EventsLost { expected, got, .. } => got.saturating_sub(*expected),
            Self::EventsForgotten { told, known, .. } => told.saturating_sub(*known),
            Self::WentBack { .. }
            | Self::ValueMismatch { .. }
            | Self::GiftOneSided { .. }
            | Self::ItemMissing { .. } => 1,
            Self::ItemOdd {
                what: ItemOddity::LostUnowned,
                ..
            } => 1,
            Self::OrdersUnbalanced { asked, answered, .. } => asked.saturating_sub(*answered),
            Self::GoldSum { expected, found } => expected.saturating_sub(*found),
            _ => 0,
        }
    }

    /// Returns how much it adds to [`super::Verdict::duplicated`].
    #[must_use]
    pub fn duplicated(&self) -> u64 {
        match self {
            Self::EventRepeated { .. } | Self::ChatRepeated { .. } | Self::ItemFromNowhere { .. } => 1,
            Self::ItemOdd {
                what: ItemOddity::GainedAgain,
                ..
            } => 1,
            Self::ItemOwners { owners: more, .. } | Self::ItemBornAgain { times: more, .. } => u64::from(more - 1),
            Self::OrdersUnbalanced { asked, answered, .. } => answered.saturating_sub(*asked),
            Self::GoldSum { expected, found } => found.saturating_sub(*expected),
            _ => 0,
        }
    }
}
