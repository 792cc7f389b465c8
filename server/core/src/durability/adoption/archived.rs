//! The part of an adoption that goes back to the archive: only when the store has no data of the zone, or none that is
//! whole. A whole data set in the store is enough, and no adoption waits for the archive then.
//!
//! ```text
//!   empty, lost, damaged ─► FenceArchive ─► ReadBlob … ─► Replay ─► FenceAndRead once more ─► Start, from the archive
//!                               │ it has nothing                         │ the data came back
//!                               ▼                                        ▼
//!                        the zone begins, or fails               as any zone of the store
//! ```
//!
//! "There is none" counts only if the archive says so: while it does not answer, the zone waits. The archive is fenced
//! before it is read, so that no owner before writes what is not read. Between store and archive there is nothing to be
//! compared: what the store has whole is never older than what was written behind from it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use everhold_protocol::Tick;

use super::{AdoptError, Adoption, AdoptionCommand, AdoptionNotice, AdoptionStep, History, Restored, Start};
use crate::durability::archive::{ArchiveError, ArchivedZone};
use crate::durability::blob_recovery::{BlobRecovery, BlobStep};
use crate::durability::journal::Journal;
use crate::durability::recovery::{Damage, Recovery};
use crate::durability::replay::{ReplayError, Replayed};
use crate::durability::store::{Position, ZoneOutline};

/// The time between two questions to an archive that does not answer.
const ARCHIVE_RETRY: Duration = Duration::from_millis(500);

/// An archive that does not answer for so long ends this try: after a pause the zone is tried again, here or elsewhere.
const ARCHIVE_SILENCE_MAX: Duration = Duration::from_secs(20);

/// The time between two looks whether the store has something again.
const CONFIRM_EVERY: Duration = Duration::from_secs(1);

/// The reason why the archive is asked.
pub(super) enum Bereft {
    /// The store has lost the zone, and no shard has written it anew within the grace.
    Lost,
    /// The store says that the zone is new, and so may a store that has forgotten all.
    Empty(Box<Recovery>),
    /// The stored data has this defect, nothing whole is left of it, and it ended at this tick.
    Damaged(Damage, Tick),
}

impl Bereft {
    const fn why(&self) -> &'static str {
        match self {
            Self::Lost => "the store has lost the zone",
            Self::Empty(_) => "the store has nothing of the zone",
            Self::Damaged(..) => "the store has nothing of the zone that is whole",
        }
    }
}

/// The archive as an adoption knows it.
pub(super) struct ArchiveTerms {
    /// Ticks between two commits: the loss, if nothing says how much there was.
    interval_ticks: u64,
    silent_since: Option<Instant>,
}

/// The restoration of a zone from the archive.
pub(super) struct Restoring {
    bereft: Bereft,
    blobs: BlobRecovery,
}

impl Adoption {
    /// Takes that there is an archive, with so many ticks between commits: what the store does not have may be there.
    #[must_use]
    pub fn with_archive(mut self, interval_ticks: u64) -> Self {
        self.archive = Some(ArchiveTerms {
            interval_ticks,
            silent_since: None,
        });
        self
    }

    /// Asks the archive, if there is one, and was not asked before. Returns the reason otherwise.
    pub(super) fn turn_to_archive(&mut self, bereft: Bereft) -> Result<(), Bereft> {
        if self.archive.is_none() {
            return Err(bereft);
        }
        // Zones that need no archive do not wait for one that is slow or away.
        self.steps.note_waiting();
        self.log(AdoptionNotice::AsksArchive(bereft.why()));
        self.enter(AdoptionStep::Look(Box::new(bereft)));
        Ok(())
    }

    /// Takes what the archive has of the zone, which it answered after its fence, at `now`.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn handle_archived(&mut self, now: Instant, answer: Result<Option<ArchivedZone>, ArchiveError>) {
        let AdoptionStep::Look(bereft) = self.take_step() else {
            panic!("an archive that was not asked")
        };
        match answer {
            Ok(zone) => {
                self.note_archive();
                // Nothing stands in the way of other rules but data that ran under these.
                let may_change_rules = !matches!(*bereft, Bereft::Damaged(..));
                match zone.and_then(|zone| BlobRecovery::new(zone, may_change_rules)) {
                    Some(blobs) => {
                        let bereft = *bereft;
                        self.enter(AdoptionStep::Restore(Box::new(Restoring { bereft, blobs })));
                    }
                    None => self.go_on_without(*bereft),
                }
            }
            Err(error) => self.ask_archive_again(now, AdoptionStep::Look(bereft), error),
        }
    }

    /// Takes the part of a blob that was asked for, at `now`.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn handle_blob_part(&mut self, now: Instant, answer: Result<Option<Bytes>, ArchiveError>) {
        let AdoptionStep::Restore(mut restoring) = self.take_step() else {
            panic!("a part that was not asked for")
        };
        match restoring.blobs.handle_part(answer) {
            Ok(()) => {
                self.note_archive();
                self.enter(AdoptionStep::Restore(restoring));
            }
            Err(error) => self.ask_archive_again(now, AdoptionStep::Restore(restoring), error),
        }
    }

    /// Takes the outcome of the replay of a blob.
    pub(super) fn handle_restored(&mut self, mut restoring: Box<Restoring>, outcome: Result<Replayed, ReplayError>) {
        match outcome {
            Ok(replayed) => {
                let end = match &restoring.bereft {
                    Bereft::Damaged(_, end) => *end,
                    Bereft::Lost | Bereft::Empty(_) => Tick(0),
                };
                let restored = self.restored(replayed.last, end, restoring.blobs.given_up());
                let outcome = Box::new((replayed, restored));
                if matches!(restoring.bereft, Bereft::Damaged(..)) {
                    return self.start_restored(*outcome);
                }
                self.enter(AdoptionStep::Confirm(outcome));
            }
            Err(error) => match restoring.blobs.handle_failed(error) {
                Ok(()) => self.enter(AdoptionStep::Restore(restoring)),
                Err(error) => self.fail(error.into()),
            },
        }
    }

    /// Returns the next thing to ask for, of a zone that is being restored.
    pub(super) fn poll_restoring(restoring: &mut Restoring) -> Result<AdoptionCommand, AdoptError> {
        match restoring.blobs.poll() {
            BlobStep::Read(mark, index) => Ok(AdoptionCommand::ReadBlobPart(mark, index)),
            BlobStep::Replay(data) => Ok(AdoptionCommand::Replay(data)),
            BlobStep::Fail(damage) => Err(damage.into_error().into()),
        }
    }

    /// Goes on from the archive, since the store still has nothing at `now`. A shard that has the zone in memory comes
    /// first: it has the grace to write it anew.
    pub(super) fn confirm_restored(&mut self, now: Instant, outcome: Box<(Replayed, Restored)>) {
        if now >= self.grace_until {
            return self.start_restored(*outcome);
        }
        self.enter(AdoptionStep::Confirm(outcome));
        self.asking.wait_until((now + CONFIRM_EVERY).min(self.grace_until));
    }

    /// Starts the zone that was restored. A base of it is the first thing that is written: the store has nothing that
    /// its records would follow.
    pub(super) fn start_restored(&mut self, (replayed, restored): (Replayed, Restored)) {
        self.log(AdoptionNotice::FromArchive(restored));
        let start = Start {
            zone: replayed.zone,
            journal: Journal::orphaned(self.grant.epoch(), Position::GENESIS, replayed.last),
            chain: Vec::new(),
            quarantine: replayed.quarantine,
            moves: replayed.moves,
            rewound_ticks: restored.rewound_ticks,
        };
        let history = History::Archived(restored);
        self.queue.push_back(AdoptionCommand::Start(Box::new(start), history));
    }

    /// Goes on as without an archive: it has nothing either.
    fn go_on_without(&mut self, bereft: Bereft) {
        match bereft {
            Bereft::Lost => self.begin_again(),
            Bereft::Empty(recovery) => self.begin_new(recovery),
            Bereft::Damaged(damage, _) => self.fail(damage.into()),
        }
    }

    fn restored(&self, last: Position, end: Tick, blobs_given_up: u32) -> Restored {
        let interval_ticks = self.archive.as_ref().map_or(0, |terms| terms.interval_ticks);
        let rewound_ticks = match self.promised.max(end) {
            Tick(0) => interval_ticks,
            known => known.0.saturating_sub(last.tick.0),
        };
        Restored {
            commit: last.stamp(),
            rewound_ticks,
            interval_ticks,
            blobs_given_up,
        }
    }

    /// The archive has answered.
    fn note_archive(&mut self) {
        self.steps.note();
        self.steps.note_going_on();
        if let Some(terms) = &mut self.archive {
            terms.silent_since = None;
        }
    }

    fn ask_archive_again(&mut self, now: Instant, step: AdoptionStep, error: ArchiveError) {
        let why = match error {
            // Another process holds its fence, of this epoch or a higher one: only a claim above it may read.
            ArchiveError::Fenced { epoch } => return self.fail(AdoptError::ArchiveAhead(epoch)),
            ArchiveError::Corrupt(_) | ArchiveError::Refused(_) => return self.fail(AdoptError::Archive(error)),
            ArchiveError::Unavailable(why) => why,
        };
        let terms = self.archive.as_mut().expect("only an archive that there is was asked");
        let is_first = terms.silent_since.is_none();
        let since = *terms.silent_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= ARCHIVE_SILENCE_MAX {
            return self.fail(AdoptError::ArchiveAway(why));
        }
        self.step = step;
        self.asking.wait_until(now + ARCHIVE_RETRY);
        if is_first {
            self.log(AdoptionNotice::ArchiveUnanswered(why));
        }
    }
}

/// Whether the store says that a zone has not begun.
pub(super) const fn is_new(outline: &ZoneOutline) -> bool {
    outline.chain.is_empty() && outline.journal.is_none()
}
