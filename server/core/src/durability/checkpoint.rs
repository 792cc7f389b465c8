//! Decides when a zone is captured, and brings the capture into the store. It captures and writes nothing itself and
//! reads no clock.
//!
//! ```text
//!   Idle ─► Cutting ─► Waiting ─► Writing ─► Moving ─► Idle
//!              the tick   until     parts of    the head: the one atomic step
//!              thread     the tick  ≤ 64 KiB │
//!              captures   is released        └─► Dropping ─► Idle
//!                                      given up: its parts are deleted
//! ```
//!
//! One is in flight. A write that is not answered is unknown, never a no: the same part, or the same head, is written
//! again. A checkpoint that is given up gives the zone its dirty set back ([`CheckpointCommand::CaptureFailed`]), its
//! parts are deleted, for a store that is full needs the room, and another attempt follows later, each time after a
//! longer wait.

mod command;

use std::collections::VecDeque;

use bytes::Bytes;
use everhold_protocol::Tick;

pub use self::command::{CheckpointCommand, CheckpointEvent};
use super::journal::StopReason;
use super::store::{CheckpointHead, CheckpointKind, Position, StoreError};
use crate::limits::PART_BYTES_MAX;
use crate::zone::{Capture, Cut};

/// Attempts, after the first, at one part, one move of the head, or one deletion, while the store does not answer. The
/// outcome is unknown until then. Afterwards a base settles where the head is, and deletes what was left.
const ATTEMPTS_MAX: u32 = 8;

/// The wait after a failure doubles up to this power of two: from a second to a minute, and for a base that replaces
/// records from a tenth of a second to six.
const BACK_OFF_MAX: u32 = 6;

/// Intervals of checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CheckpointConfig {
    /// Ticks between two checkpoints: bounds the records that an adopter replays.
    pub delta_ticks: u64,
    /// Ticks after which a base follows even if little changed: bounds the deltas that an adopter reads.
    pub base_ticks: u64,
    /// Ticks until another attempt after a first failure.
    pub retry_ticks: u64,
}

impl CheckpointConfig {
    /// Returns defaults: a delta every 5 s, a base at least every minute, another attempt after 1 s. A shard's
    /// configuration replaces the first two.
    #[must_use]
    pub const fn new(tick_hz: u16) -> Self {
        let hz = tick_hz as u64;
        Self {
            delta_ticks: 5 * hz,
            base_ticks: 60 * hz,
            retry_ticks: hz,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum CheckpointState {
    Idle,
    Cutting {
        cut: Cut,
        is_sent: bool,
    },
    Waiting {
        head: CheckpointHead,
        body: Bytes,
    },
    Writing {
        head: CheckpointHead,
        body: Bytes,
        index: u32,
        attempts: u32,
        is_sent: bool,
    },
    Moving {
        head: CheckpointHead,
        attempts: u32,
        is_sent: bool,
    },
    Dropping {
        head: CheckpointHead,
        attempts: u32,
        is_sent: bool,
    },
}

/// The checkpoints of one zone under one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpointer {
    config: CheckpointConfig,
    state: CheckpointState,
    /// The store's head, as far as is known.
    head: Option<Position>,
    /// The last tick that it covers. Without a head the tick of the adoption: a base follows at once.
    covered: Tick,
    base_tick: Tick,
    base_bytes: u64,
    /// Bytes of all deltas since the base.
    delta_bytes: u64,
    /// The tick at which the next one is cut.
    next_at: Tick,
    tick: Tick,
    released_tick: Tick,
    is_base_next: bool,
    /// Whether only bases are cut from now on: one that is under way is not of the last tick.
    is_stopping: bool,
    attempts_max: u32,
    /// Checkpoints given up since the last one that was stored.
    failures: u32,
    /// Whether the next base replaces records that the store lacks, at the journal's request: it does not wait for
    /// their release.
    is_reseed: bool,
    notices: VecDeque<CheckpointCommand>,
}

impl Checkpointer {
    /// For a zone whose store has `chain` (a base and its deltas, possibly empty) and that was adopted at `tick`, which
    /// is released.
    #[must_use]
    pub fn new(config: CheckpointConfig, chain: &[CheckpointHead], tick: Tick) -> Self {
        assert!(
            config.delta_ticks > 0 && config.retry_ticks > 0,
            "checkpoints are at least a tick apart"
        );
        let base = chain.first();
        assert!(
            base.is_none_or(|base| base.kind == CheckpointKind::Base),
            "a chain starts with a base"
        );
        Self {
            config,
            state: CheckpointState::Idle,
            head: chain.last().map(|head| head.position),
            covered: chain.last().map_or(tick, |head| head.position.tick),
            base_tick: base.map_or(Tick(0), |base| base.position.tick),
            base_bytes: base.map_or(0, |base| base.bytes),
            delta_bytes: chain.iter().skip(1).map(|delta| delta.bytes).sum(),
            // A zone that was never stored is stored soon: until then its whole history is journal.
            next_at: tick + if base.is_some() { config.delta_ticks } else { 1 },
            tick,
            released_tick: tick,
            is_base_next: base.is_none(),
            is_stopping: false,
            attempts_max: ATTEMPTS_MAX,
            failures: 0,
            is_reseed: false,
            notices: VecDeque::new(),
        }
    }

    /// Takes the zone's tick. Called after each step, and while a zone that stands still has something to write.
    pub fn handle_tick(&mut self, tick: Tick) {
        self.tick = tick;
        if matches!(self.state, CheckpointState::Idle) && tick >= self.next_at {
            self.start();
        }
    }

    /// Takes the gate's released tick, which rose.
    pub fn handle_released(&mut self, tick: Tick) {
        self.released_tick = self.released_tick.max(tick);
    }

    /// Requests another checkpoint as soon as the present one is done: before a planned stop. It is worth no long wait,
    /// for an adopter has the journal: a write that is not answered is not repeated any more.
    pub const fn handle_wanted(&mut self) {
        self.next_at = Tick(0);
        self.attempts_max = 0;
    }

    /// Requests a base of the zone's last tick, as [`Checkpointer::handle_wanted`] does a checkpoint.
    pub const fn handle_stop_wanted(&mut self) {
        self.is_stopping = true;
        self.handle_wanted();
    }

    /// Requests a base, and soon: after a claim under a higher epoch.
    pub const fn handle_base_wanted(&mut self) {
        self.is_base_next = true;
        self.next_at = Tick(0);
    }

    /// [`JournalEvent::Reseed`](super::journal::JournalEvent::Reseed): like a wanted base, but it does not wait for the
    /// release of the ticks that it covers, since their records cannot be stored any more and it is what stores them.
    /// What is under way is given up.
    pub fn handle_reseed_wanted(&mut self) {
        self.is_reseed = true;
        self.handle_base_wanted();
        if matches!(self.state, CheckpointState::Waiting { .. }) {
            self.fail();
        }
    }

    /// Takes the zone's capture at `position`. A zone that has nothing to build a delta on gives a base instead.
    ///
    /// # Panics
    /// If no capture was asked for, or it is of another tick, or a delta where a base was asked for.
    pub fn handle_captured(&mut self, position: Position, capture: Capture) {
        let CheckpointState::Cutting {
            cut: asked,
            is_sent: true,
        } = self.state
        else {
            panic!("a capture that nobody asked for")
        };
        assert!(capture.base || asked == Cut::Delta, "a base was asked for");
        assert!(
            capture.tick == position.tick,
            "a capture of tick {} at tick {}",
            capture.tick,
            position.tick
        );
        let body = Bytes::from(capture.body);
        let kind = match self.head {
            Some(parent) if !capture.base => CheckpointKind::Delta { parent },
            Some(_) | None => CheckpointKind::Base,
        };
        if self.is_reseed && kind != CheckpointKind::Base {
            self.fail();
            return;
        }
        let parts = u32::try_from(body.len().div_ceil(PART_BYTES_MAX)).expect("a body has fewer than 2^32 parts");
        let head = CheckpointHead {
            position,
            kind,
            parts,
            bytes: body.len() as u64,
        };
        self.state = CheckpointState::Waiting { head, body };
    }

    /// Returns the body of the capture that waits to be written.
    #[must_use]
    pub const fn captured(&self) -> Option<&Bytes> {
        match &self.state {
            CheckpointState::Waiting { body, .. } => Some(body),
            _ => None,
        }
    }

    /// Notes that the capture is lost before it was bytes: the zone is cut again later. Returns the time after which to
    /// poll again, ms.
    ///
    /// # Panics
    /// If no capture was asked for.
    pub fn handle_capture_lost(&mut self) -> u64 {
        assert!(self.awaits_capture(), "a loss of a capture that was not asked for");
        let after_ms = self.back_off_ms();
        self.fail();
        after_ms
    }

    /// Returns the next command. `None`: nothing is to be done, or an answer is awaited.
    pub fn poll_command(&mut self) -> Option<CheckpointCommand> {
        if let Some(notice) = self.notices.pop_front() {
            return Some(notice);
        }
        self.leave_waiting();
        match &mut self.state {
            CheckpointState::Cutting { cut, is_sent } if !*is_sent => {
                *is_sent = true;
                Some(CheckpointCommand::Cut(*cut))
            }
            CheckpointState::Writing {
                head,
                body,
                index,
                is_sent,
                ..
            } if !*is_sent => {
                *is_sent = true;
                let start = *index as usize * PART_BYTES_MAX;
                let bytes = body.slice(start..body.len().min(start + PART_BYTES_MAX));
                Some(CheckpointCommand::PutPart {
                    position: head.position,
                    index: *index,
                    bytes,
                })
            }
            CheckpointState::Moving { head, is_sent, .. } if !*is_sent => {
                *is_sent = true;
                Some(CheckpointCommand::MoveHead(*head))
            }
            CheckpointState::Dropping { head, is_sent, .. } if !*is_sent => {
                *is_sent = true;
                Some(CheckpointCommand::DropParts(head.position, head.parts))
            }
            _ => None,
        }
    }

    /// Notes that the part is stored.
    pub fn handle_part_put(&mut self) {
        let CheckpointState::Writing {
            head,
            index,
            attempts,
            is_sent: is_sent @ true,
            ..
        } = &mut self.state
        else {
            panic!("an answer without a part in flight")
        };
        *index += 1;
        (*attempts, *is_sent) = (0, false);
        if self.is_reseed && head.kind != CheckpointKind::Base {
            self.give_up();
        } else if *index == head.parts {
            self.state = CheckpointState::Moving {
                head: *head,
                attempts: 0,
                is_sent: false,
            };
        }
    }

    /// Notes that the parts of the checkpoint that was given up are deleted.
    pub fn handle_parts_dropped(&mut self) {
        let CheckpointState::Dropping { is_sent: true, .. } = self.state else {
            panic!("an answer without a deletion in flight")
        };
        self.state = CheckpointState::Idle;
    }

    /// Notes that the head is moved.
    pub fn handle_head_moved(&mut self) {
        let CheckpointState::Moving {
            head, is_sent: true, ..
        } = self.state
        else {
            panic!("an answer without a head in flight")
        };
        self.head = Some(head.position);
        self.failures = 0;
        let tick = head.position.tick;
        self.covered = tick;
        match head.kind {
            CheckpointKind::Base => {
                self.base_tick = tick;
                self.base_bytes = head.bytes;
                self.delta_bytes = 0;
                self.is_base_next = false;
                self.is_reseed = false;
            }
            CheckpointKind::Delta { .. } => self.delta_bytes += head.bytes,
        }
        self.next_at = self.next_at.min(tick + self.config.delta_ticks);
        self.state = CheckpointState::Idle;
        self.notices.push_back(CheckpointCommand::CaptureConfirmed(head));
    }

    /// Handles a failure of the part in flight, of the head's move, or of a deletion.
    pub fn handle_failed(&mut self, error: &StoreError) -> CheckpointEvent {
        let later = CheckpointEvent::Later { after_ms: 100 };
        let (attempts, is_sent) = match &mut self.state {
            CheckpointState::Writing { attempts, is_sent, .. }
            | CheckpointState::Moving { attempts, is_sent, .. }
            | CheckpointState::Dropping { attempts, is_sent, .. }
                if *is_sent =>
            {
                (attempts, is_sent)
            }
            _ => panic!("a failure without anything in flight"),
        };
        match error {
            StoreError::Fenced { .. } => return CheckpointEvent::Stop(StopReason::Fenced),
            StoreError::Lost => {
                self.fail();
                return CheckpointEvent::Lost;
            }
            StoreError::Unavailable(_) if *attempts < self.attempts_max => {
                *attempts += 1;
                *is_sent = false;
                return later;
            }
            StoreError::Unavailable(_) | StoreError::ParentMoved | StoreError::Corrupt(_) => {}
        }
        // The head is elsewhere than expected, or unknown: a base depends on none.
        self.is_base_next |= matches!(self.state, CheckpointState::Moving { .. });
        let after_ms = self.back_off_ms();
        self.give_up();
        CheckpointEvent::Later { after_ms }
    }

    /// Returns the store's head, as far as is known.
    #[must_use]
    pub const fn head(&self) -> Option<Position> {
        self.head
    }

    /// Whether the store's head is a base that ends here, as far as is known.
    #[must_use]
    pub fn is_base(&self, position: Position) -> bool {
        self.head == Some(position) && self.base_tick == position.tick
    }

    /// Returns the last tick that an adopter need not replay.
    #[must_use]
    pub const fn covered(&self) -> Tick {
        self.covered
    }

    /// Whether a capture was asked for and has not come.
    #[must_use]
    pub const fn awaits_capture(&self) -> bool {
        matches!(self.state, CheckpointState::Cutting { is_sent: true, .. })
    }

    /// Whether no checkpoint is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, CheckpointState::Idle) && self.notices.is_empty()
    }

    /// Returns the wait after one more failure, ms.
    fn back_off_ms(&self) -> u64 {
        100 << self.failures.min(BACK_OFF_MAX)
    }

    fn start(&mut self) {
        let by_time = self.tick.since(self.base_tick) >= self.config.base_ticks;
        let by_bytes = self.delta_bytes > self.base_bytes;
        let is_wanted = self.is_base_next || self.is_stopping;
        let is_base = is_wanted || self.head.is_none() || by_time || by_bytes;
        self.state = CheckpointState::Cutting {
            cut: if is_base { Cut::Base } else { Cut::Delta },
            is_sent: false,
        };
        // A request from now on is for a later checkpoint.
        self.next_at = Tick::MAX;
    }

    fn leave_waiting(&mut self) {
        let CheckpointState::Waiting { head, .. } = &self.state else {
            return;
        };
        if head.position.tick > self.released_tick && !self.is_reseed {
            return;
        }
        let CheckpointState::Waiting { head, body } = std::mem::replace(&mut self.state, CheckpointState::Idle) else {
            unreachable!()
        };
        self.state = if head.parts == 0 {
            CheckpointState::Moving {
                head,
                attempts: 0,
                is_sent: false,
            }
        } else {
            CheckpointState::Writing {
                head,
                body,
                index: 0,
                attempts: 0,
                is_sent: false,
            }
        };
    }

    /// Gives up what is being written, and has its parts deleted.
    fn give_up(&mut self) {
        let head = match &self.state {
            CheckpointState::Writing { head, .. } | CheckpointState::Moving { head, .. } => Some(*head),
            _ => None,
        };
        self.fail();
        if let Some(head) = head.filter(|head| head.parts > 0) {
            self.state = CheckpointState::Dropping {
                head,
                attempts: 0,
                is_sent: false,
            };
        }
    }

    fn fail(&mut self) {
        let had_capture = !matches!(self.state, CheckpointState::Dropping { .. });
        self.state = CheckpointState::Idle;
        if !had_capture {
            return;
        }
        let wait = self.config.retry_ticks << self.failures.min(BACK_OFF_MAX);
        self.failures += 1;
        self.next_at = if self.is_reseed {
            Tick(0)
        } else {
            self.next_at.min(self.tick + wait)
        };
        self.notices.push_back(CheckpointCommand::CaptureFailed);
    }
}

#[cfg(test)]
mod tests;
