//! Store and authority of a simulated cluster, with the books that the checks need: what was ever stored, and what
//! was broken. It changes no answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use everhold_core::durability::store::{
    AppendAnswer, CheckpointHead, CheckpointKind, Position, RecordHash, StoreError, StoredRecord,
};
use everhold_core::ownership::holder::command::StoreData;
use everhold_core::ownership::{DataStamp, Holdings, Nonce, RulesTag, Tenure};
use everhold_protocol::{Epoch, Tick, ZoneName};

use crate::authority::MemoryAuthority;
use crate::mutant::Mutant;
use crate::store::MemoryStore;

/// Records older than so many ticks are forgotten by the books: nothing is released as late as that.
const BOOK_TICKS: u64 = 2_000;

/// Grants of a zone before so many are forgotten by the books.
const BOOK_GRANTS: usize = 64;

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
    /// The highest epoch under which the store took a write, since it last forgot any.
    written_under: Epoch,
    /// The moment at which each grant last became a lease, or was renewed.
    leased: BTreeMap<(Epoch, Nonce), Duration>,
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
    /// Whether the store went back, or forgot everything, at any time.
    pub has_rewound: bool,
    /// The zones of which a record was damaged.
    pub damaged: BTreeSet<ZoneName>,
    /// The longest ttl of the leases.
    pub ttl: Duration,
    /// The shard processes whose clock for leases stands still, or did, and until when.
    pub stopped_clocks: BTreeMap<Nonce, Duration>,
    /// The planted mutant.
    pub mutant: Option<Mutant>,
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
            self.check_written_over(tenure, records);
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
            self.check_chain(&tenure.zone);
            let book = self.books.entry(tenure.zone.clone()).or_default();
            let covered = book.covered.entry(tenure.epoch()).or_default();
            *covered = head.position.tick.max(*covered);
        }
        moved
    }

    /// Carries out any other write, and keeps the books.
    pub fn write<T>(
        &mut self,
        tenure: &Tenure,
        write: impl FnOnce(&mut MemoryStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let written = write(&mut self.store);
        if written.is_ok() {
            self.note_epoch(tenure);
        }
        written
    }

    /// Notes that the store took a write under a grant: none may follow one of a higher epoch.
    fn note_epoch(&mut self, tenure: &Tenure) {
        let book = self.books.entry(tenure.zone.clone()).or_default();
        let newest = book.written_under;
        book.written_under = newest.max(tenure.epoch());
        if newest > tenure.epoch() {
            let detail = format!("{} epoch {} after epoch {newest}", tenure.zone, tenure.epoch());
            self.breach("no write follows one of a higher epoch", detail);
        }
    }

    /// Notes that a process wrote data under a grant: within an epoch only one may.
    fn note_write(&mut self, tenure: &Tenure) {
        self.note_epoch(tenure);
        let book = self.books.entry(tenure.zone.clone()).or_default();
        let me = tenure.grant.nonce();
        let writer = *book.writers.entry(tenure.epoch()).or_insert(me);
        if writer != me {
            let detail = format!("{} epoch {}: {writer:?} and {me:?}", tenure.zone, tenure.epoch());
            self.breach("one writing owner per zone and epoch", detail);
        }
    }

    /// Checks that no record from which a client was told anything is written over by another.
    fn check_written_over(&mut self, tenure: &Tenure, records: &[StoredRecord]) {
        let Some(book) = self.books.get(&tenure.zone) else {
            return;
        };
        let told = book.told.map_or(Tick(0), |(_, tick)| tick);
        let is_other = |record: &&StoredRecord| {
            let stored = book.stored.get(&record.tick);
            record.tick <= told && stored.is_some_and(|(_, hash)| *hash != record.hash)
        };
        if !self.forgot
            && !self.has_rewound
            && let Some(other) = records.iter().find(is_other)
        {
            let (zone, epoch, tick) = (&tenure.zone, tenure.epoch(), other.tick);
            let detail = format!("{zone} epoch {epoch} writes over tick {tick}, told up to {told}");
            self.breach("what was told is in every later state", detail);
        }
    }

    /// Checks that each stored delta follows the checkpoint before it.
    fn check_chain(&mut self, zone: &ZoneName) {
        let chain = self.store.outline(zone, None).map(|outline| outline.chain);
        let chain = chain.unwrap_or_default();
        let mut before = None;
        for head in &chain {
            let follows = match head.kind {
                CheckpointKind::Delta { parent } => before == Some(parent),
                CheckpointKind::Base => true,
            };
            before = Some(head.position);
            if !follows {
                let detail = format!("{zone}: the delta of tick {}", head.position.tick);
                self.breach("a delta follows the checkpoint that it names", detail);
            }
        }
    }

    /// Notes that the store forgot everything, or went back: what it lost may be missing, if no shard has it.
    pub fn note_rewound(&mut self) {
        self.has_rewound = true;
        for book in self.books.values_mut() {
            book.written_under = Epoch::NONE;
        }
    }

    /// Notes that the authority granted or renewed a lease.
    pub fn note_leased(&mut self, tenure: &Tenure) {
        let book = self.books.entry(tenure.zone.clone()).or_default();
        let grant = (tenure.epoch(), tenure.grant.nonce());
        book.leased.insert(grant, self.now);
        while book.leased.len() > BOOK_GRANTS {
            book.leased.pop_first();
        }
    }

    /// Checks that a grant is above every epoch that the store has seen: a lower one could not be told from those of
    /// other processes.
    pub fn check_granted(&mut self, tenure: &Tenure) {
        let fence = self.store.summary(&tenure.zone).map(|summary| summary.fence_epoch);
        let fence = fence.unwrap_or(Epoch::NONE);
        let grant = (tenure.epoch(), tenure.grant.nonce());
        let book = self.books.get(&tenure.zone);
        // The claim may arrive twice.
        let is_known = book.is_some_and(|book| book.leased.contains_key(&grant));
        if fence >= tenure.epoch() && !is_known {
            let detail = format!("{} epoch {}, the store has seen {fence}", tenure.zone, tenure.epoch());
            self.breach("a grant is above every epoch that the store has seen", detail);
        }
    }

    /// Checks that something is done for a zone within a ttl of the moment at which its grant was last renewed. A lease
    /// counts from before that was asked for, so it is over sooner.
    pub fn check_leased(&mut self, tenure: &Tenure, what: &str) {
        let nonce = tenure.grant.nonce();
        let leased = self.books.get(&tenure.zone);
        let leased = leased.and_then(|book| book.leased.get(&(tenure.epoch(), nonce)));
        let is_over = leased.is_none_or(|leased| self.now >= *leased + self.ttl);
        // A clock that stood still is behind for good, but for no longer than a lease that it then asked for anew.
        let was_stopped = self.stopped_clocks.get(&nonce);
        if is_over && was_stopped.is_none_or(|until| self.now >= *until + self.ttl) {
            let detail = format!("{} epoch {} {what}", tenure.zone, tenure.epoch());
            self.breach("nothing is done under a lease that is over", detail);
        }
    }

    /// Whether the clock by which a process measures its leases stands still.
    #[must_use]
    pub fn has_stopped_clock(&self, nonce: Nonce) -> bool {
        self.stopped_clocks.get(&nonce).is_some_and(|until| self.now < *until)
    }

    /// Checks that an adopted zone goes on from the last of what the store has of it, and from no other record of that
    /// tick.
    pub fn check_end(&mut self, zone: &ZoneName, last: Position) {
        if self.forgot || self.has_rewound {
            return;
        }
        let newest = self.store.summary(zone).and_then(|summary| summary.newest);
        if let Some(newest) = newest.filter(|newest| newest.tick > last.tick) {
            let detail = format!("{zone} goes on after tick {}, the store has {}", last.tick, newest.tick);
            self.breach("an adopter goes on from all that is stored", detail);
        }
        let stored = self.books.get(zone).and_then(|book| book.stored.get(&last.tick));
        if stored.is_some_and(|(_, hash)| *hash != last.hash) {
            let detail = format!("{zone} goes on after another record of tick {}", last.tick);
            self.breach("an adopter goes on from all that is stored", detail);
        }
    }

    /// Notes that an adopter goes on from stored data that ends here: so far its epoch is stored, by whatever it is.
    pub fn note_adopted(&mut self, tenure: &Tenure, last: Tick) {
        let book = self.books.entry(tenure.zone.clone()).or_default();
        book.covered.insert(tenure.epoch(), last);
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

    /// Notes that outputs of a tick leave a process, or that they call it confirmed: its record must have been stored.
    pub fn note_released(&mut self, tenure: &Tenure, tick: Tick) {
        let book = self.books.entry(tenure.zone.clone()).or_default();
        let is_covered = book
            .covered
            .get(&tenure.epoch())
            .is_some_and(|covered| tick <= *covered);
        let is_stored = tick == Tick(0) || is_covered || book.stored.contains_key(&tick);
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
            book.told = None;
        }
    }

    /// Notes that no process has a zone in memory of which nothing was told. If the store has nothing of it either, it
    /// may begin again at its first epoch.
    pub fn note_unknown(&mut self, zone: &ZoneName) {
        if self.store.summary(zone).is_none()
            && let Some(book) = self.books.get_mut(zone)
        {
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

    /// Checks that the store has data of a higher epoch than that of a suspended zone, which is thrown away.
    pub fn check_superseded(&mut self, zone: &ZoneName, memory: Epoch) {
        let newest = self.store.summary(zone).and_then(|summary| summary.newest);
        if !self.has_rewound && newest.is_none_or(|newest| newest.epoch <= memory) {
            let detail = format!("{zone} under epoch {memory}, the store has {newest:?}");
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
