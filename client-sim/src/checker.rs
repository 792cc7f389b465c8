//! The judge of a run. It sees only what players were told, never what a server believes, and does no I/O.
//!
//! Each player has a book that is written from the player's own events and snapshots; what must hold between players (a
//! gift has two sides, a thing has one owner, nothing comes from nowhere) is checked over all books at the end. A kept
//! promise shows as a [`Verdict`] of zeros. What counts:
//!
//! - *lost*: an input or event that was confirmed and then unknown, a purse or inventory that is not the sum of its
//!   events, gold or a thing that has no owner any more, an order of value that was confirmed and never answered;
//! - *duplicated*: a thing with two owners or two origins, gold that was never minted, an event told twice with other
//!   content, an order answered more often than it was given.
//!
//! What players give to [strangers](Strangers) leaves the books, and what strangers give comes in.

mod before;
mod book;
mod order;
mod pair;
mod strangers;
mod violation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use everhold_protocol::{EntityId, Epoch, Intent, Item, OwnState, SeqEvent, SessionId, SnapshotHeader};

pub use self::order::OrderKind;
pub use self::pair::Pair;
pub use self::strangers::Strangers;
pub use self::violation::{ItemOddity, Violation};

use self::book::Book;
use self::strangers::ThingOrigin;

/// Violations that are kept in words; beyond it they are only counted.
const VIOLATIONS_KEPT_MAX: usize = 64;

/// The content of an `Attached`.
#[derive(Clone, Copy, Debug)]
pub struct Attachment<'a> {
    /// The player's session.
    pub session: SessionId,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The session's last event; `own` is the state after it.
    pub event_seq: u64,
    /// The last input that the zone knows.
    pub last_input_seq: u64,
    /// Ticks that were shown and are no more.
    pub rewound_ticks: u32,
    /// The player's whole own state.
    pub own: &'a OwnState,
}

/// The result of a run. All zeros and equal sums: every promise was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Number of effects that were confirmed to a player and then were not so.
    pub lost_acknowledged: u64,
    /// Number of effects that happened or things that exist more than once.
    pub duplicated: u64,
    /// The most ticks that any player saw taken back.
    pub rewound_ticks: u32,
    /// Players who were away for so long that a zone forgot events which they never heard. While there are any, it
    /// cannot be told where all gold and things came from: then [`Verdict::gold_expected`] and
    /// [`Verdict::items_expected`] are what was found.
    pub unheard: u64,
    /// Gold that players brought along, started with, looted, and got from strangers, less what they gave to them.
    pub gold_expected: u64,
    /// Gold in the players' purses at the end.
    pub gold_found: u64,
    /// Distinct things that players brought along, started with, picked up, and got from strangers, less what they gave
    /// to them.
    pub items_expected: u64,
    /// Distinct things in the players' inventories at the end.
    pub items_found: u64,
    /// Gifts to and from characters that no player of the run has.
    pub strangers: Strangers,
    /// Kills told to the killers.
    pub kills: u64,
    /// Chat lines told, each listener counted.
    pub chats: u64,
    /// The first violations, in words.
    pub violations: Vec<String>,
    /// Number of violations.
    pub violations_total: u64,
}

impl Verdict {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations_total == 0
    }
}

/// Violations as they are found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    lost: u64,
    duplicated: u64,
    total: u64,
    words: Vec<String>,
}

impl Findings {
    fn add(&mut self, violation: &Violation) {
        self.lost += violation.lost();
        self.duplicated += violation.duplicated();
        self.total += 1;
        if self.words.len() < VIOLATIONS_KEPT_MAX {
            self.words.push(violation.to_string());
        }
    }
}

/// State that all books share.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    findings: Findings,
    /// The sessions that have attached in this run. All others are strangers.
    sessions: HashSet<SessionId>,
    /// Every thing that players were told of, with its origin.
    things: HashMap<EntityId, ThingOrigin>,
    strangers: Strangers,
    /// Gifts from one player to another, as told to either.
    pairs: BTreeMap<(SessionId, SessionId), Pair>,
    minted: u64,
    kills: u64,
    chats: u64,
    rewound_ticks: u32,
    /// Players of whose events a zone has forgotten some before they were heard.
    unheard: BTreeSet<u32>,
}

impl Ledger {
    /// Gold for `to`, as it was told.
    fn gold_came(&mut self, from: SessionId, to: SessionId, amount: u64) {
        if self.sessions.contains(&from) {
            self.pairs.entry((from, to)).or_default().received.gold += amount;
        } else {
            self.strangers.gold_received += amount;
        }
    }

    /// Gold of `from`, as it was told.
    fn gold_went(&mut self, from: SessionId, to: SessionId, amount: u64) {
        if self.sessions.contains(&to) {
            self.pairs.entry((from, to)).or_default().given.gold += amount;
        } else {
            self.strangers.gold_given += amount;
        }
    }

    /// A player brought a thing along.
    fn item_brought(&mut self, uid: EntityId) {
        self.things.entry(uid).or_default().brought += 1;
    }

    /// A thing came into being.
    fn item_born(&mut self, uid: EntityId) {
        self.things.entry(uid).or_default().born += 1;
    }

    /// A thing for `to`, as it was told.
    fn item_came(&mut self, from: SessionId, to: SessionId, item: Item) {
        if self.sessions.contains(&from) {
            self.pairs.entry((from, to)).or_default().received.add(item);
        } else {
            self.strangers.items_received += 1;
            self.things.entry(item.uid).or_default().from_strangers += 1;
        }
    }

    /// A thing of `from`, as it was told.
    fn item_went(&mut self, from: SessionId, to: SessionId, item: Item) {
        if self.sessions.contains(&to) {
            self.pairs.entry((from, to)).or_default().given.add(item);
        } else {
            self.strangers.items_given += 1;
            self.things.entry(item.uid).or_default().to_strangers += 1;
        }
    }
}

/// Judges a swarm by what its players were told.
#[derive(Debug)]
pub struct Checker {
    books: Vec<Book>,
    ledger: Ledger,
}

impl Checker {
    /// A checker of players `0..players`.
    #[must_use]
    pub fn new(players: usize) -> Self {
        Self {
            books: (0..players as u32).map(Book::new).collect(),
            ledger: Ledger::default(),
        }
    }

    /// Whether a character is one of the run's players, and has joined. What such a player is given from now on, it
    /// hears of.
    #[must_use]
    pub fn has_joined(&self, session: SessionId) -> bool {
        self.ledger.sessions.contains(&session)
    }

    /// A player's session was attached, for the first time or again.
    pub fn on_attached(&mut self, player: usize, attachment: &Attachment<'_>) {
        self.ledger.sessions.insert(attachment.session);
        self.books[player].on_attached(attachment, &mut self.ledger);
    }

    /// A player was told an event that its client machine took as the next one.
    pub fn on_event(&mut self, player: usize, event: &SeqEvent) {
        self.books[player].on_event(event, &mut self.ledger);
    }

    /// A player's client machine took a snapshot as the newest one.
    pub fn on_snapshot(&mut self, player: usize, header: &SnapshotHeader) {
        self.books[player].on_snapshot(header, &mut self.ledger);
    }

    /// A player's client machine was told that its intents up to `seq` are done.
    pub fn on_confirmed(&mut self, player: usize, seq: u64) {
        self.books[player].on_confirmed(seq);
    }

    /// A player's client machine missed events `expected..got`.
    pub fn on_event_gap(&mut self, player: usize, expected: u64, got: u64) {
        self.books[player].on_event_gap(expected, got, &mut self.ledger);
    }

    /// The zone has forgotten events up to `to` that a player never heard; its last attach told what came of them.
    pub fn on_events_forgotten(&mut self, player: usize, to: u64) {
        self.books[player].on_events_forgotten(to, &mut self.ledger);
    }

    /// A player was told an event again; that is harmless if it says the `same`.
    pub fn on_event_repeated(&mut self, player: usize, seq: u64, same: bool) {
        if !same {
            self.ledger.findings.add(&Violation::EventRepeated {
                player: player as u32,
                seq,
            });
        }
    }

    /// A player's client machine found its purse and inventory other than the snapshot's digest says.
    pub fn on_value_mismatch(&mut self, player: usize, event_seq: u64) {
        self.books[player].on_value_mismatch(event_seq, &mut self.ledger);
    }

    /// A player gives an order for the first time.
    pub fn on_asked(&mut self, player: usize, seq: u64, intent: &Intent) {
        self.books[player].on_asked(seq, intent);
    }

    /// A player has heard everything: all its orders are confirmed, and all events up to the last snapshot are in.
    pub fn on_settled(&mut self, player: usize) {
        self.books[player].on_settled();
    }

    /// Checks what must hold between players, and sums up.
    #[must_use]
    pub fn into_verdict(mut self) -> Verdict {
        for book in &mut self.books {
            book.close(&mut self.ledger);
        }
        self.check_pairs();
        let (items_expected, items_found) = self.check_items();
        let (gold_expected, gold_found) = self.check_gold();
        let Ledger {
            findings,
            strangers,
            kills,
            chats,
            rewound_ticks,
            unheard,
            ..
        } = self.ledger;
        Verdict {
            lost_acknowledged: findings.lost,
            duplicated: findings.duplicated,
            rewound_ticks,
            unheard: unheard.len() as u64,
            gold_expected,
            gold_found,
            items_expected,
            items_found,
            strangers,
            kills,
            chats,
            violations: findings.words,
            violations_total: findings.total,
        }
    }

    /// A gift that the giver was told of and the receiver was not, or the other way round.
    fn check_pairs(&mut self) {
        let settled: HashMap<SessionId, bool> = self
            .books
            .iter()
            .filter_map(|book| Some((book.session()?, book.is_settled())))
            .collect();
        let heard_all = |session: &SessionId| settled.get(session).copied().unwrap_or(false);
        for ((from, to), pair) in &self.ledger.pairs {
            if heard_all(from) && heard_all(to) && !pair.is_even() {
                self.ledger.findings.add(&Violation::GiftOneSided {
                    from: *from,
                    to: *to,
                    pair: *pair,
                });
            }
        }
    }

    fn check_items(&mut self) -> (u64, u64) {
        let mut owners: BTreeMap<EntityId, u32> = BTreeMap::new();
        for uid in self.books.iter().flat_map(Book::items) {
            *owners.entry(uid).or_default() += 1;
        }
        for (uid, owners) in owners.iter().filter(|(_, owners)| **owners > 1) {
            self.ledger.findings.add(&Violation::ItemOwners {
                uid: *uid,
                owners: *owners,
            });
        }
        if !self.ledger.unheard.is_empty() {
            return (owners.len() as u64, owners.len() as u64);
        }
        let mut told: Vec<(EntityId, ThingOrigin)> =
            self.ledger.things.iter().map(|(uid, origin)| (*uid, *origin)).collect();
        told.sort_unstable_by_key(|(uid, _)| *uid);
        for (uid, origin) in told.iter().filter(|(_, origin)| origin.times() > 1) {
            let times = origin.times();
            self.ledger.findings.add(&Violation::ItemBornAgain { uid: *uid, times });
        }
        told.retain(|(_, origin)| origin.owners() > 0);
        for (uid, _) in told.iter().filter(|(uid, _)| !owners.contains_key(uid)) {
            self.ledger.findings.add(&Violation::ItemMissing { uid: *uid });
        }
        let is_due = |uid: &EntityId| told.binary_search_by_key(uid, |(uid, _)| *uid).is_ok();
        for uid in owners.keys().filter(|uid| !is_due(uid)) {
            self.ledger.findings.add(&Violation::ItemFromNowhere { uid: *uid });
        }
        (told.len() as u64, owners.len() as u64)
    }

    fn check_gold(&mut self) -> (u64, u64) {
        let found = self.books.iter().map(Book::gold).sum();
        if !self.ledger.unheard.is_empty() {
            return (found, found);
        }
        let Strangers {
            gold_given,
            gold_received,
            ..
        } = self.ledger.strangers;
        let expected = (self.ledger.minted + gold_received).saturating_sub(gold_given);
        if expected != found {
            self.ledger.findings.add(&Violation::GoldSum { expected, found });
        }
        (expected, found)
    }
}
