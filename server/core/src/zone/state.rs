//! Everything that a zone remembers from one tick to the next, declared once. What is not here is lost with the process.
//!
//! Kinds and the order of fields are the layout of captures: a change raises [`crate::limits::STATE_LAYOUT`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use everhold_protocol::{Account, EntityId, Heading, Item, SeqEvent, SessionId, Tick};

use super::field::tagged;
use super::registry::state;
use super::shared::Shared;
use crate::ingress::SecretHash;

/// Whether somebody speaks for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The connection that this attach token names.
    Attached(u64),
    /// Nobody, since this tick.
    Away(Tick),
    /// The connection that this attach token names. No input has shown yet that the answer to its attach has come.
    Answered(u64),
}

tagged! { Presence { 0 Attached(token), 1 Away(since), 2 Answered(token) } }

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
        /// Where an entity is.
        1 Everyone body: Body {
            /// East, cm.
            x: i32,
            /// North, cm.
            y: i32,
        }
        /// Where a walker is heading, until it is told otherwise.
        2 Everyone course: Course {
            /// The heading.
            heading: Heading,
        }
        /// Hit points.
        3 Everyone health: Health {
            /// Now; zero is dead.
            hp: u16,
            /// Whole.
            max: u16,
        }
        /// What a player owns. Only [`super::value`] changes it, and tells the owner each time.
        4 Owner belongings: Belongings {
            /// The purse.
            gold: u64,
            /// The inventory, in order of uid.
            items: Shared<Vec<Item>>,
        }
        /// Who a player is, and who speaks for it.
        5 Nobody session: Session {
            /// Whose character.
            account: Account,
            /// Attached or away.
            presence: Presence,
        }
        /// The last intent that was applied. On its own, because it changes with every intent.
        6 Owner input_seq: InputSeq {
            /// Counts from 1.
            last: u64,
        }
        /// Reliable events that the client may not have.
        7 Owner outbox: Outbox {
            /// The last event of the session.
            event_seq: u64,
            /// The last ones up to it, at most [`crate::limits::OUTBOX_EVENTS_MAX`]. What came before a session went to rest is forgotten.
            events: Shared<VecDeque<SeqEvent>>,
        }
        /// When a player may act again.
        8 Owner readiness: Readiness {
            /// From this tick on a strike.
            strike: Tick,
            /// From this tick on a line of chat.
            chat: Tick,
        }
        /// A dead player. Its course is kept, not followed.
        9 Everyone downed: Downed {
            /// Lives again at this tick.
            until: Tick,
        }
        /// A player away for so long that nobody sees it, until a join or resume.
        10 Everyone resting: Resting {
            /// At rest since this tick.
            since: Tick,
        }
        /// What a monster is up to.
        11 Nobody mind: Mind {
            /// Where it lives: an index into the zone's camps.
            camp: u16,
            /// Whom it chases.
            prey: Option<EntityId>,
            /// From this tick on it may bite.
            bite: Tick,
        }
        /// An item on the ground. Its uid is the entity's id.
        12 Everyone lying: Lying {
            /// What it is.
            kind: u16,
        }
        /// What a client must know to come back to its session, see `secrets.rs`. On its own, because every tick reads every session.
        13 Nobody secrets: Secrets {
            /// Hash of the one that the last answer carried. None after a log-out.
            last: Option<SecretHash>,
            /// The tick of that answer.
            answered: Tick,
            /// Hash of the one that was shown for it, until an input shows that the answer has come.
            before: Option<SecretHash>,
            /// Hashes of those that earlier answers to the same one carried, at most [`crate::limits::UNHEARD_SECRETS_MAX`].
            unheard: Shared<Vec<SecretHash>>,
        }
    }
    resources {
        /// When and under whom.
        1 Everyone clock: Clock {
            /// The last tick that was stepped.
            tick: Tick,
            /// The owner's epoch.
            epoch: u32,
            /// The zone's seed, for its whole life.
            seed: u64,
            /// What the zone runs, by the last `EpochStart`.
            rules_id: [u8; 32],
        }
        /// Hands out ids. One that was given out is never given out again.
        2 Nobody ids: Ids {
            /// Upper half of the next id: epoch and zone number.
            range: u32,
            /// Lower half of the next id.
            next: u32,
        }
        /// Tickets that were used, and when each may be forgotten.
        3 Nobody tickets: Tickets {
            /// At most [`crate::limits::USED_TICKETS_MAX`].
            used: Shared<BTreeMap<[u8; 16], Tick>>,
        }
        /// Inputs that made the zone fail and will not be applied. One leaves when its turn has passed.
        4 Nobody quarantine: Quarantined {
            /// Session and sequence number.
            inputs: BTreeSet<(SessionId, u64)>,
        }
        /// Players on their way to and from other zones.
        5 Nobody travel: Travel {
            /// Departures that the destination's checkpoint does not cover yet: the account's generation.
            departing: BTreeMap<Account, u64>,
            /// The highest generation that has arrived of each account.
            seen: BTreeMap<Account, u64>,
        }
        /// What will come into being.
        6 Nobody due: Due {
            /// When which camp gets its monster back.
            monsters: BTreeSet<(Tick, u16)>,
            /// When the next item may appear.
            item: Tick,
        }
    }
}

impl Body {
    /// The place as a point.
    #[must_use]
    pub fn point(&self) -> crate::rules::Point {
        crate::rules::Point { x: self.x, y: self.y }
    }
}

impl From<crate::rules::Point> for Body {
    fn from(point: crate::rules::Point) -> Self {
        Self { x: point.x, y: point.y }
    }
}

/// Bits of an id that say which zone allocated it, below those that say in which epoch.
const ZONE_BITS: u32 = 12;
const _: () = assert!(crate::rules::map::ZONE_NUMBER_MAX < 1 << ZONE_BITS);

/// Epochs of one zone stay below this, so that an epoch fits an id beside the zone's number.
pub const EPOCH_LIMIT: u32 = 1 << (32 - ZONE_BITS);

impl Ids {
    /// The first id of a zone's epoch.
    ///
    /// # Panics
    /// From [`EPOCH_LIMIT`] on: a million adoptions of one zone, or an authority that lost its mind.
    #[must_use]
    pub fn of_epoch(zone_number: u16, epoch: u32) -> Self {
        assert!(epoch < EPOCH_LIMIT, "epoch {epoch} does not fit an id");
        Self {
            range: epoch << ZONE_BITS | u32::from(zone_number),
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

    /// What [`Ids::allocate`] will give out.
    #[must_use]
    pub fn peek(&self) -> EntityId {
        EntityId::new(self.range, self.next)
    }
}
