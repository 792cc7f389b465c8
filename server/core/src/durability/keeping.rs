//! Keeping evidence: writes the history of a zone that went wrong into its store, as a history file in parts, and seals
//! it. It asks no store itself.
//!
//! ```text
//!   Put 0 ─► Put 1 ─► … ─► Seal ─► kept
//!    │ an earlier piece is there ─► Seal ─► counted
//!    └ refused, silent three times, or over time ─► Drop ─► given up
//! ```
//!
//! Evidence is never worth a zone: whatever goes wrong with it, the zone goes on without it, and that is said. Nor is
//! it worth a long pause: all of it has one deadline, however slow the way to the store is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::asking::{ANSWER_MAX, Asking};
use super::evidence::{EvidenceAnswer, EvidenceMark, EvidenceOutcome, EvidenceWhy};
use super::history::{EvidenceNote, HistoryFrame, HistoryHeader, HistoryWorld, HistoryWriter};
use super::journal::Journal;
use super::store::StoreError;
use super::tries::RETRY;
use crate::limits::{EVIDENCE_BYTES_MAX, PART_BYTES_MAX};
use crate::ownership::Tenure;

/// Tries of one operation. The zone waits meanwhile.
const TRIES_MAX: u32 = 3;

/// Longest wait for the answer to a drop. What it leaves the next owner's fence deletes.
const DROP_ANSWER_MAX: Duration = Duration::from_secs(1);

/// An operation on the zone's store, under the owner's grant; answer with [`Keeping::handle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepCommand {
    /// Write a part of the evidence.
    Put(u32, Bytes),
    /// Seal it.
    Seal(EvidenceMark),
    /// Delete its parts. It is not tried twice.
    Drop,
}

/// The outcome of a keeping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepOutcome {
    /// It is kept.
    Kept(EvidenceMark),
    /// An earlier piece is kept already; this one is counted.
    Counted,
    /// It is not kept, for this reason.
    GivenUp(String),
    /// It is not kept, because it was not written within this time.
    OverTime(Duration),
}

impl KeepOutcome {
    /// Returns it without its reason, for a report.
    #[must_use]
    pub const fn reported(&self) -> EvidenceOutcome {
        match self {
            Self::Kept(_) => EvidenceOutcome::Kept,
            Self::Counted => EvidenceOutcome::Counted,
            Self::GivenUp(_) => EvidenceOutcome::GivenUp,
            Self::OverTime(_) => EvidenceOutcome::OverTime,
        }
    }
}

/// The step that a keeping is at.
#[derive(Debug)]
enum KeepStep {
    Put(Bytes),
    Seal,
    Drop(KeepOutcome),
    Over(KeepOutcome),
}

/// The keeping of one piece of evidence.
#[derive(Debug)]
pub struct Keeping {
    note: EvidenceNote,
    frames: VecDeque<HistoryFrame>,
    /// `None`: the end is written.
    writer: Option<HistoryWriter>,
    /// Bytes of the file that are no part yet.
    ahead: Vec<u8>,
    step: KeepStep,
    parts: u32,
    bytes: u64,
    tries: u32,
    asking: Asking,
    /// The time that all of it may take.
    max: Duration,
    /// The end of that time, from the first operation on.
    deadline: Option<Instant>,
}

impl Keeping {
    /// Begins to keep the frames, which follow the header, within `max` from the first operation on: the zone waits
    /// meanwhile. `note` says why.
    #[must_use]
    pub fn new(mut header: HistoryHeader, note: EvidenceNote, frames: VecDeque<HistoryFrame>, max: Duration) -> Self {
        header.evidence = Some(note);
        let (writer, ahead) = HistoryWriter::begin(&header);
        let mut keeping = Self {
            note,
            frames,
            writer: Some(writer),
            ahead,
            step: KeepStep::Seal,
            parts: 0,
            bytes: 0,
            tries: 0,
            asking: Asking::NEW,
            max,
            deadline: None,
        };
        keeping.step = keeping.next_step();
        keeping
    }

    /// Begins to keep what the owner of a forked zone has in memory: the records of its ring, without a checkpoint. The
    /// other history is the store's own, and its next owner goes on with it. `max` as with [`Keeping::new`].
    #[must_use]
    pub fn forked(tenure: &Tenure, world: HistoryWorld, journal: &Journal, max: Duration) -> Self {
        let header = HistoryHeader {
            zone: tenure.zone.clone(),
            fence: (tenure.epoch(), tenure.grant.nonce()),
            world,
            evidence: None,
        };
        let note = EvidenceNote {
            epoch: tenure.epoch(),
            tick: journal.acknowledged().tick.next(),
            why: EvidenceWhy::Forked,
        };
        let frames = journal.ring().map(|record| HistoryFrame::Record(record.clone()));
        Self::new(header, note, frames.collect(), max)
    }

    /// Returns the operation that is due at `now`, and the longest wait for its answer. `None`: an answer is awaited,
    /// the moment of [`Keeping::poll_timeout`], or it is over.
    pub fn poll(&mut self, now: Instant) -> Option<(KeepCommand, Duration)> {
        let deadline = *self.deadline.get_or_insert(now + self.max);
        let is_written = matches!(self.step, KeepStep::Put(_) | KeepStep::Seal);
        if is_written && now >= deadline && !self.asking.is_awaited() {
            (self.step, self.asking) = (KeepStep::Drop(KeepOutcome::OverTime(self.max)), Asking::NEW);
        }
        if !self.asking.is_due(now) {
            return None;
        }
        let left = (deadline - now).min(ANSWER_MAX);
        let command = match &self.step {
            KeepStep::Put(part) => (KeepCommand::Put(self.parts, part.clone()), left),
            KeepStep::Seal => (KeepCommand::Seal(self.mark()), left),
            KeepStep::Drop(_) => (KeepCommand::Drop, DROP_ANSWER_MAX),
            KeepStep::Over(_) => return None,
        };
        self.asking.handle_asked();
        Some(command)
    }

    /// Returns when the next operation is due that waits for time to pass.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.asking.poll_timeout()
    }

    /// Returns what it came to, once it is over.
    #[must_use]
    pub const fn outcome(&self) -> Option<&KeepOutcome> {
        match &self.step {
            KeepStep::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Takes the answer to the operation, which came at `now`. A dropped piece is answered by [`EvidenceAnswer::Kept`].
    ///
    /// # Errors
    /// The owner may write no more, or there is no data set: the zone cannot go on either.
    pub fn handle(&mut self, now: Instant, answer: Result<EvidenceAnswer, StoreError>) -> Result<(), StoreError> {
        self.asking = Asking::NEW;
        let step = std::mem::replace(&mut self.step, KeepStep::Seal);
        self.step = match (step, answer) {
            (_, Err(error @ (StoreError::Fenced { .. } | StoreError::Lost))) => return Err(error),
            (KeepStep::Put(part), Ok(EvidenceAnswer::Kept)) => {
                self.parts += 1;
                self.bytes += part.len() as u64;
                self.tries = 0;
                self.next_step()
            }
            (KeepStep::Put(_), Ok(EvidenceAnswer::Counted)) => KeepStep::Seal,
            (KeepStep::Seal, Ok(EvidenceAnswer::Kept)) => KeepStep::Over(KeepOutcome::Kept(self.mark())),
            (KeepStep::Seal, Ok(EvidenceAnswer::Counted)) => KeepStep::Over(KeepOutcome::Counted),
            (KeepStep::Drop(outcome), _) => KeepStep::Over(outcome),
            (step @ KeepStep::Over(_), _) => step,
            (step, Err(StoreError::Unavailable(_))) if self.tries + 1 < TRIES_MAX => {
                self.tries += 1;
                self.asking.wait_until(now + self.pause());
                step
            }
            (_, Err(error)) => KeepStep::Drop(KeepOutcome::GivenUp(error.to_string())),
        };
        Ok(())
    }

    fn pause(&self) -> Duration {
        RETRY * self.tries
    }

    fn mark(&self) -> EvidenceMark {
        let EvidenceNote { epoch, tick, why } = self.note;
        EvidenceMark {
            epoch,
            tick,
            why,
            parts: self.parts,
            bytes: self.bytes,
        }
    }

    /// Returns the step after the parts so far: another part, while there are bytes.
    fn next_step(&mut self) -> KeepStep {
        if self.bytes > EVIDENCE_BYTES_MAX {
            let why = format!("it has more than {EVIDENCE_BYTES_MAX} bytes");
            return KeepStep::Drop(KeepOutcome::GivenUp(why));
        }
        while self.ahead.len() < PART_BYTES_MAX
            && let Some(mut writer) = self.writer.take()
        {
            match self.frames.pop_front() {
                Some(frame) => {
                    writer.frame(&frame, &mut self.ahead);
                    self.writer = Some(writer);
                }
                None => _ = writer.finish(&mut self.ahead),
            }
        }
        if self.ahead.is_empty() {
            return KeepStep::Seal;
        }
        let rest = self.ahead.split_off(self.ahead.len().min(PART_BYTES_MAX));
        KeepStep::Put(std::mem::replace(&mut self.ahead, rest).into())
    }
}

#[cfg(test)]
mod tests;
