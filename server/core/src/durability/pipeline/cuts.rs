//! The cuts of a zone on their way to become bytes, on a thread of their own. What is written of them, and when, the
//! checkpointer decides.

use std::time::{Duration, Instant};

use super::command::PipelineNotice;
use super::{Pipeline, PipelineCommand};
use crate::durability::archivist::CutFacts;
use crate::zone::{Capture, Frozen};

impl<S, R> Pipeline<S, R> {
    /// Takes a cut of the zone after its last tick: of that tick, or of the zone that it sealed.
    pub fn handle_frozen(&mut self, frozen: Frozen) {
        let Some(section) = self.section(frozen.base) else {
            self.checkpointer.handle_capture_lost();
            return;
        };
        self.cut_section = section;
        self.cut_at = Some(self.journal.last());
        self.queue.push_back(PipelineCommand::Encode(frozen));
    }

    /// Takes the bytes of the cut, and the facts of its characters, if they are wanted of a base.
    ///
    /// # Panics
    /// If none was to be encoded.
    pub fn handle_captured(&mut self, mut capture: Capture, facts: CutFacts) {
        let position = self.cut_at.take().expect("only a cut is encoded");
        let (is_base, state) = (capture.base, capture.body.len());
        capture.body.append(&mut self.cut_section);
        self.checkpointer.handle_captured(position, capture);
        if let Some(archivist) = self.archivist.as_mut().filter(|_| is_base)
            && let Some(body) = self.checkpointer.captured()
        {
            // The rows of the moves are in the same commit.
            archivist.handle_cut(position, body.slice(..state), facts);
        }
    }

    /// Notes, at `now`, that the cut will not be bytes, for the reason `why`. A cut is a copy, so that the zone itself
    /// is as it was: it goes on, takes its dirty set back, and is cut again later. If that fails for long, the lag of
    /// its checkpoints is an alarm.
    ///
    /// # Panics
    /// If none was to be encoded.
    pub fn handle_capture_lost(&mut self, now: Instant, why: String) {
        self.cut_at.take().expect("only a cut is encoded");
        let after_ms = self.checkpointer.handle_capture_lost();
        self.write_after = Some(now + Duration::from_millis(after_ms));
        let news = self.writes_fail.note(now);
        self.log(news.map(|lasted| PipelineNotice::CaptureLost(why, lasted)));
    }
}
