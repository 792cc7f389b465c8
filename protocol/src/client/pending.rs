//! Intents that the zone has not confirmed, and their numbers. It does not know when they are sent.

use std::collections::VecDeque;

use crate::input::SeqIntent;
use crate::intent::Intent;
use crate::limits::{FRAME_INTENTS_MAX, UNCONFIRMED_INTENTS_MAX};

/// Numbered intents, oldest first, without gaps.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The last number given, or the last that the zone had when counting began.
    last_seq: u64,
    queue: VecDeque<SeqIntent>,
}

impl Pending {
    /// Numbers an intent, unless [`UNCONFIRMED_INTENTS_MAX`] wait already.
    pub(super) fn push(&mut self, intent: Intent) -> Option<u64> {
        if self.queue.len() >= UNCONFIRMED_INTENTS_MAX {
            return None;
        }
        let seq = self.last_seq.checked_add(1)?;
        self.last_seq = seq;
        self.queue.push_back(SeqIntent { seq, intent });
        Some(seq)
    }

    /// Returns the intents of the next frame.
    pub(super) fn frame(&self) -> Vec<SeqIntent> {
        self.in_frame().cloned().collect()
    }

    /// Returns the number of the last intent in it, 0 for none.
    pub(super) fn frame_end(&self) -> u64 {
        self.in_frame().next_back().map_or(0, |last| last.seq)
    }

    fn in_frame(&self) -> impl DoubleEndedIterator<Item = &SeqIntent> {
        self.queue.iter().take(FRAME_INTENTS_MAX)
    }

    /// Takes out the oldest intent if the zone has applied it, as it has all up to `applied_seq`.
    pub(super) fn confirm_next(&mut self, applied_seq: u64) -> Option<u64> {
        self.queue
            .pop_front_if(|oldest| oldest.seq <= applied_seq)
            .map(|confirmed| confirmed.seq)
    }

    /// Counts on from the last input that the zone has. Waiting intents are renumbered only if they do not follow it:
    /// the zone has lost the ones between, and would wait for ever for numbers that no client sends again. Intents
    /// beyond the last possible number are dropped.
    pub(super) fn count_from(&mut self, applied_seq: u64) {
        self.last_seq = applied_seq;
        let numbers_left = usize::try_from(u64::MAX - applied_seq).unwrap_or(usize::MAX);
        self.queue.truncate(numbers_left);
        for waiting in &mut self.queue {
            self.last_seq += 1;
            waiting.seq = self.last_seq;
        }
    }
}
