//! Recovery of a zone from the archive: its blobs, the newest first. It asks no archive and replays nothing itself, and
//! reads no clock.
//!
//! ```text
//!   blob ─► part, part, … ─► Replay ─► the zone, at the tick of its commit
//!     │ damaged
//!     └───► the blob before
//! ```

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use everhold_protocol::Tick;

use super::archive::{ArchiveError, ArchivedBlob, ArchivedZone, CommitMark};
use super::replay::ReplayError;
use super::store::{Checkpoint, CheckpointHead, CheckpointKind, Position, ZoneData};
use crate::zone::RestoreError;

/// The next thing that a recovery from the archive needs.
#[derive(Debug)]
pub enum BlobStep {
    /// This part of the blob of this commit; answer with [`BlobRecovery::handle_part`].
    Read(CommitMark, u32),
    /// The replay of this; if it fails, answer with [`BlobRecovery::handle_failed`].
    Replay(ZoneData),
    /// Nothing: no blob is left to be tried, and this was wrong with the newest.
    Fail(BlobDamage),
}

/// The defect of a blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobDamage {
    /// A part is not there, or is not what was written.
    #[error("the archived blob of tick {0} cannot be read whole")]
    Unread(Tick),
    /// It cannot be restored.
    #[error("the archived blob: {0}")]
    Unreplayable(ReplayError),
}

/// The recovery of one zone from what the archive has of it.
#[derive(Debug)]
pub struct BlobRecovery {
    /// Blobs that are not given up, the newest first.
    blobs: VecDeque<ArchivedBlob>,
    /// The parts that were read of the first of them.
    parts: Vec<Bytes>,
    /// Whether the zone may go on under other rules than it ran: a blob is a base without a journal.
    may_change_rules: bool,
    given_up: u32,
    first_damage: Option<BlobDamage>,
}

impl BlobRecovery {
    /// Begins with the newest blob. `None`: the archive has none.
    #[must_use]
    pub fn new(zone: ArchivedZone, may_change_rules: bool) -> Option<Self> {
        (!zone.blobs.is_empty()).then(|| Self {
            blobs: zone.blobs.into(),
            parts: Vec::new(),
            may_change_rules,
            given_up: 0,
            first_damage: None,
        })
    }

    /// Returns what is needed next.
    pub fn poll(&mut self) -> BlobStep {
        while let Some(ArchivedBlob { mark, blob }) = self.blobs.front().copied() {
            let read = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
            if read < blob.parts {
                return BlobStep::Read(mark, read);
            }
            match self.data(mark, blob.bytes) {
                Some(data) => return BlobStep::Replay(data),
                None => self.give_up(BlobDamage::Unread(mark.position.tick)),
            }
        }
        let damage = self.first_damage.clone();
        BlobStep::Fail(damage.unwrap_or(BlobDamage::Unread(Tick(0))))
    }

    /// Takes the part that was asked for. One that is not there, or is damaged, costs its blob.
    ///
    /// # Errors
    /// The archive said neither: it is asked again, or the zone is given up.
    pub fn handle_part(&mut self, answer: Result<Option<Bytes>, ArchiveError>) -> Result<(), ArchiveError> {
        match answer {
            Ok(Some(part)) => self.parts.push(part),
            Ok(None) | Err(ArchiveError::Corrupt(_)) => {
                let tick = self.commit().map_or(Tick(0), |commit| commit.tick);
                self.give_up(BlobDamage::Unread(tick));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes why the blob was not restored. The one before is tried: poll again.
    ///
    /// # Errors
    /// It is no damage: no other blob would help.
    pub fn handle_failed(&mut self, error: ReplayError) -> Result<(), ReplayError> {
        let is_damage = error.is_damage() && !error.is_foreign();
        if !is_damage {
            return Err(error);
        }
        self.give_up(BlobDamage::Unreplayable(error));
        Ok(())
    }

    /// Returns the end of the history that is tried.
    #[must_use]
    pub fn commit(&self) -> Option<Position> {
        self.blobs.front().map(|blob| blob.mark.position)
    }

    /// Returns the number of blobs that were given up because they are damaged.
    #[must_use]
    pub const fn given_up(&self) -> u32 {
        self.given_up
    }

    fn data(&self, mark: CommitMark, bytes: u64) -> Option<ZoneData> {
        let mut body = BytesMut::new();
        self.parts.iter().for_each(|part| body.extend_from_slice(part));
        let head = CheckpointHead {
            position: mark.position,
            kind: CheckpointKind::Base,
            parts: u32::try_from(self.parts.len()).ok()?,
            bytes,
        };
        Some(ZoneData {
            chain: vec![Checkpoint::joined(head, body.freeze()).ok()?],
            may_change_rules: self.may_change_rules,
            ..ZoneData::default()
        })
    }

    fn give_up(&mut self, damage: BlobDamage) {
        self.first_damage.get_or_insert(damage);
        self.blobs.pop_front();
        self.parts.clear();
        self.given_up += 1;
    }
}

impl BlobDamage {
    /// Returns what a blob that cannot be read is to a restore.
    #[must_use]
    pub fn into_error(self) -> ReplayError {
        match self {
            Self::Unreplayable(error) => error,
            Self::Unread(tick) => ReplayError::Restore {
                tick,
                error: RestoreError::Corrupt,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::Epoch;

    use super::*;
    use crate::durability::archive::ArchiveBlob;
    use crate::durability::store::RecordHash;
    use crate::ownership::Nonce;

    fn blob(tick: u64, parts: u32, bytes: u64) -> ArchivedBlob {
        let position = Position {
            epoch: Epoch(3),
            tick: Tick(tick),
            hash: RecordHash([1; 32]),
        };
        ArchivedBlob {
            mark: CommitMark { position, number: tick },
            blob: ArchiveBlob { parts, bytes },
        }
    }

    fn recovery(blobs: Vec<ArchivedBlob>) -> Option<BlobRecovery> {
        let zone = ArchivedZone {
            zone: "meadow".parse().unwrap(),
            fence: (Epoch(3), Nonce(1)),
            last: blobs.first().map(|blob| blob.mark),
            blobs,
        };
        BlobRecovery::new(zone, true)
    }

    fn asked(recovery: &mut BlobRecovery) -> String {
        match recovery.poll() {
            BlobStep::Read(mark, index) => format!("part {index} of {}", mark.position.tick),
            BlobStep::Replay(data) => format!("replay {:?}", data.chain[0].body),
            BlobStep::Fail(damage) => format!("fail: {damage}"),
        }
    }

    #[test]
    fn blob_is_read_part_by_part_and_replayed() {
        let mut recovery = recovery(vec![blob(90, 2, 4), blob(60, 1, 2)]).unwrap();
        for (index, part) in [b"ab", b"cd"].into_iter().enumerate() {
            assert_eq!(asked(&mut recovery), format!("part {index} of 90"));
            recovery.handle_part(Ok(Some(Bytes::from_static(part)))).unwrap();
        }
        assert_eq!(asked(&mut recovery), "replay b\"abcd\"");
    }

    #[test]
    fn damaged_blob_is_given_up_for_the_one_before_and_the_first_defect_is_told() {
        let corrupt = || Err(ArchiveError::Corrupt("a checksum".to_owned()));
        for damage in [corrupt(), Ok(None), Ok(Some(Bytes::from_static(b"short")))] {
            let mut recovery = recovery(vec![blob(90, 1, 9), blob(60, 1, 2)]).unwrap();
            assert_eq!(asked(&mut recovery), "part 0 of 90");
            recovery.handle_part(damage).unwrap();
            assert_eq!(asked(&mut recovery), "part 0 of 60");
            recovery.handle_part(Ok(Some(Bytes::from_static(b"ab")))).unwrap();
            assert_eq!(asked(&mut recovery), "replay b\"ab\"");
            let error = ReplayError::OtherTick {
                tick: Tick(60),
                found: Tick(61),
            };
            recovery.handle_failed(error).unwrap();
            assert_eq!(recovery.given_up(), 2);
            let defect = "fail: the archived blob of tick 90 cannot be read whole";
            assert_eq!(asked(&mut recovery), defect);
        }
    }

    #[test]
    fn other_rules_and_an_archive_that_is_away_are_no_damage() {
        let mut recovery = recovery(vec![blob(90, 1, 2), blob(60, 1, 2)]).unwrap();
        let away = ArchiveError::Unavailable("a time-out".to_owned());
        assert_eq!(recovery.handle_part(Err(away.clone())), Err(away));
        let rules = ReplayError::Restore {
            tick: Tick(90),
            error: RestoreError::Rules,
        };
        assert_eq!(recovery.handle_failed(rules.clone()), Err(rules));
        assert_eq!(asked(&mut recovery), "part 0 of 90");
    }

    #[test]
    fn archive_without_a_blob_has_nothing_to_recover_from() {
        assert!(recovery(Vec::new()).is_none());
    }
}
