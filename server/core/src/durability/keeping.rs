//! Keeping evidence: writes the history of a zone that went wrong into its store, as a history file in parts, and seals
//! it. It asks no store itself.
//!
//! ```text
//!   Put 0 ─► Put 1 ─► … ─► Seal ─► kept
//!    │ an earlier piece is there ─► Seal ─► counted
//!    └ refused, or silent three times ─► Drop ─► given up
//! ```
//!
//! Evidence is never worth a zone: whatever goes wrong with it, the zone goes on without it, and that is said.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::evidence::{EvidenceAnswer, EvidenceMark, EvidenceOutcome, EvidenceWhy};
use super::history::{EvidenceNote, HistoryFrame, HistoryHeader, HistoryWorld, HistoryWriter};
use super::journal::Journal;
use super::store::StoreError;
use super::tries::RETRY;
use crate::limits::{EVIDENCE_BYTES_MAX, PART_BYTES_MAX};
use crate::ownership::Tenure;

/// Tries of one operation. The zone waits meanwhile.
const TRIES_MAX: u32 = 3;

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
}

impl KeepOutcome {
    /// Returns it without its reason, for a report.
    #[must_use]
    pub const fn reported(&self) -> EvidenceOutcome {
        match self {
            Self::Kept(_) => EvidenceOutcome::Kept,
            Self::Counted => EvidenceOutcome::Counted,
            Self::GivenUp(_) => EvidenceOutcome::GivenUp,
        }
    }
}

/// The step that a keeping is at.
#[derive(Debug)]
enum KeepStep {
    Put(Bytes),
    Seal,
    Drop(String),
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
    is_asked: bool,
    ask_at: Option<Instant>,
}

impl Keeping {
    /// Begins to keep the frames, which follow the header. `note` says why.
    #[must_use]
    pub fn new(mut header: HistoryHeader, note: EvidenceNote, frames: VecDeque<HistoryFrame>) -> Self {
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
            is_asked: false,
            ask_at: None,
        };
        keeping.step = keeping.next_step();
        keeping
    }

    /// Begins to keep what the owner of a forked zone has in memory: the records of its ring, without a checkpoint. The
    /// other history is the store's own, and its next owner goes on with it.
    #[must_use]
    pub fn forked(tenure: &Tenure, world: HistoryWorld, journal: &Journal) -> Self {
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
        Self::new(header, note, frames.collect())
    }

    /// Returns the operation that is due at `now`. `None`: an answer is awaited, the moment of
    /// [`Keeping::poll_timeout`], or it is over.
    pub fn poll(&mut self, now: Instant) -> Option<KeepCommand> {
        if self.is_asked || self.ask_at.is_some_and(|at| now < at) {
            return None;
        }
        let command = match &self.step {
            KeepStep::Put(part) => KeepCommand::Put(self.parts, part.clone()),
            KeepStep::Seal => KeepCommand::Seal(self.mark()),
            KeepStep::Drop(_) => KeepCommand::Drop,
            KeepStep::Over(_) => return None,
        };
        self.is_asked = true;
        Some(command)
    }

    /// Returns when the next operation is due that waits for time to pass.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ask_at.filter(|_| !self.is_asked)
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
        (self.is_asked, self.ask_at) = (false, None);
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
            (KeepStep::Drop(why), _) => KeepStep::Over(KeepOutcome::GivenUp(why)),
            (step @ KeepStep::Over(_), _) => step,
            (step, Err(StoreError::Unavailable(_))) if self.tries + 1 < TRIES_MAX => {
                self.tries += 1;
                self.ask_at = Some(now + self.pause());
                step
            }
            (_, Err(error)) => KeepStep::Drop(error.to_string()),
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
            return KeepStep::Drop(format!("it has more than {EVIDENCE_BYTES_MAX} bytes"));
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
