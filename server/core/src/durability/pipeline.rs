//! The durability pipeline of one hosted zone: journal, gate, and checkpointer as one machine. It talks to no store and
//! to no player, starts no thread, and reads no clock.
//!
//! ```text
//!            ┌─► Journal ──Append──────────► store ──handle_appended─┐
//!  handle_   │                                                       ▼
//!   tick ────┼─► Gate ◄──────────────────────────────── acknowledged tick ──Tell, Show──► players
//!            │                                                       │
//!            └─► Checkpointer ──Cut──► zone ──handle_captured──PutPart, MoveHead──► store ──handle_written
//! ```
//!
//! The driver asks for one command at a time, and says each time where the lease stands at that very moment. So the
//! check of lease and gate stands immediately before the sending: after a pause of the process at most what was being
//! sent leaves.

mod archive;
mod command;
mod creating;
mod config;
mod cuts;
mod homes;
mod rests;
mod sealing;
mod states;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use everhold_protocol::Tick;

pub use self::archive::ArchiveAnswer;
pub use self::command::{PipelineCommand, PipelineNotice, PipelineTick};
pub use self::config::PipelineConfig;
use self::homes::HomeRestore;
use self::rests::Rests;
use self::sealing::Sealing;
use self::states::{Course, Creation, Write, end_reason};
use super::archivist::Archivist;
use super::checkpoint::{CheckpointCommand, CheckpointEvent, Checkpointer};
use super::gate::{Gate, Released};
use super::journal::{Journal, JournalEvent};
use super::lag::{Lag, LagState};
use super::store::{AppendAnswer, CheckpointHead, CheckpointKind, Position, StoreError};
use super::suspended::Surrender;
use crate::limits::{SHOWN_TICKS_MAX, UNACKNOWLEDGED_TICKS_MAX};
use crate::outage::Outage;
use crate::ownership::{EndReason, LeaseState};

/// A lost data set is asked to be made anew this often.
const CREATE_RETRY: Duration = Duration::from_millis(100);

/// The pipeline of one zone under one epoch.
#[derive(Debug)]
pub struct Pipeline<S, R> {
    journal: Journal,
    gate: Gate<S, R>,
    checkpointer: Checkpointer,
    lag: Lag,
    /// Commands that come before all others, in order. Bounded: each event adds a few, and the driver drains it before
    /// the next event.
    queue: VecDeque<PipelineCommand<S, R>>,
    append_after: Option<Instant>,
    appends_fail: Outage,
    /// The position of the cut that is being encoded: the checkpointer asks for one at a time.
    cut_at: Option<Position>,
    /// The section that is to follow its bytes.
    cut_section: Vec<u8>,
    write: Option<Write>,
    write_after: Option<Instant>,
    writes_fail: Outage,
    creation: Creation,
    creates_fail: Outage,
    /// The first refusal of the data set that is being written anew, if none was taken since.
    refused_since: Option<Instant>,
    homes: HomeRestore,
    rests: Rests,
    sealing: Sealing,
    archivist: Option<Archivist>,
    /// The end of the time for which a stop waits for the archive.
    archive_until: Option<Instant>,
    course: Course,
}

impl<S, R> Pipeline<S, R> {
    /// Makes the pipeline of a zone whose journal is `journal` and whose store has the checkpoints `chain` (a base and
    /// its deltas, possibly none).
    #[must_use]
    pub fn new(config: PipelineConfig, journal: Journal, chain: &[CheckpointHead]) -> Self {
        let (acknowledged, tick) = (journal.acknowledged().tick, journal.last().tick);
        let mut pipeline = Self {
            gate: Gate::new(config.durability, journal.epoch(), acknowledged, tick),
            checkpointer: Checkpointer::new(config.checkpoints, chain, tick),
            lag: Lag::new(config.lag),
            journal,
            queue: VecDeque::new(),
            append_after: None,
            appends_fail: Outage::default(),
            cut_at: None,
            cut_section: Vec::new(),
            write: None,
            write_after: None,
            writes_fail: Outage::default(),
            creation: Creation::None,
            creates_fail: Outage::default(),
            refused_since: None,
            homes: HomeRestore::default(),
            rests: Rests::default(),
            sealing: Sealing::default(),
            archivist: None,
            archive_until: None,
            course: Course::Running,
        };
        // What is not sent is never answered with a gap.
        if pipeline.journal.lacks_records() && pipeline.journal.hold() {
            pipeline.checkpointer.handle_reseed_wanted();
        }
        pipeline
    }

    /// Takes what a tick hands on.
    ///
    /// # Panics
    /// If the tick does not follow the last one.
    pub fn handle_tick(&mut self, ticked: PipelineTick<S, R>) {
        let PipelineTick {
            record,
            snapshots,
            confirmed,
            outputs,
            moves,
            frozen,
        } = ticked;
        let tick = record.tick;
        if self.journal.push(record).is_err() {
            // The zone holds long before: only a store that goes on asking for what the ring has and never takes it
            // gets here.
            self.end(EndReason::RingFull);
            return;
        }
        self.gate.hold(tick, (confirmed, snapshots), outputs);
        self.handle_moves(tick, moves);
        self.checkpointer.handle_tick(tick);
        if let Some(frozen) = frozen {
            self.handle_frozen(frozen);
        }
    }

    /// Begins a turn of the driver's loop. Call it at least every few ticks, also while the zone does not tick.
    pub fn handle_turn(&mut self) {
        if self.is_ending() {
            return;
        }
        self.look_after_lag();
        self.look_after_archive();
        self.look_after_rests();
        let is_behind = self.journal.unacknowledged() >= UNACKNOWLEDGED_TICKS_MAX;
        if (is_behind && !self.awaits_tick()) || self.course == Course::Sealed {
            // The zone stands still because of the store, and the driver lives: the lease is worth renewing.
            self.queue.push_back(PipelineCommand::NoteAlive);
        }
        if is_behind || self.stops() {
            // A zone that stands still may have a checkpoint to write all the same.
            self.checkpointer.handle_tick(self.journal.last().tick);
        }
    }

    /// Looks whether checkpoints follow the ticks. If they have not for too long, nothing is appended until a base is
    /// stored: so the zone holds as with a store that is full, and its journal stays one that can be replayed.
    fn look_after_lag(&mut self) {
        let ticks = self.checkpoint_lag();
        if let Some(state) = self.lag.handle_ticks(ticks) {
            self.queue.push_back(PipelineCommand::LagChanged(state, ticks));
        }
        if self.lag.state() == LagState::Held && !self.journal.is_reseeding() && self.journal.hold() {
            self.checkpointer.handle_reseed_wanted();
        }
    }

    /// Returns how many ticks an adopter would have to replay.
    #[must_use]
    pub const fn checkpoint_lag(&self) -> u64 {
        self.journal.last().tick.0.saturating_sub(self.checkpointer.covered().0)
    }

    /// Takes the answer to the append, which came at `now`.
    ///
    /// # Panics
    /// If none is in flight.
    pub fn handle_appended(&mut self, now: Instant, answer: Result<AppendAnswer, StoreError>) {
        let event = self.journal.handle_answer(answer.as_ref().copied());
        let news = match answer {
            Ok(_) => self.appends_fail.end(now).map(PipelineNotice::AppendsConfirmed),
            Err(error) => {
                let lasted = self.appends_fail.note(now);
                lasted.map(|lasted| PipelineNotice::AppendFailed(error, lasted))
            }
        };
        self.log(news);
        match event {
            JournalEvent::Acknowledged { position } => self.acknowledge(position),
            JournalEvent::Retry { after_ms } => self.append_after = Some(now + Duration::from_millis(after_ms)),
            JournalEvent::Resend { from } => self.log(Some(PipelineNotice::Resending(from))),
            JournalEvent::Reseed => {
                self.log(Some(PipelineNotice::Reseeding));
                self.checkpointer.handle_reseed_wanted();
            }
            JournalEvent::Create => self.want_creation(),
            JournalEvent::Stop(reason) => self.end(end_reason(reason)),
        }
    }

    /// Takes the answer to the write of a part, of a head, or of a seal, or to the deletion of parts, which came at
    /// `now`.
    ///
    /// # Panics
    /// If none is in flight.
    pub fn handle_written(&mut self, now: Instant, answer: Result<(), StoreError>) {
        let write = self.write.take().expect("an answer belongs to a write in flight");
        match (write, answer) {
            (Write::Part, Ok(())) => self.checkpointer.handle_part_put(),
            (Write::Drop, Ok(())) => self.checkpointer.handle_parts_dropped(),
            (Write::Seal, answer) => self.handle_sealed(now, answer),
            (Write::Head, Ok(())) => {
                self.checkpointer.handle_head_moved();
                // Parts may go through where heads do not: only a whole one ends it.
                let news = self.writes_fail.end(now).map(PipelineNotice::WritesConfirmed);
                self.log(news);
            }
            (_, Err(error)) => {
                self.note_refusal(now, &error);
                let event = self.checkpointer.handle_failed(&error);
                let news = self.writes_fail.note(now);
                self.log(news.map(|lasted| PipelineNotice::WriteFailed(error, lasted)));
                match event {
                    CheckpointEvent::Later { after_ms } => {
                        self.write_after = Some(now + Duration::from_millis(after_ms));
                    }
                    CheckpointEvent::Lost => self.want_creation(),
                    CheckpointEvent::Stop(reason) => self.end(end_reason(reason)),
                }
            }
        }
    }

    /// Takes the answer to the creation of the data set, which came at `now`.
    pub fn handle_created(&mut self, now: Instant, answer: Result<(), StoreError>) {
        match answer {
            Ok(()) => {
                self.creation = Creation::None;
                let news = self.creates_fail.end(now).map(PipelineNotice::Created);
                self.log(news);
                // The event asks for what is done here in any case: a base, and soon.
                let _reseed = self.journal.handle_created();
                self.checkpointer.handle_reseed_wanted();
                self.homes.handle_wanted();
            }
            Err(StoreError::Fenced { .. }) => self.end(EndReason::Fenced),
            Err(error) => {
                self.note_refusal(now, &error);
                self.creation = Creation::After(now + CREATE_RETRY);
                let news = self.creates_fail.note(now);
                self.log(news.map(|lasted| PipelineNotice::CreateFailed(error, lasted)));
            }
        }
    }

    /// Begins a stop in good order: one last tick, a base of it, everything acknowledged, and a seal.
    pub fn handle_stop(&mut self) {
        if self.course == Course::Running {
            self.course = Course::Stopping;
        }
        self.checkpointer.handle_stop_wanted();
    }

    /// Ends the zone because a rule failed in `tick`, as `why` says; the World was thrown away.
    pub fn handle_panicked(&mut self, tick: Tick, why: String) {
        self.end(EndReason::Panicked(tick, why));
    }

    /// Notes that no more ticks will come: the last one was sealed, or the tick thread is gone.
    pub fn handle_ticks_over(&mut self) {
        match self.course {
            Course::Running => {
                let tick = self.journal.last().tick.next();
                self.end(EndReason::Panicked(tick, "the tick thread is gone".to_owned()));
            }
            Course::Stopping => self.course = Course::Sealed,
            Course::Sealed | Course::Ending(_) | Course::Over => {}
        }
    }

    /// Returns what is to be done at `now`, while the lease stands at `lease`. `None`: nothing until something happens,
    /// or time passes.
    ///
    /// Read the clock and ask the lease anew before each call, and carry the command out before the next one.
    pub fn poll_command(&mut self, now: Instant, lease: LeaseState) -> Option<PipelineCommand<S, R>> {
        match lease {
            LeaseState::Held { .. } => self.gate.open(),
            LeaseState::Paused { .. } => self.gate.close(),
            LeaseState::Suspended => self.end(EndReason::Suspended),
            LeaseState::Lost => self.end(EndReason::Fenced),
        }
        if let Some(command) = self.queue.pop_front() {
            return Some(command);
        }
        if self.is_ending() {
            return self.poll_end();
        }
        self.poll_append(now)
            .or_else(|| self.poll_creation(now))
            .or_else(|| self.poll_checkpoint(now))
            .or_else(|| self.poll_release())
            .or_else(|| self.poll_homes(now))
            .or_else(|| self.poll_rests(now))
            .or_else(|| self.poll_archive(now))
            .or_else(|| self.poll_stopped(now))
    }

    /// Returns the newest tick from which anything may have left.
    #[must_use]
    pub const fn released_tick(&self) -> Tick {
        self.gate.released_tick()
    }

    /// Returns the journal, to be kept as evidence.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Returns what is left when the zone has ended because of `reason`: one that is suspended or fenced goes on from
    /// memory, unless another shard writes newer data.
    #[must_use]
    pub fn into_surrender(self, reason: &EndReason) -> Option<Surrender> {
        let is_kept = matches!(reason, EndReason::Suspended | EndReason::Fenced | EndReason::Refused);
        let moves = self.archivist.map(Archivist::into_moves).unwrap_or_default();
        is_kept.then(|| Surrender::new(self.journal).with_moves(moves))
    }

    fn poll_append(&mut self, now: Instant) -> Option<PipelineCommand<S, R>> {
        if self.append_after.is_some_and(|after| now < after) {
            return None;
        }
        self.journal.poll_append().map(PipelineCommand::Append)
    }

    fn poll_creation(&mut self, now: Instant) -> Option<PipelineCommand<S, R>> {
        let is_due = match self.creation {
            Creation::Due => true,
            Creation::After(at) => now >= at,
            Creation::None | Creation::InFlight => false,
        };
        is_due.then(|| {
            self.creation = Creation::InFlight;
            PipelineCommand::Create
        })
    }

    fn poll_checkpoint(&mut self, now: Instant) -> Option<PipelineCommand<S, R>> {
        self.checkpointer.handle_released(self.gate.released_tick());
        let waits = self.write_after.is_some_and(|after| now < after);
        if waits || self.write.is_some() || !matches!(self.creation, Creation::None) {
            return None;
        }
        Some(match self.checkpointer.poll_command()? {
            CheckpointCommand::Cut(cut) if self.course == Course::Stopping => PipelineCommand::Seal(cut),
            CheckpointCommand::Cut(cut) => PipelineCommand::Cut(cut),
            CheckpointCommand::CaptureConfirmed(head) => {
                self.confirm(head);
                PipelineCommand::CaptureConfirmed
            }
            CheckpointCommand::CaptureFailed => PipelineCommand::CaptureFailed,
            CheckpointCommand::PutPart { position, index, bytes } => {
                self.write = Some(Write::Part);
                PipelineCommand::PutPart { position, index, bytes }
            }
            CheckpointCommand::MoveHead(head) => {
                self.write = Some(Write::Head);
                PipelineCommand::MoveHead(head)
            }
            CheckpointCommand::DropParts(position, parts) => {
                self.write = Some(Write::Drop);
                PipelineCommand::DropParts(position, parts)
            }
        })
    }

    fn poll_release(&mut self) -> Option<PipelineCommand<S, R>> {
        if let Some(told) = self.gate.poll_told() {
            return Some(PipelineCommand::Tell(told));
        }
        self.poll_shown().map(PipelineCommand::Show)
    }

    /// Polls the gate for the next snapshots. What one acknowledgement releases at once is shown in order. After a long
    /// wait for it only the end is: each datagram tells what changed in its tick, and a burst would cost more than the
    /// refreshes that repair what is left out.
    fn poll_shown(&mut self) -> Option<Released<S>> {
        while self.gate.showable_ticks() > SHOWN_TICKS_MAX {
            drop(self.gate.poll_shown());
        }
        self.gate.poll_shown()
    }

    fn poll_stopped(&mut self, now: Instant) -> Option<PipelineCommand<S, R>> {
        let is_stored =
            self.journal.unacknowledged() == 0 && self.checkpointer.is_idle() && !self.homes.holds_up_a_stop();
        if self.course != Course::Sealed || !is_stored {
            return None;
        }
        if let Some(command) = self.poll_seal(now) {
            return Some(command);
        }
        if !self.is_sealing_over() || self.archive_holds_up_a_stop(now) {
            return None;
        }
        self.end(EndReason::Stopped);
        self.poll_end()
    }

    fn poll_end(&mut self) -> Option<PipelineCommand<S, R>> {
        match std::mem::replace(&mut self.course, Course::Over) {
            Course::Ending(reason) => Some(PipelineCommand::End(reason)),
            _ => None,
        }
    }

    fn acknowledge(&mut self, position: Position) {
        self.gate.handle_acknowledged(position.tick);
        self.queue.push_back(PipelineCommand::Acknowledged(position.tick));
    }

    /// Notes that a checkpoint is the head, and what the journal may forget with it.
    fn confirm(&mut self, head: CheckpointHead) {
        if head.kind != CheckpointKind::Base {
            return;
        }
        if self.journal.is_reseeding() {
            if head.position.tick < self.journal.acknowledged().tick {
                // This base was under way before the gap was found, and does not reach over it.
                self.checkpointer.handle_reseed_wanted();
            } else if let JournalEvent::Acknowledged { position } = self.journal.handle_reseeded(head.position) {
                self.acknowledge(position);
                self.refused_since = None;
            }
        }
        self.journal.forget(head.position.tick);
        if let Some(archivist) = &mut self.archivist {
            archivist.handle_head(head.position);
        }
    }

    /// Ends the zone; the first reason counts. What was still to be done is not done; what has happened is said.
    fn end(&mut self, reason: EndReason) {
        if self.is_ending() {
            return;
        }
        self.course = Course::Ending(reason);
        self.queue
            .retain(|command| matches!(command, PipelineCommand::Log(_) | PipelineCommand::Acknowledged(_)));
    }

    fn log(&mut self, notice: Option<PipelineNotice>) {
        self.queue.extend(notice.map(PipelineCommand::Log));
    }

    /// Whether a cut was asked for, and the tick that takes it has not ended: it may be wedged.
    const fn awaits_tick(&self) -> bool {
        self.checkpointer.awaits_capture() && self.cut_at.is_none()
    }

    const fn stops(&self) -> bool {
        matches!(self.course, Course::Stopping | Course::Sealed)
    }

    const fn is_ending(&self) -> bool {
        matches!(self.course, Course::Ending(_) | Course::Over)
    }
}

#[cfg(test)]
mod tests;
