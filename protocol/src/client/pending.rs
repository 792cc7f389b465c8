//! Intents that are not confirmed, and their numbers. It does not know when they are sent.
//!
//! An intent is *applied* when a snapshot shows it, and need not be sent to that owner again; it is *confirmed* when
//! the tick of that snapshot is stored. Until then it is kept: what an owner has shown may die with it, and the next
//! one is sent the intent again.

use std::collections::VecDeque;

use crate::ids::Tick;
use crate::input::SeqIntent;
use crate::intent::Intent;
use crate::limits::{FRAME_INTENTS_MAX, UNCONFIRMED_INTENTS_MAX};

/// Numbered intents, oldest first, without gaps.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The last number given, or the last that the zone had when counting began.
    last_seq: u64,
    queue: VecDeque<SeqIntent>,
    /// The last number that the owner is known to have applied.
    applied_seq: u64,
    /// Ticks that are not confirmed and the last number that each had applied, both rising. At most one for each intent
    /// of the queue.
    applied: VecDeque<(Tick, u64)>,
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

    /// Returns the intents of the next frame: those that the owner does not have.
    pub(super) fn frame(&self) -> Vec<SeqIntent> {
        self.in_frame().cloned().collect()
    }

    /// Returns the number of the last intent in it, 0 for none.
    pub(super) fn frame_end(&self) -> u64 {
        self.in_frame().next_back().map_or(0, |last| last.seq)
    }

    fn in_frame(&self) -> impl DoubleEndedIterator<Item = &SeqIntent> {
        let from = self.queue.partition_point(|intent| intent.seq <= self.applied_seq);
        self.queue.range(from..).take(FRAME_INTENTS_MAX)
    }

    /// Notes that the owner has applied all intents up to this one by `tick`, and has stored all ticks up to
    /// `confirmed`. Ticks come in order. Returns the last intent that is confirmed by that, if any is.
    pub(super) fn handle_shown(&mut self, tick: Tick, confirmed: Tick, applied_seq: u64) -> Option<u64> {
        let applied_seq = applied_seq.min(self.last_seq);
        if applied_seq > self.applied_seq {
            self.applied_seq = applied_seq;
            self.applied.push_back((tick, applied_seq));
        }
        let mut last = None;
        while let Some((_, seq)) = self.applied.pop_front_if(|(tick, _)| *tick <= confirmed) {
            last = Some(seq);
        }
        last
    }

    /// Takes out the oldest intent if it is confirmed, as all up to `confirmed_seq` are.
    pub(super) fn confirm_next(&mut self, confirmed_seq: u64) -> Option<u64> {
        self.queue
            .pop_front_if(|oldest| oldest.seq <= confirmed_seq)
            .map(|confirmed| confirmed.seq)
    }

    /// Counts on from the last input that the next owner has. Waiting intents are renumbered only if they do not follow
    /// it: the zone has lost the ones between, and would wait for ever for numbers that no client sends again. Intents
    /// beyond the last possible number are dropped.
    pub(super) fn count_from(&mut self, applied_seq: u64) {
        (self.last_seq, self.applied_seq) = (applied_seq, applied_seq);
        self.applied.clear();
        let numbers_left = usize::try_from(u64::MAX - applied_seq).unwrap_or(usize::MAX);
        self.queue.truncate(numbers_left);
        for waiting in &mut self.queue {
            self.last_seq += 1;
            waiting.seq = self.last_seq;
        }
    }
}
