//! The state that the engine keeps from one tick to the next, declared once: sessions and what belongs to them, time,
//! ids. What no `state!` declares is lost with the process; the game declares its own.
//!
//! Kinds and the order of fields are the layout of captures: a change raises [`crate::limits::STATE_LAYOUT`]. Engine
//! and game number their kinds together, so that none is used twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use everhold_protocol::{Account, EntityId, Epoch, SeqEvent, SessionId, Tick};

use super::declare::state;
use super::field::tagged;
use super::shared::Shared;
use crate::ingress::SecretHash;
use crate::limits::ZONE_NUMBER_MAX;

/// Whether somebody speaks for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The connection that this attach token names.
    Attached(u64),
    /// No connection, since this tick.
    Away(Tick),
    /// The connection that this attach token names. No input has shown yet that the answer to its attach has come.
    Answered(u64),
}

tagged! { Presence { 0 Attached(token), 1 Away(since), 2 Answered(token) } }

/// The generation of a record that stands for a character which is about to be born, and of one that was born before
/// generations were counted.
pub const FIRST_GENERATION: u64 = 1;

impl Presence {
    /// The attach token of the connection that speaks for the session.
    pub(crate) const fn token(self) -> Option<u64> {
        match self {
            Self::Attached(token) | Self::Answered(token) => Some(token),
            Self::Away(_) => None,
        }
    }

    /// Whether a connection speaks for the session.
    pub(crate) const fn is_attached(self) -> bool {
        self.token().is_some()
    }
}

state! {
    components {
        /// The account of a player, and the connection that speaks for it.
        5 Nobody Session {
            /// The account whose character it is.
            account: Account,
            /// Attached or away.
            presence: Presence,
        }
        /// The last intent that was applied. On its own, because it changes with every intent.
        6 Owner InputSeq {
            /// Counts from 1.
            last: u64,
        }
        /// Reliable events that the client may not have.
        7 Owner Outbox {
            /// The last event of the session.
            event_seq: u64,
            /// The last ones up to it, at most [`crate::limits::OUTBOX_EVENTS_MAX`]. What came before a session went to
            /// rest is forgotten.
            events: Shared<VecDeque<SeqEvent>>,
        }
        /// A player away for so long that no client sees it, until a join or resume.
        10 Everyone Resting {
            /// At rest since this tick.
            since: Tick,
        }
        /// A count of a character's rests and wakes. One that never rested may have none.
        14 Nobody Residency {
            /// Rises with each, so that of two records of the character the newer one is known.
            generation: u64,
        }
        /// The secrets by which a client comes back to its session, see `secrets.rs`. On their own, because every tick
        /// reads every session.
        13 Nobody Secrets {
            /// Hash of the one that the last answer carried. None after a log-out.
            last: Option<SecretHash>,
            /// The tick of that answer.
            answered: Tick,
            /// Hash of the one that was shown for it, until an input shows that the answer has come.
            before: Option<SecretHash>,
            /// Hashes of those that earlier answers to the same one carried, at most
            /// [`crate::limits::UNHEARD_SECRETS_MAX`].
            unheard: Shared<Vec<SecretHash>>,
        }
    }
    resources {
        /// The zone's time and seed, and its owner's epoch and rules.
        1 Everyone Clock {
            /// The last tick that was stepped.
            tick: Tick,
            /// The owner's epoch.
            epoch: Epoch,
            /// The zone's seed, for its whole life.
            seed: u64,
            /// The id of the rules that the zone runs, by the last `EpochStart`.
            rules_id: [u8; 32],
        }
        /// The source of ids. One that was given out is never given out again.
        2 Nobody Ids {
            /// Upper half of the next id: epoch and zone number.
            range: u32,
            /// Lower half of the next id.
            next: u32,
        }
        /// Tickets that were used, and when each may be forgotten.
        3 Nobody Tickets {
            /// At most [`crate::limits::USED_TICKETS_MAX`].
            used: Shared<BTreeMap<[u8; 16], Tick>>,
        }
        /// Inputs that made the zone fail and will not be applied. One leaves when its turn has passed.
        4 Nobody Quarantined {
            /// Session and sequence number.
            inputs: BTreeSet<(SessionId, u64)>,
        }
        /// Players on their way to rest, and to and from other zones.
        5 Nobody Travel {
            /// The accounts whose characters left, with the tick of it: for
            /// [`LEFT_MEMORY_S`](crate::limits::LEFT_MEMORY_S).
            left: Shared<BTreeMap<Account, Tick>>,
            /// The highest generation that has arrived of each account.
            seen: BTreeMap<Account, u64>,
        }
    }
}

/// Bits of an id that say which zone allocated it, below those that say in which epoch.
const ZONE_BITS: u32 = 12;
const _: () = assert!(ZONE_NUMBER_MAX < 1 << ZONE_BITS);

/// Epochs of one zone stay below this, so that an epoch fits an id beside the zone's number.
pub const EPOCH_LIMIT: Epoch = Epoch(1 << (32 - ZONE_BITS));

impl Ids {
    /// The first id of a zone's epoch.
    ///
    /// # Panics
    /// From [`EPOCH_LIMIT`] on: a million adoptions of one zone, or an authority that lost its mind.
    #[must_use]
    pub fn of_epoch(zone_number: u16, epoch: Epoch) -> Self {
        assert!(epoch < EPOCH_LIMIT, "epoch {epoch} does not fit an id");
        Self {
            range: epoch.0 << ZONE_BITS | u32::from(zone_number),
            next: 1,
        }
    }

    /// The next id.
    ///
    /// # Panics
    /// When an epoch has given out four thousand million ids: a number that came back would be somebody else's item.
    pub fn allocate(&mut self) -> EntityId {
        let id = self.peek();
        self.next = self.next.checked_add(1).expect("an epoch's ids are used up");
        id
    }

    /// The zone whose ids these are.
    #[must_use]
    pub fn zone_number(&self) -> u16 {
        (self.range & ((1 << ZONE_BITS) - 1)) as u16
    }

    /// Returns the id that [`Ids::allocate`] will give out next.
    #[must_use]
    pub fn peek(&self) -> EntityId {
        EntityId::new(self.range, self.next)
    }
}
