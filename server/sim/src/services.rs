//! Store and authority of a simulated cluster, with the books that the checks need: what was ever stored, and what
//! was broken. It changes no answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use everhold_core::durability::store::{AppendAnswer, CheckpointHead, RecordHash, StoreError, StoredRecord};
use everhold_core::ownership::holder::command::StoreData;
use everhold_core::ownership::{DataStamp, Holdings, Nonce, RulesTag, Tenure};
use everhold_protocol::{Epoch, Tick, ZoneName};

use crate::authority::MemoryAuthority;
use crate::store::MemoryStore;

/// Records older than so many ticks are forgotten by the books: nothing is released as late as that.
const BOOK_TICKS: u64 = 2_000;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The moment at which it was found.
    pub at: Duration,
    /// The invariant's name: seeds with the same name found the same kind of fault.
    pub invariant: &'static str,
    /// The circumstances.
    pub detail: String,
}

/// The books of one zone.
#[derive(Default)]
struct ZoneBook {
    /// The epoch and hash of every record that the store ever took, by tick; of several the last.
    stored: BTreeMap<Tick, (Epoch, RecordHash)>,
    /// The tick up to which the head of each epoch covers everything.
    covered: BTreeMap<Epoch, Tick>,
    /// The process that wrote under each epoch.
    writers: BTreeMap<Epoch, Nonce>,
    /// The rules under which the zone ran under each epoch.
    rules: BTreeMap<Epoch, RulesTag>,
    /// The newest position from which a client was told anything.
    told: Option<(Epoch, Tick)>,
}

/// Store, authority, and books.
#[derive(Default)]
pub struct Services {
    /// The time, for breaches.
    pub now: Duration,
    /// The state store.
    pub store: MemoryStore,
    /// The authority.
    pub authority: MemoryAuthority,
    /// The books by zone.
    books: BTreeMap<ZoneName, ZoneBook>,
    /// The broken invariants, in order.
    pub breaches: Vec<Breach>,
    /// The holdings that each shard told its guardian last.
    pub holdings: BTreeMap<usize, Holdings>,
    /// Whether the store was made to forget something: what was lost with it may be missed then.
    pub forgot: bool,
    /// The zones of which a record was damaged.
    pub damaged: BTreeSet<ZoneName>,
}

impl Services {
    /// Notes a broken invariant.
    pub fn breach(&mut self, invariant: &'static str, detail: String) {
        let at = self.now;
        self.breaches.push(Breach { at, invariant, detail });
    }

    /// Appends to the store, and keeps the books.
    pub fn append(&mut self, tenure: &Tenure, records: &[StoredRecord]) -> Result<AppendAnswer, StoreError> {
        let answer = self.store.append(tenure, records);
        if matches!(answer, Ok(AppendAnswer::Ok | AppendAnswer::Duplicate)) {
            self.note_write(tenure);
            let book = self.books.entry(tenure.zone.clone()).or_default();
            for record in records {
                book.stored.insert(record.tick, (tenure.epoch(), record.hash));
            }
            let oldest = records
                .last()
                .map_or(Tick(0), |record| Tick(record.tick.0.saturating_sub(BOOK_TICKS)));
            book.stored = book.stored.split_off(&oldest);
        }
        answer
    }

    /// Moves the head, and keeps the books.
    pub fn move_head(&mut self, tenure: &Tenure, head: CheckpointHead) -> Result<(), StoreError> {
        let moved = self.store.move_head(tenure, head);
        if moved.is_ok() {
            self.note_write(tenure);
            let book = self.books.entry(tenure.zone.clone()).or_default();
            let covered = book.covered.entry(tenure.epoch()).or_default();
            *covered = head.position.tick.max(*covered);
        }
        moved
    }

    /// Notes that a process wrote under a grant: within an epoch only one may.
    pub fn note_write(&mut self, tenure: &Tenure) {
        let book = self.books.entry(tenure.zone.clone()).or_default();
        let me = tenure.grant.nonce();
        let writer = *book.writers.entry(tenure.epoch()).or_insert(me);
        if writer != me {
            let detail = format!("{} epoch {}: {writer:?} and {me:?}", tenure.zone, tenure.epoch());
            self.breach("one writing owner per zone and epoch", detail);
        }
    }

    /// Notes the rules of an owner that hosts its zone.
    pub fn note_rules(&mut self, tenure: &Tenure, rules: RulesTag) {
        let book = self.books.entry(tenure.zone.clone()).or_default();
        book.rules.insert(tenure.epoch(), rules);
    }

    /// Returns the rules of the newest data that the store has of a zone, if it has any.
    #[must_use]
    pub fn stored_rules(&self, zone: &ZoneName) -> Option<RulesTag> {
        let newest = self.store.summary(zone)?.newest?;
        self.books.get(zone)?.rules.get(&newest.epoch).copied()
    }

    /// Notes that outputs of a tick leave a process. At level `store` its record must have been stored.
    pub fn note_released(&mut self, tenure: &Tenure, tick: Tick) {
        let book = self.books.entry(tenure.zone.clone()).or_default();
        let is_covered = book
            .covered
            .get(&tenure.epoch())
            .is_some_and(|covered| tick <= *covered);
        let is_stored = is_covered || book.stored.contains_key(&tick);
        book.told = book.told.max(Some((tenure.epoch(), tick)));
        if !is_stored {
            let detail = format!("{} epoch {} tick {tick}", tenure.zone, tenure.epoch());
            self.breach("nothing is released before it is stored", detail);
        }
    }

    /// Notes that what was told of a zone is in no memory and in no store any more. It may be missed from now on; and
    /// with an authority that forgot as well, the zone begins again at its first epoch.
    pub fn note_nowhere(&mut self, zone: &ZoneName) {
        self.forgot = true;
        if let Some(book) = self.books.get_mut(zone) {
            book.writers.clear();
        }
    }

    /// Returns the newest position of a zone from which a client was told anything.
    #[must_use]
    pub fn told(&self, zone: &ZoneName) -> Option<(Epoch, Tick)> {
        self.books.get(zone)?.told
    }

    /// Checks that the store has a whole data set of a zone whose World is thrown away, with everything that was told:
    /// memory dies for data, never for a grant (DESIGN, Ownership 9). `how` says why it is thrown away.
    pub fn check_kept(&mut self, zone: &ZoneName, how: impl FnOnce() -> String) {
        if !self.holds_told(zone) {
            let tick = self.told(zone).map_or(Tick(0), |(_, tick)| tick);
            let detail = format!("{}, the store has not its tick {tick}", how());
            self.breach("memory dies for data, never for a grant", detail);
        }
    }

    /// Checks that the store has newer data of a zone than the memory, ending at `memory`, that is thrown away.
    pub fn check_succeeded(&mut self, zone: &ZoneName, memory: DataStamp) {
        let data = self.store.summary(zone).map(|summary| summary.data());
        if !matches!(&data, Some(StoreData::Newest(stored)) if *stored > memory) {
            let detail = format!("{zone}, memory ends at {memory:?}, the store has {data:?}");
            self.breach("a zone in memory comes back", detail);
        }
    }

    /// Whether the store has a whole data set of a zone that reaches the newest tick from which anything was told.
    #[must_use]
    pub fn holds_told(&self, zone: &ZoneName) -> bool {
        let tick = self.told(zone).map_or(Tick(0), |(_, tick)| tick);
        let Ok(data) = self.store.read_zone(zone) else {
            return false;
        };
        let chain = data.chain.last().map(|checkpoint| checkpoint.head.position.tick);
        let records = data.records.last().map(|record| record.tick);
        chain.max(records).is_some_and(|last| last >= tick)
    }
}
