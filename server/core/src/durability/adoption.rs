//! Adoption: the way of a granted zone from the fence to its first tick. It asks no store and replays nothing itself,
//! and reads no clock.
//!
//! ```text
//!   memory ─► Fence ─► Summarize ──────────────► Start, from memory
//!                          │ newer data             ▲
//!                          ▼                        │ that is not whole
//!   none ──► FenceAndRead ──► pages ──► Replay ──► Keep ──► Rewind ──► Start, from the store
//!            │  ▲ │ lost,     ▲  ▲ damaged │ ▲
//!            │  └─┘ in grace  │  └─────────┤ │
//!            └─► BeginAnew ───┘            ▼ │
//!                             Quarantine, ReadKept
//! ```
//! Where the store has nothing, or nothing whole, the archive may have something: `archived` says how it is asked.
//!
//! The fence comes first: a shard that reads before it can be overtaken by the old owner's next write. A data set that
//! the store has lost cannot be fenced, and one that its owner writes anew from memory is not to be: an adopter that
//! has nothing itself waits for the grace, and does not shut that owner out. One command is under way at a time. Each
//! is asked for under a lease that lasts: an adoption whose lease is over ends there. What this process has in memory
//! stays where it is until it is hosted, or newer data has proved whole, so that no failure of an adoption, no panic,
//! and no damage of that data takes it away. Evidence is kept if a digest of the replay differs, and the history is
//! rewound if something in it is damaged. The [`Recovery`] says what is read.

mod archived;
mod command;
mod divergence;
mod kept;
mod outcome;
mod takeover;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use everhold_protocol::{SessionId, Tick};

use self::archived::{ArchiveTerms, Bereft, Restoring};
pub use self::command::{
    AdoptError, AdoptionCommand, AdoptionNotice, FromMemory, History, POISON_MAX, Restored, Start,
};
use self::divergence::DivergentZone;
pub use self::kept::KeptFile;
use self::kept::KeptRules;
pub use super::asking::ANSWER_MAX;
use super::asking::Asking;
use super::evidence::EvidenceOutcome;
use super::recovery::{PageRequest, Recovered, Recovery, RecoveryStep};
use super::replay::{ReplayError, Replayed};
use super::store::{Rewind, StoreError, StoredRecord, ZoneOutline, ZoneSummary};
use super::suspended::is_newest;
use super::tries::RETRY;
use crate::ownership::{AdoptionSteps, DataStamp, Grant, LeaseState, RulesId, RulesStamp};

/// The step that an adoption is at.
enum AdoptionStep {
    /// It fences the store for a memory that ends here.
    Fence(DataStamp),
    /// It asks whether a memory that ends here is the newest history.
    Summary(DataStamp),
    /// It fences the store and reads the zone's outline.
    Read {
        /// The moment until which a zone that the store has lost may come back.
        grace_until: Instant,
        /// It was lost before.
        is_said: bool,
    },
    /// It begins a lost zone again.
    Begin,
    /// It fences the archive and asks what that has of the zone.
    Look(Box<Bereft>),
    /// It reads a blob of the archive, or has it replayed.
    Restore(Box<Restoring>),
    /// It asks whether the store still has nothing, before the zone goes on from the archive.
    Confirm(Box<(Replayed, Restored)>),
    /// It asks which rules the world is to run.
    Wanted(Box<Recovery>),
    /// It asks for the world file of the rules that the zone ran: a replay under this process's failed so.
    Kept(Box<Recovery>, RulesId, ReplayError),
    /// It reads a page, or has the zone replayed.
    Recover(Box<Recovery>),
    /// It writes down the input at which the replay failed.
    Quarantine(Box<Recovery>, (Tick, SessionId, u64)),
    /// It keeps the history of a divergent zone as evidence.
    Keep(Box<DivergentZone>),
    /// It has the store end its history where the zone goes on.
    Rewind(Box<(Replayed, Recovered)>, Rewind),
    /// The driver has the outcome, or is about to.
    Over,
}

/// The adoption of one zone under one grant.
pub struct Adoption {
    grant: Grant,
    rules: Option<RulesStamp>,
    kept: KeptRules,
    reseed_grace: Duration,
    step: AdoptionStep,
    asking: Asking,
    steps: AdoptionSteps,
    is_lost: bool,
    /// The moment until which a shard that has the zone in memory comes first.
    grace_until: Instant,
    archive: Option<ArchiveTerms>,
    promised: Tick,
    poisoned: u32,
    evidence: Option<EvidenceOutcome>,
    /// The end of what this process has in memory, if the store has newer data: it is kept until that proves whole.
    memory: Option<DataStamp>,
    /// Commands that come before the step's own, in order: a few lines of the log, and the outcome.
    queue: VecDeque<AdoptionCommand>,
}

impl Adoption {
    /// The lease is to be looked at this often while an answer is awaited: an adoption that is given up ends soon.
    pub const LOOK_EVERY: Duration = Duration::from_secs(1);

    /// Begins, at `now`, the adoption under `grant` of a zone that this process has suspended, or not: `memory` is the
    /// end of what it has in memory. Its steps are counted in `steps`.
    ///
    /// If the store has lost the zone, it may come back (a disk that is mounted, a backup that is restored); only after
    /// `reseed_grace` is the zone begun again. A shard that had the zone in memory needs no such grace here: it claims
    /// its own lease before a spare may.
    #[must_use]
    pub fn new(
        now: Instant,
        grant: Grant,
        reseed_grace: Duration,
        memory: Option<DataStamp>,
        steps: AdoptionSteps,
    ) -> Self {
        let read = AdoptionStep::Read {
            grace_until: now + reseed_grace,
            is_said: false,
        };
        Self {
            grant,
            rules: None,
            kept: KeptRules::NotAsked,
            reseed_grace,
            step: memory.map_or(read, AdoptionStep::Fence),
            asking: Asking::NEW,
            steps,
            is_lost: false,
            grace_until: now + reseed_grace,
            archive: None,
            promised: Tick(0),
            poisoned: 0,
            evidence: None,
            memory: None,
            queue: VecDeque::new(),
        }
    }

    /// Takes the last tick that the store acknowledged, as an earlier owner left word: what the store lacks of it is
    /// lost.
    #[must_use]
    pub const fn promised(mut self, tick: Tick) -> Self {
        self.promised = tick;
        self
    }

    /// Returns what is to be done at `now`, while the lease stands at `lease`. `None`: an answer is awaited, or the
    /// moment of [`Adoption::poll_timeout`].
    ///
    /// An answer that is awaited when the lease is over is of no use any more: the adoption fails without it.
    pub fn poll_command(&mut self, now: Instant, lease: LeaseState) -> Option<AdoptionCommand> {
        if lease.is_over() && !matches!(self.step, AdoptionStep::Over) {
            self.fail(AdoptError::LeaseOver);
        }
        if let Some(command) = self.queue.pop_front() {
            return Some(command);
        }
        if !self.asking.is_due(now) {
            return None;
        }
        let command = match &mut self.step {
            AdoptionStep::Fence(_) => AdoptionCommand::Fence,
            AdoptionStep::Summary(_) => AdoptionCommand::Summarize,
            AdoptionStep::Read { .. } => AdoptionCommand::FenceAndRead,
            AdoptionStep::Begin => AdoptionCommand::BeginAnew,
            AdoptionStep::Look(_) => AdoptionCommand::FenceArchive,
            AdoptionStep::Restore(restoring) => match Self::poll_restoring(restoring) {
                Ok(command) => command,
                Err(error) => {
                    self.fail(error);
                    return self.queue.pop_front();
                }
            },
            AdoptionStep::Confirm(_) => AdoptionCommand::FenceAndRead,
            AdoptionStep::Wanted(_) => AdoptionCommand::ReadWanted,
            AdoptionStep::Kept(_, id, _) => AdoptionCommand::ReadKept(*id),
            AdoptionStep::Recover(recovery) => match recovery.poll() {
                RecoveryStep::Read(PageRequest::Parts(parts)) => AdoptionCommand::ReadParts(parts),
                RecoveryStep::Read(PageRequest::Records(from, ticks)) => AdoptionCommand::ReadRecords(from, ticks),
                RecoveryStep::Replay(data) => AdoptionCommand::Replay(data),
                RecoveryStep::Fail(damage) => {
                    let end = recovery.end();
                    self.fail_damaged(damage, end);
                    return self.poll_command(now, lease);
                }
            },
            AdoptionStep::Quarantine(_, (tick, session, seq)) => AdoptionCommand::Quarantine(*tick, *session, *seq),
            AdoptionStep::Keep(zone) => {
                let (keep, max) = zone.poll(now)?;
                AdoptionCommand::Keep(keep, max)
            }
            AdoptionStep::Rewind(_, to) => AdoptionCommand::Rewind(*to),
            AdoptionStep::Over => return None,
        };
        self.asking.handle_asked();
        Some(command)
    }

    /// Returns when the next command is due that waits for time to pass.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.asking.poll_timeout()
    }

    /// Returns the count of the adoption's steps.
    #[must_use]
    pub fn steps(&self) -> AdoptionSteps {
        self.steps.clone()
    }

    /// Takes the answer to the fence for the zone in memory, which came at `now`.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn handle_fenced(&mut self, now: Instant, answer: Result<(), StoreError>) {
        let AdoptionStep::Fence(memory) = self.take_step() else {
            panic!("a fence that was not asked for")
        };
        self.note_answer(&answer);
        match answer {
            Ok(()) => self.enter(AdoptionStep::Summary(memory)),
            // Memory is all there is: the host has the data set made anew at its first append, which fences it.
            Err(StoreError::Lost) => self.go_on_from(memory),
            Err(error) => self.ask_again(now, AdoptionStep::Fence(memory), error),
        }
    }

    /// Takes the store's summary of the zone, which came at `now`.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn handle_summary(&mut self, now: Instant, answer: Result<Option<ZoneSummary>, StoreError>) {
        let AdoptionStep::Summary(memory) = self.take_step() else {
            panic!("a summary that was not asked for")
        };
        self.note_answer(&answer);
        match is_newest(memory, answer) {
            Ok(true) => self.go_on_from(memory),
            Ok(false) => {
                self.memory = Some(memory);
                self.enter(AdoptionStep::Read {
                    grace_until: now + self.reseed_grace,
                    is_said: false,
                });
            }
            Err(error) => self.ask_again(now, AdoptionStep::Summary(memory), error),
        }
    }

    /// Takes the outline that was read of the zone, or of one that was begun anew, at `now`.
    ///
    /// # Panics
    /// If neither was asked for.
    pub fn handle_read(&mut self, now: Instant, answer: Result<ZoneOutline, StoreError>) {
        self.note_answer(&answer);
        match (self.take_step(), answer) {
            (AdoptionStep::Confirm(outcome), Ok(outline)) if archived::is_new(&outline) => {
                self.confirm_restored(now, outcome);
            }
            (AdoptionStep::Confirm(outcome), Err(StoreError::Lost)) => self.confirm_restored(now, outcome),
            (AdoptionStep::Read { .. } | AdoptionStep::Begin | AdoptionStep::Confirm(_), Ok(outline)) => {
                self.begin_recovery(outline);
            }
            (AdoptionStep::Read { grace_until, is_said }, Err(StoreError::Lost)) if now < grace_until => {
                if !is_said {
                    self.log(AdoptionNotice::Lost);
                }
                self.enter(AdoptionStep::Read {
                    grace_until,
                    is_said: true,
                });
                self.asking.wait_until(now + RETRY);
            }
            (AdoptionStep::Read { .. }, Err(StoreError::Lost)) => {
                if let Some(memory) = self.memory {
                    return self.go_on_from(memory);
                }
                if self.turn_to_archive(Bereft::Lost).is_err() {
                    self.begin_again();
                }
            }
            (step @ (AdoptionStep::Read { .. } | AdoptionStep::Begin | AdoptionStep::Confirm(_)), Err(error)) => {
                self.ask_again(now, step, error);
            }
            _ => panic!("a zone that was not asked for"),
        }
    }

    /// Begins a zone again that the store has lost, with no memory of it in any shard.
    fn begin_again(&mut self) {
        self.is_lost = true;
        self.log(AdoptionNotice::BeginsAgain);
        self.enter(AdoptionStep::Begin);
    }

    /// Takes the parts that were asked for, at `now`.
    ///
    /// # Panics
    /// If none were.
    pub fn handle_parts(&mut self, now: Instant, answer: Result<Vec<Option<Bytes>>, StoreError>) {
        self.handle_page(now, answer, Recovery::handle_parts);
    }

    /// Takes the records that were asked for, at `now`.
    ///
    /// # Panics
    /// If none were.
    pub fn handle_records(&mut self, now: Instant, answer: Result<Vec<StoredRecord>, StoreError>) {
        self.handle_page(now, answer, Recovery::handle_records);
    }

    fn handle_page<T>(&mut self, now: Instant, answer: Result<T, StoreError>, take: impl FnOnce(&mut Recovery, T)) {
        let AdoptionStep::Recover(mut recovery) = self.take_step() else {
            panic!("a page that was not asked for")
        };
        self.note_answer(&answer);
        match answer {
            Ok(page) => {
                take(&mut recovery, page);
                self.enter(AdoptionStep::Recover(recovery));
            }
            Err(error) => match recovery.handle_unread(error) {
                // A smaller page is progress as well: the tries are those of the smallest.
                Ok(()) => self.enter(AdoptionStep::Recover(recovery)),
                Err(error) => self.ask_again(now, AdoptionStep::Recover(recovery), error),
            },
        }
    }

    /// Takes the replay's outcome. A stored input at which the zone fails here, though it did not where it was stepped
    /// first (another build did that), is quarantined like one that fails now: it costs that input, not the zone. What
    /// is damaged is tried otherwise.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn handle_replayed(&mut self, outcome: Result<Replayed, ReplayError>) {
        let mut recovery = match self.take_step() {
            AdoptionStep::Recover(recovery) => recovery,
            AdoptionStep::Restore(restoring) => return self.handle_restored(restoring, outcome),
            _ => panic!("a replay that was not asked for"),
        };
        match outcome {
            Ok(replayed) => match recovery.handle_replayed(&replayed) {
                Ok(None) => self.enter(AdoptionStep::Recover(recovery)),
                Ok(Some(recovered)) => match (self.memory, recovery.first_damage()) {
                    (Some(memory), Some(damage)) if replayed.last.stamp() <= memory => {
                        let (damage, end) = (damage.clone(), recovery.end());
                        self.go_back(memory, &damage, end);
                    }
                    _ => self.diverge_or_conclude(recovery, replayed, recovered),
                },
                Err(damage) => self.fail(damage.into()),
            },
            Err(ReplayError::Poison {
                tick,
                suspect: Some((session, seq)),
                reason,
            }) => {
                self.log(AdoptionNotice::Poison {
                    tick,
                    session,
                    seq,
                    reason,
                });
                self.enter(AdoptionStep::Quarantine(recovery, (tick, session, seq)));
            }
            Err(error) => self.handle_unreplayed(recovery, error),
        }
    }

    /// Takes the answer to the rewind, which came at `now`.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn handle_rewound(&mut self, now: Instant, answer: Result<(), StoreError>) {
        let AdoptionStep::Rewind(outcome, to) = self.take_step() else {
            panic!("a rewind that was not asked for")
        };
        self.note_answer(&answer);
        match answer {
            Ok(()) => self.start(outcome.0, outcome.1),
            Err(error) => self.ask_again(now, AdoptionStep::Rewind(outcome, to), error),
        }
    }

    /// Gives the zone up because its replay did not end, for the reason `error`.
    pub fn handle_replay_lost(&mut self, error: Box<dyn std::error::Error + Send + Sync>) {
        self.fail(AdoptError::Unfinished(error));
    }

    /// Takes the answer to the quarantine of the input at which the replay failed, which came at `now`.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn handle_quarantined(&mut self, now: Instant, answer: Result<(), StoreError>) {
        let AdoptionStep::Quarantine(mut recovery, poison) = self.take_step() else {
            panic!("a quarantine that was not asked for")
        };
        self.note_answer(&answer);
        match answer {
            Ok(()) => {
                let (_, session, seq) = poison;
                recovery.quarantine(session, seq);
                self.poisoned += 1;
                if self.poisoned < POISON_MAX {
                    self.enter(AdoptionStep::Recover(recovery));
                } else {
                    self.fail(AdoptError::PoisonedTooOften);
                }
            }
            Err(error) => self.ask_again(now, AdoptionStep::Quarantine(recovery, poison), error),
        }
    }

    fn ask_again(&mut self, now: Instant, step: AdoptionStep, error: StoreError) {
        match self.asking.handle_error(now, error) {
            Ok(news) => {
                self.step = step;
                if let Some(why) = news {
                    self.log(AdoptionNotice::Unanswered(why));
                }
            }
            Err(error) => self.fail(error.into()),
        }
    }

    /// Counts an answer. Silence is no step.
    fn note_answer<T>(&self, answer: &Result<T, StoreError>) {
        if !matches!(answer, Err(StoreError::Unavailable(_))) {
            self.steps.note();
        }
    }

    fn enter(&mut self, step: AdoptionStep) {
        (self.step, self.asking) = (step, Asking::NEW);
    }

    fn take_step(&mut self) -> AdoptionStep {
        std::mem::replace(&mut self.step, AdoptionStep::Over)
    }

    fn fail(&mut self, error: AdoptError) {
        self.step = AdoptionStep::Over;
        self.queue.push_back(AdoptionCommand::Fail(error));
    }

    fn log(&mut self, notice: AdoptionNotice) {
        self.queue.push_back(AdoptionCommand::Log(notice));
    }
}

#[cfg(test)]
mod tests;
