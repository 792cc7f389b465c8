//! The journal of one zone: what is a repeat, what a gap, what a fork. It has no fence.

use std::collections::BTreeMap;

use bytes::Bytes;
use everhold_core::durability::store::{AppendAnswer, Position, RecordHash, StoreError, StoredRecord};
use everhold_core::ownership::DataStamp;
use everhold_protocol::{Epoch, Tick};

use super::checkpoints::StoredCheckpoints;

/// A record as it is stored: beside it the epoch that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct JournalEntry {
    pub(super) prev_hash: RecordHash,
    pub(super) hash: RecordHash,
    pub(super) epoch: Epoch,
    pub(super) body: Bytes,
}

/// The records of one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct StoredJournal {
    entries: BTreeMap<Tick, JournalEntry>,
}

/// Whether the first record to be written follows from what is stored.
enum Succession {
    /// It follows the record, or the checkpoint, that it names.
    Right,
    /// There is nothing before it, or something of a lower epoch that is to be written over as well.
    Missing { last: Tick },
    /// There is another record of this epoch before it.
    Wrong { tick: Tick },
}

impl StoredJournal {
    pub(super) fn append(
        &mut self,
        checkpoints: &StoredCheckpoints,
        epoch: Epoch,
        records: &[StoredRecord],
    ) -> AppendAnswer {
        let is_stored = |record: &&StoredRecord| self.hash_at(record.tick) == Some(record.hash);
        let rest = &records[records.iter().take_while(is_stored).count()..];
        let Some(first) = rest.first() else {
            return AppendAnswer::Duplicate;
        };
        if let Some(tick) = self.first_of_epoch(first.tick, epoch) {
            return AppendAnswer::Fork { tick };
        }
        match self.succession(checkpoints, first, epoch) {
            Succession::Right => {}
            Succession::Missing { last } => return AppendAnswer::Gap { last },
            Succession::Wrong { tick } => return AppendAnswer::Fork { tick },
        }
        let covering = checkpoints.head().filter(|head| first.tick <= head.tick);
        if let Some(head) = covering.filter(|_| self.entries.contains_key(&first.tick)) {
            // A checkpoint covers what would be written over; only a base could take that back.
            return AppendAnswer::Gap { last: head.tick };
        }
        self.drop_from(first.tick);
        self.entries.extend(rest.iter().map(|record| {
            let entry = JournalEntry {
                prev_hash: record.prev_hash,
                hash: record.hash,
                epoch,
                body: record.body.clone(),
            };
            (record.tick, entry)
        }));
        AppendAnswer::Ok
    }

    fn succession(&self, checkpoints: &StoredCheckpoints, first: &StoredRecord, epoch: Epoch) -> Succession {
        if first.tick == Tick(0) {
            return Succession::Missing { last: Tick(0) };
        }
        let before = first.tick - 1;
        let head = checkpoints.head();
        let is_first = before == Tick(0) && first.prev_hash == RecordHash::GENESIS && head.is_none();
        if is_first || checkpoints.covers(before, first.prev_hash) {
            return Succession::Right;
        }
        match self.entries.get(&before) {
            Some(entry) if entry.hash == first.prev_hash => Succession::Right,
            Some(entry) if entry.epoch < epoch => Succession::Missing {
                last: Tick(before.0.saturating_sub(1)),
            },
            Some(_) => Succession::Wrong { tick: before },
            None => {
                let last = self.ends().map(|(_, last)| last);
                Succession::Missing {
                    last: last.max(head.map(|head| head.tick)).unwrap_or_default(),
                }
            }
        }
    }

    /// Drops records of a lower epoch that do not lead to a new head or follow from it: a head that a higher epoch
    /// moves is the truth.
    pub(super) fn drop_other_history(&mut self, epoch: Epoch, position: Position) -> Result<(), StoreError> {
        let mut at_or_after = self.entries.range(position.tick..).map(|(tick, _)| *tick);
        let (first, second) = (at_or_after.next(), at_or_after.next());
        let fits = match first {
            None => true,
            Some(tick) if tick == position.tick => {
                self.hash_at(tick) == Some(position.hash) && second.is_none_or(|next| self.follows(next, position))
            }
            Some(tick) => self.follows(tick, position),
        };
        if fits {
            return Ok(());
        }
        if self.first_of_epoch(position.tick, epoch).is_some() {
            let tick = position.tick;
            return Err(StoreError::Corrupt(format!(
                "this epoch has another record at tick {tick}"
            )));
        }
        self.drop_from(position.tick);
        Ok(())
    }

    /// Whether the record of this tick is the one after `position`.
    fn follows(&self, tick: Tick, position: Position) -> bool {
        tick == position.tick + 1 && self.entries.get(&tick).map(|entry| entry.prev_hash) == Some(position.hash)
    }

    /// Drops all records up to this tick.
    pub(super) fn trim(&mut self, last: Tick) {
        self.entries = self.entries.split_off(&(last + 1));
    }

    fn drop_from(&mut self, first: Tick) {
        self.entries.split_off(&first);
    }

    /// Drops the records after this tick that another epoch wrote.
    pub(super) fn rewind(&mut self, epoch: Epoch, last: Tick) {
        self.entries.retain(|tick, entry| *tick <= last || entry.epoch == epoch);
    }

    /// Returns the records of these ticks, in order.
    pub(super) fn read(&self, ticks: std::ops::Range<Tick>) -> Vec<StoredRecord> {
        let entries = self.entries.range(ticks);
        let record = |(&tick, entry): (&Tick, &JournalEntry)| StoredRecord {
            tick,
            prev_hash: entry.prev_hash,
            hash: entry.hash,
            body: entry.body.clone(),
        };
        entries.map(record).collect()
    }

    /// Returns the first and the last tick.
    pub(super) fn ends(&self) -> Option<(Tick, Tick)> {
        let (first, _) = self.entries.first_key_value()?;
        let (last, _) = self.entries.last_key_value()?;
        Some((*first, *last))
    }

    /// Returns the epoch that wrote the last record, and its tick.
    pub(super) fn newest(&self) -> Option<DataStamp> {
        let (tick, entry) = self.entries.last_key_value()?;
        Some(DataStamp {
            epoch: entry.epoch,
            tick: *tick,
        })
    }

    pub(super) fn entries(&self) -> &BTreeMap<Tick, JournalEntry> {
        &self.entries
    }

    /// Returns a stored record, to damage it.
    pub(super) fn entry_mut(&mut self, tick: Tick) -> Option<&mut JournalEntry> {
        self.entries.get_mut(&tick)
    }

    fn hash_at(&self, tick: Tick) -> Option<RecordHash> {
        self.entries.get(&tick).map(|entry| entry.hash)
    }

    /// Finds the first record at or after `tick` that this epoch wrote, or a higher one.
    fn first_of_epoch(&self, tick: Tick, epoch: Epoch) -> Option<Tick> {
        let mut entries = self.entries.range(tick..);
        entries.find_map(|(tick, entry)| (entry.epoch >= epoch).then_some(*tick))
    }
}
