//! A suspended zone in memory, and its way back. Meanwhile it does not tick, writes nothing, and sends nothing. It asks
//! no store itself.
//!
//! The lease ran out (the authority did not answer, or the process was stopped), which does not mean that the zone was
//! granted to another shard. If the authority grants it to this process anew, the zone goes on under the higher epoch
//! where it stood: the records that the store may not have are in the journal's ring and are sent again, and a base
//! under the new epoch follows at once. So a store that was away, or that came back empty, costs a pause and nothing
//! else; from the store alone an `async` zone would lose its unstored ticks.

use std::time::Duration;

use super::journal::{Journal, RingFull};
use super::pending_moves::PendingMoves;
use super::store::{Position, StoreError, StoredRecord, ZoneSummary};
use crate::ownership::holder::command::StoreData;
use crate::ownership::{DataStamp, Grant};
use crate::zone::{ValueMove, Zone};

/// The time between two looks for a zone that its tick thread has not given back.
pub const SURRENDER_LOOK_EVERY: Duration = Duration::from_millis(100);

/// A tick thread that has not given its zone back after so many looks, ten seconds, is wedged: a tick takes
/// milliseconds. Looks are counted, and no time, so that a process that stood still has waited for nothing. Until then
/// other shards may claim the zone, and this one may not; after it the World is thrown away, and the zone goes on from
/// the store.
pub const SURRENDER_LOOKS_MAX: u32 = 100;

/// A journal that waits for its zone: the tick thread may have ticked on until it noticed the end.
#[derive(Debug)]
pub struct Surrender {
    journal: Journal,
    moves: PendingMoves,
}

impl Surrender {
    /// Waits for the zone of `journal`.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        let moves = PendingMoves::default();
        Self { journal, moves }
    }

    /// Takes the moves of value that the archive may lack, if the zone has one.
    #[must_use]
    pub fn with_moves(self, moves: PendingMoves) -> Self {
        Self { moves, ..self }
    }

    /// Takes the record of one more tick that the zone did, and its moves of value. Its outputs are never sent.
    ///
    /// # Errors
    /// The ring is full: the zone cannot go on from memory.
    pub fn handle_record(&mut self, record: StoredRecord, moves: Vec<ValueMove>) -> Result<(), RingFull> {
        let tick = record.tick;
        self.journal.push(record)?;
        self.moves.inherit(self.journal.epoch(), tick, moves);
        Ok(())
    }

    /// Takes the zone that the tick thread gave back, after its last tick.
    #[must_use]
    pub fn handle_zone(self, mut zone: Zone) -> SuspendedZone {
        // No answer will confirm a capture that was under way.
        zone.capture_failed();
        SuspendedZone {
            zone,
            journal: self.journal,
            moves: self.moves,
        }
    }
}

/// A zone as it stood when its lease ran out.
pub struct SuspendedZone {
    zone: Zone,
    journal: Journal,
    moves: PendingMoves,
}

impl SuspendedZone {
    /// Returns the end of what the store is known to have had of this zone: records and checkpoints that it
    /// acknowledged.
    #[must_use]
    pub const fn acknowledged(&self) -> DataStamp {
        self.journal.acknowledged().stamp()
    }

    /// Returns the end of this history. Its adoption decides by that alone, and leaves the zone where it is until it is
    /// hosted.
    #[must_use]
    pub const fn last(&self) -> DataStamp {
        self.journal.last().stamp()
    }

    /// Gives up the records in memory: none is appended before a base of the zone is the head. A store whose data leads
    /// elsewhere would take the records for a fork, and a base of a higher epoch for the truth.
    #[must_use]
    pub fn behind_a_base(self) -> Self {
        let (epoch, last) = (self.journal.epoch(), self.journal.last());
        Self {
            journal: Journal::orphaned(epoch, Position::GENESIS, last),
            ..self
        }
    }

    /// Takes the zone up again under `grant`, whose fence stands in the store, with the moves of value that the archive
    /// may lack.
    ///
    /// # Panics
    /// If the grant's epoch is not higher than the one that ran out.
    #[must_use]
    pub fn reclaimed(self, grant: Grant) -> (Zone, Journal, PendingMoves) {
        let journal = self.journal.reclaimed(grant.epoch());
        (self.zone, journal, self.moves.bequeathed())
    }
}

/// Returns whether a memory that ends at `last` is the newest history, by what the store answered when it was asked for
/// its summary, *after* it was fenced: an owner in between that only fenced wrote nothing, and one that wrote can write
/// no more.
///
/// # Errors
/// The store's answer says neither yes nor no.
pub fn is_newest(last: DataStamp, answer: Result<Option<ZoneSummary>, StoreError>) -> Result<bool, StoreError> {
    match answer {
        Ok(summary) => Ok(match summary.map(|summary| summary.data()) {
            Some(StoreData::Newest(stored)) => stored <= last,
            _ => true,
        }),
        // Memory is all there is: the host has the data set made anew at its first append.
        Err(StoreError::Lost) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use everhold_protocol::{Account, Epoch, Tick};

    use super::*;
    use crate::durability::journal::JournalEvent;
    use crate::durability::store::{AppendAnswer, RecordHash};
    use crate::game::RuleBook;
    use crate::ownership::Nonce;
    use crate::zone::{Cut, ZoneConfig};

    fn zone() -> Zone {
        Zone::new(ZoneConfig {
            name: "meadow".parse().unwrap(),
            seed: 7,
            tick_hz: 20,
            game: Arc::new(RuleBook::default_world()),
        })
    }

    fn grant(epoch: u32) -> Grant {
        Grant::issue(Epoch(epoch), Nonce(1))
    }

    fn gift() -> ValueMove {
        ValueMove {
            value: 0,
            thing: None,
            amount: 1,
            from: None,
            to: Some(Account(1)),
            command: None,
        }
    }

    fn record(tick: Tick) -> StoredRecord {
        StoredRecord {
            tick,
            prev_hash: RecordHash([u8::try_from(tick.0 - 1).unwrap(); 32]),
            hash: RecordHash([u8::try_from(tick.0).unwrap(); 32]),
            body: Bytes::new(),
        }
    }

    #[test]
    fn ticks_of_which_the_store_may_know_nothing_are_sent_again_under_the_new_epoch() {
        let mut journal = Journal::new(Epoch(3), Position::GENESIS);
        journal.push(record(Tick(1))).unwrap();
        journal.poll_append();
        let mut surrender = Surrender::new(journal);
        surrender.handle_record(record(Tick(2)), vec![gift()]).unwrap();
        let (_, mut journal, moves) = surrender.handle_zone(zone()).reclaimed(grant(5));
        let sent: Vec<_> = journal
            .poll_append()
            .unwrap()
            .iter()
            .map(|record| record.tick)
            .collect();
        assert_eq!((journal.epoch(), sent), (Epoch(5), vec![Tick(1), Tick(2)]));
        let told: Vec<_> = moves.rows().map(|row| (row.stamp.epoch, row.stamp.tick)).collect();
        assert_eq!(told, [(Epoch(3), Tick(2))], "the archive may lack it");
    }

    #[test]
    fn zone_whose_records_are_gone_goes_on_behind_a_base_that_bridges_them() {
        let at = |tick: u8| Position {
            epoch: Epoch(3),
            tick: Tick(u64::from(tick)),
            hash: RecordHash([tick; 32]),
        };
        let memory = Surrender::new(Journal::orphaned(Epoch(3), at(4), at(9))).handle_zone(zone());
        assert_eq!((memory.acknowledged(), memory.last()), (at(4).stamp(), at(9).stamp()));
        let (_, mut journal, _) = memory.reclaimed(grant(5));
        assert_eq!(journal.poll_append(), None, "nothing waits");
        journal.push(record(Tick(10))).unwrap();
        assert_eq!(journal.poll_append().unwrap().len(), 1);
        let answer = journal.handle_answer(Ok(AppendAnswer::Gap { last: Tick(6) }));
        assert_eq!(
            answer,
            JournalEvent::Reseed,
            "the store lacks records that nobody has any more"
        );
        let base = Position {
            epoch: Epoch(5),
            ..at(9)
        };
        assert_eq!(
            journal.handle_reseeded(base),
            JournalEvent::Acknowledged { position: base }
        );
        assert_eq!(journal.poll_append().unwrap()[0].tick, Tick(10));
    }

    #[test]
    fn capture_that_was_under_way_is_given_back_to_the_zone() {
        let mut zone = zone();
        zone.freeze(Cut::Base);
        let (mut zone, ..) = Surrender::new(Journal::new(Epoch(3), Position::GENESIS))
            .handle_zone(zone)
            .reclaimed(grant(4));
        assert!(
            zone.freeze(Cut::Delta).base,
            "the next one is possible, and stands alone"
        );
    }
}
