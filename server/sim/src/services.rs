//! Store, archive, and authority of a simulated cluster, with the books that the checks need: what was ever stored, and
//! what was broken. It changes no answer.

mod archived;
mod book;
mod chain;
mod damaged;
mod excuses;
mod reading;
mod replicas;
mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

use everhold_core::durability::store::{AppendAnswer, CheckpointHead, Position, RecordHash, StoreError, StoredRecord};
use everhold_core::ownership::holder::command::StoreData;
use everhold_core::ownership::{DataStamp, Holdings, Nonce, RulesTag, Tenure};
use everhold_protocol::{Epoch, Tick, ZoneName};

use self::archived::ArchiveBook;
use self::book::ZoneBook;
use self::damaged::DamagedPlace;
use self::replicas::StoreReplica;
pub use self::rules::RulesRecord;
use crate::archive::MemoryArchive;
use crate::authority::MemoryAuthority;
use crate::mutant::Mutant;
use crate::store::{Forgery, MemoryStore};

/// An answer from before the store went back is on its way no longer than this.
const ANSWERS_MAX: Duration = Duration::from_secs(5);

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The moment of its finding.
    pub at: Duration,
    /// The invariant's name: seeds with the same one found the same kind of fault.
    pub invariant: &'static str,
    /// The circumstances.
    pub detail: String,
}

/// The fate of commits on their way to the archive and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitFate {
    /// They are answered.
    #[default]
    Answered,
    /// They are done, and the answers are lost.
    Unheard,
    /// They do not arrive.
    Lost,
}

/// Store, archive, authority, and books.
#[derive(Default)]
pub struct Services {
    /// The time, for breaches.
    pub now: Duration,
    /// The state store.
    pub store: MemoryStore,
    /// Its replica.
    pub replica: StoreReplica,
    /// The record of the world's rules, in the store.
    pub rules: RulesRecord,
    /// The authority.
    pub authority: MemoryAuthority,
    /// The archive.
    pub archive: MemoryArchive,
    /// The fate of commits to it.
    pub commit_fate: CommitFate,
    /// The books by zone.
    books: BTreeMap<ZoneName, ZoneBook>,
    /// The books of the archive by zone.
    archived: BTreeMap<ZoneName, ArchiveBook>,
    /// The broken invariants, in order.
    pub breaches: Vec<Breach>,
    /// The holdings that each shard told its guardian last.
    pub holdings: BTreeMap<usize, Holdings>,
    /// The damaged places of each zone, as far as they are not known to be made good.
    damaged: BTreeMap<ZoneName, Vec<DamagedPlace>>,
    /// The longest ttl of the leases.
    pub ttl: Duration,
    /// The shard processes whose clock for leases stands still, or did, and until when.
    pub stopped_clocks: BTreeMap<Nonce, Duration>,
    /// The planted mutant.
    pub mutant: Option<Mutant>,
    /// The ends of what the shards in reach have of each zone in memory: those that heard the authority within a lease.
    /// An adopter waits for no others.
    pub in_reach: BTreeMap<ZoneName, Vec<DataStamp>>,
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
            let answer = self.confirmed(answer)?;
            self.book(&tenure.zone).note_stored(tenure.epoch(), records);
            return Ok(answer);
        }
        answer
    }

    /// Moves the head, and keeps the books.
    pub fn move_head(&mut self, tenure: &Tenure, head: CheckpointHead) -> Result<(), StoreError> {
        let before = self.base_to_go_on_from(&tenure.zone);
        let moved = self.store.move_head(tenure, head);
        if moved.is_ok() {
            self.note_write(tenure);
            self.check_chain(&tenure.zone);
            self.check_trim(&tenure.zone, &head, before);
            self.confirmed(moved)?;
            self.book(&tenure.zone).note_covered(tenure.epoch(), head.position.tick);
            return Ok(());
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
        let book = self.book(&tenure.zone);
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
        let me = tenure.grant.nonce();
        let book = self.book(&tenure.zone);
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
        let told = book.told().map_or(Tick(0), |told| told.tick);
        let is_other = |record: &&StoredRecord| record.tick <= told && book.is_other(record.tick, record.hash);
        if let Some(other) = records.iter().find(is_other) {
            let (zone, epoch, tick) = (&tenure.zone, tenure.epoch(), other.tick);
            let detail = format!("{zone} epoch {epoch} writes over tick {tick}, told up to {told}");
            self.breach("what was told is in every later state", detail);
        }
    }

    /// Notes that the store forgot everything, or went back: from then on it has seen no more than it has now.
    pub fn note_rewound(&mut self) {
        for (zone, book) in &mut self.books {
            let fence = self.store.summary(zone).map(|summary| summary.fence_epoch);
            book.written_under = fence.unwrap_or(Epoch::NONE);
            book.rewound_at = Some(self.now);
        }
    }

    /// Notes that the authority granted or renewed a lease.
    pub fn note_leased(&mut self, tenure: &Tenure) {
        let (grant, now) = ((tenure.epoch(), tenure.grant.nonce()), self.now);
        self.book(&tenure.zone).note_leased(grant, now);
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

    /// Checks that an adopted zone goes on from the last of what the store has of it, or from newer memory, and from no
    /// other record of that tick. The higher epoch is newer, however long the history of a lower one is.
    pub fn check_end(&mut self, zone: &ZoneName, last: Position) {
        let newest = self.store.summary(zone).and_then(|summary| summary.newest);
        // A record of that very tick may have been sent again under a higher epoch.
        let is_newer = |newest: &DataStamp| *newest > last.stamp() && newest.tick != last.tick;
        if let Some(newest) = newest.filter(is_newer) {
            let detail = format!("{zone} goes on after {:?}, the store has {newest:?}", last.stamp());
            self.breach("an adopter goes on from all that is stored", detail);
        }
        if self.book(zone).is_other(last.tick, last.hash) {
            let detail = format!("{zone} goes on after another record of tick {}", last.tick);
            self.breach("an adopter goes on from all that is stored", detail);
        }
    }

    /// Notes what of the told an adopter, which goes on from a history that ends with `last`, cannot know of: what no
    /// store has, and no shard in reach. It may be missed from now on, and the adopter's epoch may have been another
    /// owner's. Returns whether there is any.
    pub fn note_cut_off(&mut self, tenure: &Tenure, last: Position) -> bool {
        let zone = &tenure.zone;
        let in_reach = self.in_reach.get(zone).cloned().unwrap_or_default();
        if self.book(zone).has_told(last.stamp()) || self.is_anywhere(zone, &in_reach) {
            return false;
        }
        self.note_nowhere(zone, &in_reach);
        self.book(zone).writers.remove(&tenure.epoch());
        true
    }

    /// Checks that a history which ends with `last`, and which an adopter goes on from, has all that was told.
    pub fn check_told(&mut self, tenure: &Tenure, last: Position) {
        let book = self.book(&tenure.zone);
        if let Some(told) = book.told().filter(|_| !book.has_told(last.stamp())) {
            let detail = format!(
                "{} epoch {} goes on after tick {} of epoch {}, told was tick {} of epoch {}",
                tenure.zone,
                tenure.epoch(),
                last.tick,
                last.epoch,
                told.tick,
                told.epoch
            );
            self.breach("what was told is in every later state", detail);
        }
    }

    /// Checks that an adopter which threw away a memory that ended at `memory` goes on from a history, up to `last`,
    /// with all that this one had of what was told.
    pub fn check_replaced(&mut self, tenure: &Tenure, memory: DataStamp, last: Position) {
        let book = self.book(&tenure.zone);
        let (had, has) = (book.told_within(memory), book.told_within(last.stamp()));
        if had > has {
            let detail = format!(
                "{} epoch {} has {has:?}, its memory had {had:?}",
                tenure.zone,
                tenure.epoch()
            );
            self.breach("memory dies for data, never for a grant", detail);
        }
    }

    /// Notes that an adopter goes on from a history that ends with `last`. What is stored has all of it, unless it is a
    /// memory's.
    pub fn note_adopted(&mut self, tenure: &Tenure, last: Position, is_memory: bool) {
        self.note_moves_begin(tenure);
        let book = self.book(&tenure.zone);
        book.note_root(tenure.epoch(), last);
        if !is_memory {
            book.note_covered(tenure.epoch(), last.tick);
        }
    }

    /// Notes the rules of an owner that hosts its zone.
    pub fn note_rules(&mut self, tenure: &Tenure, rules: RulesTag) {
        self.book(&tenure.zone).rules.insert(tenure.epoch(), rules);
    }

    /// Returns the rules of the newest data that the store has of a zone, if it has any.
    #[must_use]
    pub fn stored_rules(&self, zone: &ZoneName) -> Option<RulesTag> {
        let newest = self.store.summary(zone)?.newest?;
        self.books.get(zone)?.rules.get(&newest.epoch).copied()
    }

    /// Notes that outputs of a tick leave a process, or that they call it confirmed: its record must have been stored.
    pub fn note_released(&mut self, tenure: &Tenure, tick: Tick) {
        if !self.book(&tenure.zone).note_told(tenure.epoch(), tick) {
            let detail = format!("{} epoch {} tick {tick}", tenure.zone, tenure.epoch());
            self.breach("nothing is released before it is stored", detail);
        }
    }

    /// Whether what was told of a zone is anywhere: in the store, or in a memory that ends at one of `memories`.
    #[must_use]
    pub fn is_anywhere(&self, zone: &ZoneName, memories: &[DataStamp]) -> bool {
        let book = self.books.get(zone);
        let is_remembered = book.is_none_or(|book| memories.iter().any(|end| book.has_told(*end)));
        is_remembered || self.holds_told(zone)
    }

    /// Notes that what was told of a zone is in no memory and in no store any more, but what ends at one of `memories`
    /// or is in the store. The rest may be missed from now on; and with an authority that forgot as well, the zone
    /// begins again at its first epoch.
    pub fn note_nowhere(&mut self, zone: &ZoneName, memories: &[DataStamp]) {
        let book = self.book(zone);
        let remembered = memories.iter().map(|end| book.told_within(*end)).max();
        let stored = self.stored_end(zone).map(|end| self.book(zone).told_within(end));
        self.lose(zone, remembered.max(stored).unwrap_or(Position::GENESIS.stamp()));
    }

    /// Notes that an adopter goes on from a history without its damaged end. What was told of that may be missed from
    /// now on.
    pub fn note_damaged_end(&mut self, zone: &ZoneName, last: Position) {
        let left = self.book(zone).told_within(last.stamp());
        self.lose(zone, left);
    }

    fn lose(&mut self, zone: &ZoneName, left: DataStamp) {
        let fence = self.store.summary(zone).map(|summary| summary.fence_epoch);
        let book = self.books.entry(zone.clone()).or_default();
        let store = &self.store;
        book.lose(left, fence.unwrap_or(Epoch::NONE), |tick| store.record_hash(zone, tick));
    }

    /// Forgets who wrote under epochs of a zone that neither store nor authority knows of, and that no process has in
    /// memory: each may be granted once more, to another owner.
    pub fn forget_writers(&mut self, zone: &ZoneName) {
        let fence = self.store.summary(zone).map(|summary| summary.fence_epoch);
        let leases = self.authority.leases().views.into_iter();
        let lease = leases.filter(|view| view.zone == *zone).map(|view| view.epoch).max();
        let known = fence.max(lease).unwrap_or(Epoch::NONE);
        self.book(zone).forget_writers(known);
    }

    /// Notes that no process has a zone in memory of which nothing was told. If the store has nothing of it either, it
    /// may begin again at its first epoch; if it went back, at the epoch after the highest that it still knows of.
    pub fn note_unknown(&mut self, zone: &ZoneName) {
        match self.store.summary(zone) {
            None => self.lose(zone, Position::GENESIS.stamp()),
            Some(summary) => self.book(zone).forget_writers(summary.fence_epoch),
        }
    }

    /// Returns how often something of a zone was lost before an epoch of it began.
    #[must_use]
    pub fn losses_before(&self, zone: &ZoneName, epoch: Epoch) -> u64 {
        let losses = self.books.get(zone).and_then(|book| book.losses_before(epoch));
        losses.unwrap_or_default()
    }

    /// Returns the newest tick of a zone from which a client was told anything.
    #[must_use]
    pub fn told(&self, zone: &ZoneName) -> Option<Tick> {
        let told = self.books.get(zone)?.told()?;
        Some(told.tick)
    }

    /// Checks that the store has a whole data set of a zone whose World is thrown away, with everything that was told:
    /// memory dies for data, never for a grant (DESIGN, Ownership 9). `how` says why it is thrown away. No process
    /// knows what became of stored bytes since.
    pub fn check_kept(&mut self, zone: &ZoneName, how: impl FnOnce() -> String) {
        if !self.holds_told(zone) && !self.is_told_damaged(zone) {
            let tick = self.told(zone).unwrap_or_default();
            let detail = format!("{}, the store has not its tick {tick}", how());
            self.breach("memory dies for data, never for a grant", detail);
        }
    }

    /// Checks the same of a World that is thrown away because of what the store answered; but for a forged zone, when
    /// the store has gone back since.
    pub fn check_answered(&mut self, zone: &ZoneName, how: impl FnOnce() -> String) {
        let is_forged = self.book(zone).is_forged();
        if !is_forged || !self.has_just_rewound(zone) {
            self.check_kept(zone, how);
        }
    }

    /// Checks that the store has data of a higher epoch than that of a suspended zone, which is thrown away; or had it
    /// when it was asked.
    pub fn check_superseded(&mut self, zone: &ZoneName, memory: Epoch) {
        let newest = self.store.summary(zone).and_then(|summary| summary.newest);
        if !self.has_just_rewound(zone) && newest.is_none_or(|newest| newest.epoch <= memory) {
            let detail = format!("{zone} under epoch {memory}, the store has {newest:?}");
            self.breach("memory dies for data, never for a grant", detail);
        }
    }

    /// Whether an answer may be on its way still that the store gave before it went back.
    fn has_just_rewound(&self, zone: &ZoneName) -> bool {
        let rewound_at = self.books.get(zone).and_then(|book| book.rewound_at);
        rewound_at.is_some_and(|at| self.now < at + ANSWERS_MAX)
    }

    /// Checks that the store has newer data of a zone than the memory, ending at `memory`, that is thrown away.
    pub fn check_succeeded(&mut self, zone: &ZoneName, memory: DataStamp) {
        let data = self.store.summary(zone).map(|summary| summary.data());
        if !matches!(&data, Some(StoreData::Newest(stored)) if *stored > memory) {
            let detail = format!("{zone}, memory ends at {memory:?}, the store has {data:?}");
            self.breach("a zone in memory comes back", detail);
        }
    }

    /// Whether the store has a whole data set of a zone, with everything that was told in its history: a store that
    /// went back may have later ticks of another one.
    #[must_use]
    pub fn holds_told(&self, zone: &ZoneName) -> bool {
        let (end, book) = (self.stored_end(zone), self.books.get(zone));
        end.is_some_and(|end| book.is_none_or(|book| book.has_told(end)))
    }

    /// Checks that a zone's evidence, which an owner says is kept, is sealed in a store that forgot nothing.
    pub fn check_sealed(&mut self, zone: &ZoneName) {
        if self.store.evidence(zone).is_none() && !self.has_gone_back(zone) {
            self.breach(
                "evidence is whole, or absent",
                format!("{zone}: it is said to be kept, and is not"),
            );
        }
    }

    /// Whether the store has ever lost something of the zone.
    #[must_use]
    pub fn has_gone_back(&self, zone: &ZoneName) -> bool {
        self.books.get(zone).is_some_and(|book| book.rewound_at.is_some())
    }

    /// Notes that the store has another history of the same epoch now, and wrong digests with it.
    pub fn note_forged(&mut self, zone: &ZoneName, forgery: &Forgery) {
        self.replica.is_damage_possible = true;
        self.book(zone).note_forged(&forgery.records);
    }

    /// Checks that a replay up to tick `last` has all digests that were recorded, but for those that were forged; and
    /// that it has not those.
    pub fn check_digests(&mut self, tenure: &Tenure, last: Tick, is_equal: bool) {
        let zone = &tenure.zone;
        let head = self.store.summary(zone).and_then(|summary| summary.head);
        let forgeries = self.books.get(zone).map_or(&[][..], |book| &book.forgeries);
        let is_there = |forged: &&(Tick, RecordHash)| self.store.record_hash(zone, forged.0) == Some(forged.1);
        let forged: Vec<Tick> = forgeries.iter().filter(is_there).map(|(tick, _)| *tick).collect();
        let is_replayed = |tick: &Tick| head.is_none_or(|head| *tick > head.tick) && *tick <= last;
        let detail = format!("{zone} epoch {}, forged are {forged:?}", tenure.epoch());
        // What was replayed may have been forged, and the store have forgotten that since.
        let was_forged = !forgeries.is_empty() && self.has_just_rewound(zone);
        if !is_equal && forged.is_empty() && !was_forged {
            self.breach("a replay has the digests of the original", detail);
        } else if is_equal && forged.iter().any(is_replayed) {
            self.breach("a divergent zone is found to be one", detail);
        }
    }

    fn book(&mut self, zone: &ZoneName) -> &mut ZoneBook {
        self.books.entry(zone.clone()).or_default()
    }
}
