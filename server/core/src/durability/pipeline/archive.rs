//! The write-behind of a pipeline's zone into the archive, if it has one. What is written, and when, the archivist
//! decides.

use std::time::{Duration, Instant};

use everhold_protocol::Tick;

use super::{Pipeline, PipelineCommand};
use crate::durability::archive::{ArchiveError, ArchivedZone, CommitAnswer};
use crate::durability::archivist::{Archivist, ArchivistConfig};
use crate::durability::pending_moves::PendingMoves;
use crate::zone::ValueMove;

/// A stop waits no longer for the archive: a commit takes a fraction of that, and players wait for the next owner.
const STOP_MAX: Duration = Duration::from_secs(3);

/// The answer of an archive to what an archivist asked.
#[derive(Debug)]
pub enum ArchiveAnswer {
    /// To a fence.
    Fenced(Result<(), ArchiveError>),
    /// To a look.
    Zone(Result<Option<ArchivedZone>, ArchiveError>),
    /// To a part of a blob.
    PartPut(Result<(), ArchiveError>),
    /// To a commit.
    Committed(Result<CommitAnswer, ArchiveError>),
}

impl<S, R> Pipeline<S, R> {
    /// Has the zone written behind into an archive, from where it is adopted now, with the moves of value of owners
    /// before.
    #[must_use]
    pub fn with_archive(mut self, config: ArchivistConfig, moves: PendingMoves) -> Self {
        let (epoch, last) = (self.journal.epoch(), self.journal.last());
        self.archivist = Some(Archivist::new(config, epoch, last, moves));
        self
    }

    /// Takes a tick's moves of value. Once they were added up, only a base tells all of them.
    pub(super) fn handle_moves(&mut self, tick: Tick, moves: Vec<ValueMove>) {
        if let Some(archivist) = &mut self.archivist
            && archivist.handle_moves(tick, moves)
        {
            self.checkpointer.handle_base_wanted();
        }
    }

    /// Returns the section that is to follow the bytes of a cut made now, which stands alone or is a delta on the head.
    /// `None`: such a delta cannot tell its moves of value.
    pub(super) fn section(&self, is_base: bool) -> Option<Vec<u8>> {
        let Some(archivist) = &self.archivist else {
            return Some(Vec::new());
        };
        let head = self.checkpointer.head().filter(|_| !is_base);
        archivist.section(head.map(|head| head.tick))
    }

    /// Takes the archive's answer, which came at `now`.
    ///
    /// # Panics
    /// If nothing was asked.
    pub fn handle_archived(&mut self, now: Instant, answer: ArchiveAnswer) {
        let archivist = self.archivist.as_mut().expect("an answer belongs to a question");
        match answer {
            ArchiveAnswer::Fenced(answer) => archivist.handle_fenced(now, answer),
            ArchiveAnswer::Zone(answer) => archivist.handle_zone(now, answer),
            ArchiveAnswer::PartPut(answer) => archivist.handle_part_put(now, answer),
            ArchiveAnswer::Committed(answer) => archivist.handle_committed(now, answer),
        }
    }

    /// Returns how many ticks the archive is behind the zone. `None`: it has none.
    #[must_use]
    pub fn archive_lag(&self) -> Option<u64> {
        let tick = self.journal.last().tick;
        self.archivist.as_ref().map(|archivist| archivist.lag_ticks(tick))
    }

    /// Judges the lag of the archive, and has a base cut if it is due for one.
    pub(super) fn look_after_archive(&mut self) {
        let (tick, is_idle) = (self.journal.last().tick, self.checkpointer.is_idle());
        if let Some(archivist) = &mut self.archivist {
            archivist.handle_tick(tick);
        }
        let wants_base = |archivist: &mut Archivist| is_idle && archivist.poll_base(tick);
        let is_wanted = self.archivist.as_mut().is_some_and(wants_base);
        if is_wanted {
            self.checkpointer.handle_base_wanted();
        }
    }

    /// Returns what is to be done for the archive.
    pub(super) fn poll_archive(&mut self, now: Instant) -> Option<PipelineCommand<S, R>> {
        let archivist = self.archivist.as_mut()?;
        if let Some(notice) = archivist.poll_notice() {
            return Some(PipelineCommand::LogArchive(notice));
        }
        archivist.poll_command(now).map(PipelineCommand::Archive)
    }

    /// Whether a stop waits for the archive, at `now`: everything is stored and sealed, and the archive may take it
    /// yet.
    pub(super) fn archive_holds_up_a_stop(&mut self, now: Instant) -> bool {
        let until = *self.archive_until.get_or_insert(now + STOP_MAX);
        now < until && self.archivist.as_ref().is_some_and(Archivist::holds_up_a_stop)
    }
}
