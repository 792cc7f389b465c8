//! The seal at the end of a stop: the store notes that the base of the last tick is all there is of the zone. Before it
//! everything is stored, so a stop that cannot write it ends all the same, and says so. No base is made here.

use std::time::{Duration, Instant};

use super::states::{Creation, Write};
use super::{Pipeline, PipelineCommand, PipelineNotice};
use crate::durability::store::StoreError;

/// Tries at a seal. One that is not answered in two of them is no news to a store that is away, and the time of a stop
/// is short.
const TRIES_MAX: u32 = 3;

/// The wait after a try that was not answered.
const RETRY: Duration = Duration::from_millis(100);

/// The progress of a seal.
#[derive(Debug, Default)]
pub(super) struct Sealing {
    tries: u32,
    after: Option<Instant>,
    is_over: bool,
}

impl<S, R> Pipeline<S, R> {
    /// Returns the write of the seal, if it is due at `now`. The zone had its last tick, and everything is stored.
    pub(super) fn poll_seal(&mut self, now: Instant) -> Option<PipelineCommand<S, R>> {
        let is_due = self.sealing.after.is_none_or(|after| now >= after);
        // The base that is known here is one that the store has lost.
        let is_written_anew = self.journal.is_reseeding() || !matches!(self.creation, Creation::None);
        if self.sealing.is_over || self.write.is_some() || is_written_anew || !is_due {
            return None;
        }
        let last = self.journal.last();
        if !self.checkpointer.is_base(last) {
            self.end_unsealed("the base of its last tick was not stored".to_owned());
            return self.queue.pop_front();
        }
        self.sealing.tries += 1;
        self.write = Some(Write::Seal);
        Some(PipelineCommand::WriteSeal(last))
    }

    /// Whether nothing is left to be done for the seal.
    pub(super) const fn is_sealing_over(&self) -> bool {
        self.sealing.is_over
    }

    /// Takes the answer to the seal, which came at `now`.
    pub(super) fn handle_sealed(&mut self, now: Instant, answer: Result<(), StoreError>) {
        match answer {
            Ok(()) => self.sealing.is_over = true,
            // It is written anew from memory, as at any other time.
            Err(StoreError::Lost) => {
                self.sealing = Sealing::default();
                self.want_creation();
            }
            Err(StoreError::Unavailable(_)) if self.sealing.tries < TRIES_MAX => {
                self.sealing.after = Some(now + RETRY);
            }
            Err(error) => self.end_unsealed(error.to_string()),
        }
    }

    fn end_unsealed(&mut self, why: String) {
        self.sealing.is_over = true;
        self.log(Some(PipelineNotice::Unsealed(why)));
    }
}
