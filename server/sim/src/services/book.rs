//! The book of one zone: what was stored and told of it, and under which epochs. Of a history that is in no memory and
//! in no store any more it keeps what is left, and goes on from there. It judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use everhold_core::durability::store::{Position, RecordHash, StoredRecord};
use everhold_core::ownership::{DataStamp, Nonce, RulesTag};
use everhold_protocol::{Epoch, Tick};

/// Records older than so many ticks are forgotten by the books: nothing is released as late as that.
const BOOK_TICKS: u64 = 2_000;

/// Grants of a zone before so many are forgotten by the books.
const BOOK_GRANTS: usize = 64;

/// The end of a zone's history before its first tick.
const GENESIS: DataStamp = Position::GENESIS.stamp();

/// The books of one zone.
#[derive(Default)]
pub(super) struct ZoneBook {
    /// The hash of every record that the store ever took, by tick; of several the last.
    stored: BTreeMap<Tick, RecordHash>,
    /// The hash that a record had before it was forged, by tick: the tick is the same.
    true_hashes: BTreeMap<Tick, RecordHash>,
    /// The records that tell a digest which is not the zone's.
    pub(super) forgeries: Vec<(Tick, RecordHash)>,
    /// The ticks of which the store took a record under an epoch.
    taken: BTreeSet<(Tick, Epoch)>,
    /// The tick up to which what the store had covered everything, by the epoch that wrote it or went on from it.
    covered: BTreeMap<Epoch, Tick>,
    /// The end of the history that each epoch goes on from.
    roots: BTreeMap<Epoch, DataStamp>,
    /// The process that wrote under each epoch.
    pub(super) writers: BTreeMap<Epoch, Nonce>,
    /// The rules under which the zone ran under each epoch.
    pub(super) rules: BTreeMap<Epoch, RulesTag>,
    /// The newest tick from which a client was told anything, with the epoch that ran it.
    told: Option<DataStamp>,
    /// The highest epoch under which the store took a write, since it last forgot any.
    pub(super) written_under: Epoch,
    /// The moment at which each grant last became a lease, or was renewed.
    pub(super) leased: BTreeMap<(Epoch, Nonce), Duration>,
    /// The moment at which the store last forgot something of the zone.
    pub(super) rewound_at: Option<Duration>,
    /// Times that something was lost that had been told.
    losses: u64,
    /// The losses before each epoch began.
    losses_before: BTreeMap<Epoch, u64>,
}

impl ZoneBook {
    /// Notes records that the store took.
    pub(super) fn note_stored(&mut self, epoch: Epoch, records: &[StoredRecord]) {
        for record in records {
            self.stored.insert(record.tick, record.hash);
            self.taken.insert((record.tick, epoch));
        }
        if let Some(last) = records.last() {
            let oldest = Tick(last.tick.0.saturating_sub(BOOK_TICKS));
            self.stored = self.stored.split_off(&oldest);
            self.taken = self.taken.split_off(&(oldest, Epoch::NONE));
        }
    }

    /// Notes that the head of an epoch covers everything up to a tick.
    pub(super) fn note_covered(&mut self, epoch: Epoch, tick: Tick) {
        let covered = self.covered.entry(epoch).or_default();
        *covered = tick.max(*covered);
    }

    /// Notes that records have other hashes from now on, the first of them because it tells another digest.
    pub(super) fn note_forged(&mut self, records: &[(Tick, RecordHash)]) {
        self.forgeries.extend(records.first());
        for (tick, hash) in records {
            if let Some(before) = self.stored.insert(*tick, *hash) {
                self.true_hashes.entry(*tick).or_insert(before);
            }
        }
    }

    /// Notes that an epoch goes on from here.
    pub(super) fn note_root(&mut self, epoch: Epoch, last: Position) {
        self.roots.insert(epoch, last.stamp());
        self.losses_before.insert(epoch, self.losses);
    }

    /// Notes that a grant became a lease, or was renewed.
    pub(super) fn note_leased(&mut self, grant: (Epoch, Nonce), now: Duration) {
        self.leased.insert(grant, now);
        while self.leased.len() > BOOK_GRANTS {
            self.leased.pop_first();
        }
    }

    /// Notes that something was told from a tick under an epoch. Returns whether the store ever had that, which is of
    /// no account for an epoch whose history is lost.
    pub(super) fn note_told(&mut self, epoch: Epoch, tick: Tick) -> bool {
        if self.losses_before(epoch) != Some(self.losses) {
            return true;
        }
        self.told = self.told.max(Some(self.resolve(DataStamp { epoch, tick })));
        self.is_stored(epoch, tick)
    }

    /// Returns the newest tick from which a client was told anything, with the epoch that ran it.
    pub(super) const fn told(&self) -> Option<DataStamp> {
        self.told
    }

    /// Whether the store ever had this tick of an epoch, which is of no account if the history of that is lost.
    pub(super) fn was_stored(&self, end: DataStamp) -> bool {
        self.losses_before(end.epoch) != Some(self.losses) || self.is_stored(end.epoch, end.tick)
    }

    /// Returns the stretches of the history that ends here, the newest first: the epoch that ran it, the tick before
    /// its first, and its last.
    pub(super) fn stretches(&self, end: DataStamp) -> Vec<(Epoch, Tick, Tick)> {
        let mut stretches = Vec::new();
        let mut end = self.resolve(end);
        while end != GENESIS {
            let root = self.roots.get(&end.epoch).filter(|root| root.epoch < end.epoch);
            let root = self.resolve(root.copied().unwrap_or(GENESIS));
            stretches.push((end.epoch, root.tick, end.tick));
            end = root;
        }
        stretches
    }

    /// Returns how often something was lost before an epoch began.
    pub(super) fn losses_before(&self, epoch: Epoch) -> Option<u64> {
        self.losses_before.get(&epoch).copied()
    }

    /// Whether any of its records were forged.
    pub(super) const fn is_forged(&self) -> bool {
        !self.forgeries.is_empty()
    }

    /// Whether a record is not the one of its tick that the store took last.
    pub(super) fn is_other(&self, tick: Tick, hash: RecordHash) -> bool {
        let is_other = self.stored.get(&tick).is_some_and(|stored| *stored != hash);
        is_other && self.true_hashes.get(&tick) != Some(&hash)
    }

    /// Whether everything that was told is in a history that ends here.
    pub(super) fn has_told(&self, end: DataStamp) -> bool {
        self.told.is_none_or(|told| self.shared(told, end) == told)
    }

    /// Returns the end of what was told within the history that an epoch had up to a tick.
    pub(super) fn told_within(&self, end: DataStamp) -> DataStamp {
        self.told.map_or(GENESIS, |told| self.shared(told, end))
    }

    /// Notes that of what was told only the history up to `left` is anywhere. It is what must be in every later state
    /// from now on, and what was noted of ticks after it is of no account. `fence` is the highest epoch that the store
    /// knows of, and `stored` has its record of a tick.
    pub(super) fn lose(&mut self, left: DataStamp, fence: Epoch, stored: impl Fn(Tick) -> Option<RecordHash>) {
        self.losses += 1;
        self.told = (left != GENESIS).then_some(left);
        self.stored
            .retain(|tick, hash| *tick <= left.tick || stored(*tick) == Some(*hash));
        self.taken.retain(|(tick, epoch)| {
            DataStamp {
                epoch: *epoch,
                tick: *tick,
            } <= left
        });
        self.true_hashes.retain(|tick, _| *tick <= left.tick);
        self.covered.retain(|epoch, _| *epoch <= left.epoch);
        if let Some(covered) = self.covered.get_mut(&left.epoch) {
            *covered = left.tick.min(*covered);
        }
        self.forget_writers(fence);
        let of_left = self.losses_before.range_mut(..=left.epoch);
        of_left.for_each(|(_, losses)| *losses = self.losses);
    }

    /// Notes that no more is known of epochs above `fence`: each may be another process's now.
    pub(super) fn forget_writers(&mut self, fence: Epoch) {
        self.writers.retain(|epoch, _| *epoch <= fence);
    }

    /// Whether the store ever had the tick of an epoch, under that epoch or under one that it goes on from.
    fn is_stored(&self, epoch: Epoch, tick: Tick) -> bool {
        let mut of = Some(epoch);
        while let Some(epoch) = of {
            let is_covered = self.covered.get(&epoch).is_some_and(|covered| tick <= *covered);
            if tick == Tick(0) || is_covered || self.taken.contains(&(tick, epoch)) {
                return true;
            }
            let root = self
                .roots
                .get(&epoch)
                .filter(|root| tick <= root.tick && root.epoch < epoch);
            of = root.map(|root| root.epoch);
        }
        false
    }

    /// Returns a position with the epoch that ran its tick.
    pub(super) fn resolve(&self, mut end: DataStamp) -> DataStamp {
        while let Some(root) = self.roots.get(&end.epoch)
            && end.tick <= root.tick
            && root.epoch < end.epoch
        {
            end.epoch = root.epoch;
        }
        if end.tick == Tick(0) { GENESIS } else { end }
    }

    /// Returns the end of what two histories have in common.
    fn shared(&self, one: DataStamp, other: DataStamp) -> DataStamp {
        let (mut one, mut other) = (self.resolve(one), self.resolve(other));
        while one.epoch != other.epoch {
            let higher = if one.epoch > other.epoch { &mut one } else { &mut other };
            let root = self.roots.get(&higher.epoch).filter(|root| root.epoch < higher.epoch);
            *higher = self.resolve(root.copied().unwrap_or(GENESIS));
        }
        one.min(other)
    }
}
