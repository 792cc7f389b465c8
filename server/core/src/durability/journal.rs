//! The journal's append pipeline: a ring of records in memory and one append in flight. It writes nothing itself and
//! reads no clock.
//!
//! ```text
//!   push ─► [ acknowledged, kept for resends | in flight | not sent yet ] ◄─ ring, at most RING_RECORDS_MAX
//!                                              cursor ─┘
//! ```
//!
//! A time-out is *unknown*, never a no: the same records are sent again, and the store sees by their hashes what it
//! already has. So is an answer to an append whose data set was made anew, or covered by a base, while it was on its
//! way: checkpoints have a link of their own, and may find a loss first.

use std::collections::VecDeque;

use everhold_protocol::{Epoch, Tick};

use super::store::{AppendAnswer, Position, StoreError, StoredRecord};
use crate::limits::{APPEND_RECORDS_MAX, RING_RECORDS_MAX};

/// First and longest wait before an append is sent again, ms. The first is about the store's usual answer time; the
/// longest is short enough that a store that comes back is noticed within a few ticks.
const RETRY_MS: (u64, u64) = (10, 160);

/// The ring holds nothing but unacknowledged records: the zone must stand still until the store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{RING_RECORDS_MAX} records wait for the store")]
pub struct RingFull;

/// The meaning of the store's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalEvent {
    /// Everything up to here is stored.
    Acknowledged {
        /// The last record stored.
        position: Position,
    },
    /// The outcome is unknown: wait, then poll; the same records come again.
    Retry {
        /// The wait, ms.
        after_ms: u64,
    },
    /// The store lacks records that it once acknowledged. Poll: sending goes on from this tick.
    Resend {
        /// The first record that is sent again.
        from: Tick,
    },
    /// The store lacks more than the ring has: write a base of the zone as it is, then [`Journal::handle_reseeded`].
    Reseed,
    /// The store lost the zone's data set: have it created again from memory, then [`Journal::handle_created`].
    Create,
    /// The zone is to be dropped at once.
    Stop(StopReason),
}

/// The reason why a zone must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// Another shard owns it.
    Fenced,
    /// The store has another history of this same epoch. That one stays, and this one is kept as evidence.
    Fork,
    /// The stored data cannot be what was written.
    Corrupt,
}

/// An append that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct AppendInFlight {
    /// The position of its last record.
    last: Position,
    /// Whether the data set that it went to was replaced since: its answer says nothing of the present one.
    is_superseded: bool,
}

/// The append pipeline of one zone under one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Journal {
    epoch: Epoch,
    ring: VecDeque<StoredRecord>,
    /// The last record acknowledged. It never goes back.
    acknowledged: Position,
    /// The last record pushed.
    last: Position,
    /// The next tick to send.
    cursor: Tick,
    in_flight: Option<AppendInFlight>,
    retry_ms: u64,
    /// The `from` of the last resend, until an append succeeds: a store that asks for the same twice gets a base
    /// instead.
    resent_from: Option<Tick>,
    is_reseeding: bool,
    stopped: Option<StopReason>,
}

impl Journal {
    /// Returns an empty ring. `last` is the end of the history that the store has: records are pushed from the tick
    /// after it.
    #[must_use]
    pub const fn new(epoch: Epoch, last: Position) -> Self {
        Self {
            epoch,
            ring: VecDeque::new(),
            acknowledged: last,
            last,
            cursor: last.tick.next(),
            in_flight: None,
            retry_ms: RETRY_MS.0,
            resent_from: None,
            is_reseeding: false,
            stopped: None,
        }
    }

    /// Returns the ring of a zone whose records since the last acknowledgement are lost with the task that had them.
    /// The zone itself is not: where the store lacks a record, a base bridges it.
    #[must_use]
    pub fn orphaned(epoch: Epoch, acknowledged: Position, last: Position) -> Self {
        Self {
            acknowledged,
            ..Self::new(epoch, last)
        }
    }

    /// The same ring under a higher epoch: the zone was suspended, and goes on from memory. What was in flight is
    /// unknown, so everything after the last acknowledgement is sent again.
    ///
    /// # Panics
    /// If `epoch` is not higher: a grant is used once.
    #[must_use]
    pub fn reclaimed(self, epoch: Epoch) -> Self {
        assert!(epoch > self.epoch, "epoch {epoch} follows epoch {}", self.epoch);
        let next = self.last.tick.next();
        let first = self.ring.front().map_or(next, |oldest| oldest.tick);
        Self {
            epoch,
            cursor: self.acknowledged.tick.next().max(first),
            in_flight: None,
            retry_ms: RETRY_MS.0,
            resent_from: None,
            is_reseeding: false,
            stopped: None,
            ..self
        }
    }

    /// Returns the epoch under which it appends.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Takes the record of the next tick.
    ///
    /// # Errors
    /// The ring is full of unacknowledged records. The record was not taken: push it again later, and do not step
    /// before.
    ///
    /// # Panics
    /// If the record does not follow the last one.
    pub fn push(&mut self, record: StoredRecord) -> Result<(), RingFull> {
        assert!(
            record.tick == self.last.tick.next(),
            "record {} follows record {}",
            record.tick,
            self.last.tick
        );
        assert!(
            record.prev_hash == self.last.hash,
            "record {} names another predecessor",
            record.tick
        );
        if self.ring.len() >= RING_RECORDS_MAX {
            let oldest = self.ring.front().map_or(Tick(0), |oldest| oldest.tick);
            if oldest > self.acknowledged.tick || oldest >= self.cursor {
                return Err(RingFull);
            }
            self.ring.pop_front();
        }
        self.last = Position {
            epoch: self.epoch,
            tick: record.tick,
            hash: record.hash,
        };
        self.ring.push_back(record);
        Ok(())
    }

    /// Returns the next records to append, oldest first; `None` while an append is in flight or nothing waits.
    pub fn poll_append(&mut self) -> Option<Vec<StoredRecord>> {
        if self.in_flight.is_some() || self.is_reseeding || self.stopped.is_some() {
            return None;
        }
        let first = self.ring.front()?.tick;
        let skip = usize::try_from(self.cursor.checked_since(first)?).ok()?;
        let records: Vec<StoredRecord> = self.ring.iter().skip(skip).take(APPEND_RECORDS_MAX).cloned().collect();
        let last = records.last()?;
        self.in_flight = Some(AppendInFlight {
            last: Position {
                epoch: self.epoch,
                tick: last.tick,
                hash: last.hash,
            },
            is_superseded: false,
        });
        Some(records)
    }

    /// Handles the answer to the append in flight.
    ///
    /// # Panics
    /// If none is.
    pub fn handle_answer(&mut self, answer: Result<AppendAnswer, &StoreError>) -> JournalEvent {
        let in_flight = self.in_flight.take();
        let AppendInFlight { last, is_superseded } = in_flight.expect("an answer belongs to an append in flight");
        match answer {
            // A fence stands whatever became of the data.
            Err(StoreError::Fenced { .. }) => self.stop(StopReason::Fenced),
            _ if is_superseded => JournalEvent::Retry { after_ms: 0 },
            Ok(AppendAnswer::Ok | AppendAnswer::Duplicate) => self.confirm(last),
            Ok(AppendAnswer::Gap { last }) => self.go_back(last),
            Ok(AppendAnswer::Fork { .. }) => self.stop(StopReason::Fork),
            Err(StoreError::Lost) => {
                self.is_reseeding = true;
                JournalEvent::Create
            }
            Err(StoreError::Corrupt(_)) => self.stop(StopReason::Corrupt),
            Err(StoreError::Unavailable(_) | StoreError::ParentMoved) => {
                let after_ms = self.retry_ms;
                self.retry_ms = (self.retry_ms * 2).min(RETRY_MS.1);
                JournalEvent::Retry { after_ms }
            }
        }
    }

    /// The data set is made anew, and incomplete: nothing is appended until a base is its head.
    pub const fn handle_created(&mut self) -> JournalEvent {
        self.supersede();
        self.is_reseeding = true;
        JournalEvent::Reseed
    }

    /// Appends nothing until a base is the head, as after [`JournalEvent::Reseed`]. `false`: an append is in flight,
    /// whose answer comes first.
    pub const fn hold(&mut self) -> bool {
        let is_answered = self.in_flight.is_none();
        if is_answered {
            self.is_reseeding = true;
        }
        is_answered
    }

    /// Notes that the base that [`JournalEvent::Reseed`] asked for is the store's head: it replaces every record up to
    /// its tick.
    pub fn handle_reseeded(&mut self, position: Position) -> JournalEvent {
        assert!(self.is_reseeding, "a base that nobody asked for");
        assert!(
            position.tick >= self.acknowledged.tick,
            "a base must not take back what was acknowledged"
        );
        self.supersede();
        self.is_reseeding = false;
        self.resent_from = None;
        self.acknowledged = position;
        self.cursor = position.tick.next();
        self.forget(position.tick);
        JournalEvent::Acknowledged { position }
    }

    /// Frees acknowledged records up to `tick`: a base covers them, so no resend needs them.
    pub fn forget(&mut self, tick: Tick) {
        let end = tick.min(self.acknowledged.tick);
        while self
            .ring
            .front()
            .is_some_and(|record| record.tick <= end && record.tick < self.cursor)
        {
            self.ring.pop_front();
        }
    }

    /// Returns the records in memory, in order: those that are not acknowledged, and some before them.
    pub fn ring(&self) -> impl Iterator<Item = &StoredRecord> {
        self.ring.iter()
    }

    /// Whether the ring lacks records that the store is not known to have: only a base can replace them.
    #[must_use]
    pub fn lacks_records(&self) -> bool {
        let before = self.ring.front().map_or(self.last.tick, |oldest| oldest.tick - 1);
        before > self.acknowledged.tick
    }

    /// Returns the last position stored.
    #[must_use]
    pub const fn acknowledged(&self) -> Position {
        self.acknowledged
    }

    /// Whether it waits for a base that replaces records which the store lacks.
    #[must_use]
    pub const fn is_reseeding(&self) -> bool {
        self.is_reseeding
    }

    /// Returns the last position pushed.
    #[must_use]
    pub const fn last(&self) -> Position {
        self.last
    }

    /// Returns the number of records pushed and not acknowledged.
    #[must_use]
    pub const fn unacknowledged(&self) -> u64 {
        self.last.tick.0 - self.acknowledged.tick.0
    }

    /// Notes that the data set is another one than an append in flight went to.
    const fn supersede(&mut self) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.is_superseded = true;
        }
    }

    fn confirm(&mut self, last: Position) -> JournalEvent {
        self.retry_ms = RETRY_MS.0;
        self.resent_from = None;
        self.cursor = last.tick.next();
        if last.tick > self.acknowledged.tick {
            self.acknowledged = last;
        }
        JournalEvent::Acknowledged {
            position: self.acknowledged,
        }
    }

    fn go_back(&mut self, store_last: Tick) -> JournalEvent {
        let from = store_last.next();
        if from > self.cursor {
            // It went back: to another history, of a lower epoch, which a base of this one ends; or it took a base of
            // this very grant since, whose answer is not there yet.
            self.is_reseeding = true;
            return JournalEvent::Reseed;
        }
        let in_ring = self.ring.front().is_some_and(|first| first.tick <= from);
        if !in_ring || self.resent_from == Some(from) {
            self.is_reseeding = true;
            return JournalEvent::Reseed;
        }
        self.resent_from = Some(from);
        self.cursor = from;
        JournalEvent::Resend { from }
    }

    fn stop(&mut self, reason: StopReason) -> JournalEvent {
        self.stopped = Some(reason);
        JournalEvent::Stop(reason)
    }
}

#[cfg(test)]
mod tests;
