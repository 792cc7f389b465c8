//! The steps of the model: the wiring between machines and store that a pipeline and its driver are in a server. What
//! is decided, the machines decide.

use everhold_core::durability::store::{AppendAnswer, CheckpointHead, CheckpointKind, Origin, Position, StoreError};
use everhold_core::durability::suspended::is_newest;
use everhold_core::durability::{Durability, Gate, JournalEvent};
use everhold_core::ownership::Tenure;
use everhold_protocol::{Epoch, Tick};

use super::state::{AppendFlight, LinkFlight, tenure};
use super::{AppendAct, AppendBreach, AppendMutant, AppendPath, AppendState, Appends, LinkOp};
use crate::explore::guarded;
use crate::history;

/// The epoch of the successor: above any that the owner gets.
const SUCCESSOR: Epoch = Epoch(9);

impl Appends {
    pub(super) fn step(&self, state: &mut AppendState, act: AppendAct) {
        if guarded(|| self.apply(state, act)).is_none() {
            state.breach = Some(AppendBreach::Panicked);
        }
    }

    fn apply(&self, state: &mut AppendState, act: AppendAct) {
        match act {
            AppendAct::Tick => self.tick(state),
            AppendAct::Send => self.send(state),
            AppendAct::Carry => {
                let mut flight = state.flight.take().expect("an append is on its way");
                flight.done = Some(self.carry(state, &flight));
                state.flight = Some(flight);
            }
            AppendAct::CarryLate => {
                let flight = state.late.take().expect("an append was given up");
                let done = self.carry(state, &flight);
                if matches!(done, Ok(AppendAnswer::Ok)) {
                    self.took(AppendPath::DoneLate);
                }
            }
            AppendAct::Answer => self.answer(state),
            AppendAct::TimeOut => self.time_out(state),
            AppendAct::LinkSend => self.send_link(state),
            AppendAct::LinkCarry => self.carry_link(state),
            AppendAct::LinkAnswer => self.answer_link(state),
            AppendAct::LinkTimeOut => {
                state.counts.time_outs += 1;
                state.link = None;
            }
            AppendAct::Release => self.release(state),
            AppendAct::Pause => {
                state.is_paused = true;
                state.counts.pauses += 1;
                if !self.is(AppendMutant::OpenWhilePaused) {
                    state.gate.close();
                }
            }
            AppendAct::Wake => {
                state.is_paused = false;
                state.gate.open();
            }
            AppendAct::Reclaim => self.reclaim(state),
            AppendAct::Fence => state.is_fenced = state.store.fence(&tenure(&self.zone, SUCCESSOR)).is_ok(),
            AppendAct::Keep => state.dump = Some(state.store.dump()),
            AppendAct::GoBack => {
                let dump = state.dump.take().expect("a state was kept");
                state.store.restore_to(&dump);
                self.note_loss(state);
            }
            AppendAct::Forget => {
                state.store.forget_everything();
                self.note_loss(state);
            }
        }
    }

    fn note_loss(&self, state: &mut AppendState) {
        state.counts.losses += 1;
        state.is_loss_unnoticed = true;
        let fence = state.store.summary(&self.zone).map(|summary| summary.fence_epoch);
        state.is_fenced = fence == Some(SUCCESSOR);
        if let Some(flight) = state.flight.as_mut().filter(|flight| flight.done.is_some()) {
            flight.is_stale = true;
        }
        if let Some(flight) = state.link.as_mut().filter(|flight| flight.done.is_some()) {
            flight.is_stale = true;
        }
    }

    fn tick(&self, state: &mut AppendState) {
        let mark = u8::try_from(state.journal.epoch().0).expect("few epochs");
        let record = history::record(state.journal.last(), mark);
        let tick = record.tick;
        let unconfirmed = self.level.unconfirmed_ticks(tick, state.journal.acknowledged().tick);
        state.journal.push(record).expect("a short history fits the ring");
        state.gate.hold(
            tick,
            (
                Tick(tick.0 - u64::from(unconfirmed)),
                Tick(tick.0 - u64::from(unconfirmed)),
            ),
            (),
        );
    }

    fn send(&self, state: &mut AppendState) {
        let Some(records) = state.journal.poll_append() else {
            return;
        };
        if self.is(AppendMutant::AcknowledgedWhenSent) {
            state.gate.handle_acknowledged(records[records.len() - 1].tick);
        }
        state.flight = Some(AppendFlight {
            tenure: tenure(&self.zone, state.journal.epoch()),
            records,
            done: None,
            is_stale: false,
        });
    }

    /// Has the store carry an append out.
    fn carry(&self, state: &mut AppendState, flight: &AppendFlight) -> Result<AppendAnswer, StoreError> {
        let done = state.store.append(&self.sender(state, &flight.tenure), &flight.records);
        let is_written = matches!(done, Ok(AppendAnswer::Ok));
        self.note_written(state, is_written, &flight.tenure);
        done
    }

    /// Returns the tenure that the store takes a write for.
    fn sender(&self, state: &AppendState, tenure: &Tenure) -> Tenure {
        let mut sender = tenure.clone();
        let summary = state.store.summary(&self.zone);
        if self.is(AppendMutant::NoFence) && summary.is_some_and(|summary| summary.fence_epoch == SUCCESSOR) {
            sender.grant = super::state::tenure(&self.zone, SUCCESSOR).grant;
        }
        sender
    }

    fn note_written(&self, state: &mut AppendState, is_written: bool, by: &Tenure) {
        if is_written && state.is_fenced && by.epoch() < SUCCESSOR {
            state.breach = Some(AppendBreach::FencedWrite);
        }
        let end = state.end(&self.zone).map_or(Tick(0), |end| end.tick);
        state.stored = state.stored.max(end);
    }

    fn answer(&self, state: &mut AppendState) {
        let flight = state.flight.take().expect("an append is on its way");
        let done = flight.done.as_ref().expect("an answer follows the deed");
        if matches!(done, Ok(AppendAnswer::Duplicate)) {
            self.took(AppendPath::Duplicate);
        }
        let is_good = matches!(done, Ok(AppendAnswer::Ok | AppendAnswer::Duplicate));
        let event = state.journal.handle_answer(done.as_ref().copied());
        match event {
            JournalEvent::Acknowledged { position } => {
                let is_excused = flight.is_stale && state.is_loss_unnoticed;
                self.acknowledge(state, position, is_excused);
                state.is_loss_unnoticed &= flight.is_stale;
            }
            JournalEvent::Retry { .. } if is_good => self.took(AppendPath::LateAnswer),
            JournalEvent::Retry { .. } => {}
            JournalEvent::Resend { .. } => self.took(AppendPath::Resent),
            JournalEvent::Reseed => {}
            JournalEvent::Create => state.is_creation_due = true,
            JournalEvent::Stop(_) => self.end(state),
        }
    }

    fn end(&self, state: &mut AppendState) {
        self.took(AppendPath::Fenced);
        state.is_over = true;
    }

    fn time_out(&self, state: &mut AppendState) {
        state.counts.time_outs += 1;
        let flight = state.flight.take().expect("an append is on its way");
        if self.is(AppendMutant::SilenceIsConsent) {
            let _taken = state.journal.handle_answer(Ok(AppendAnswer::Ok));
            let acknowledged = state.journal.acknowledged();
            self.acknowledge(state, acknowledged, false);
        } else {
            let silence = StoreError::Unavailable(String::new());
            let _retry = state.journal.handle_answer(Err(&silence));
        }
        if flight.done.is_none() {
            state.late = Some(flight);
        }
    }

    fn acknowledge(&self, state: &mut AppendState, position: Position, is_excused: bool) {
        let is_stored = |end: Position| history::contains(end, position);
        if !is_excused && !state.end(&self.zone).is_some_and(is_stored) {
            state.breach = Some(AppendBreach::NotStored);
        }
        let tick = if self.is(AppendMutant::CountedForLater) {
            state.journal.last().tick
        } else {
            position.tick
        };
        state.gate.handle_acknowledged(tick);
    }

    fn send_link(&self, state: &mut AppendState) {
        let (last, released) = (state.journal.last(), state.gate.released_tick());
        let op = if state.is_creation_due {
            LinkOp::Create
        } else if state.journal.is_reseeding() {
            LinkOp::Base(last)
        } else if state.counts.bases < self.bounds.bases && released > Tick(0) {
            state.counts.bases += 1;
            LinkOp::Base(history::earlier(last, released.min(last.tick), state.journal.epoch()))
        } else {
            return;
        };
        state.link = Some(LinkFlight {
            op,
            done: None,
            is_stale: false,
        });
    }

    fn carry_link(&self, state: &mut AppendState) {
        let mut flight = state.link.take().expect("a write is on its way");
        let sender = tenure(&self.zone, state.journal.epoch());
        let done = match flight.op {
            LinkOp::Create => state.store.create(&sender, Origin::Memory),
            LinkOp::Base(position) => {
                let head = CheckpointHead {
                    position,
                    kind: CheckpointKind::Base,
                    parts: 0,
                    bytes: 0,
                };
                state.store.move_head(&self.sender(state, &sender), head)
            }
        };
        self.note_written(state, done.is_ok(), &sender);
        flight.done = Some(done);
        state.link = Some(flight);
    }

    fn answer_link(&self, state: &mut AppendState) {
        let LinkFlight { op, done, is_stale } = state.link.take().expect("a write is on its way");
        match (op, done.expect("an answer follows the deed")) {
            (LinkOp::Create, Ok(())) => {
                state.is_creation_due = false;
                state.is_loss_unnoticed = false;
                if !self.is(AppendMutant::CreatedInSilence) {
                    let _reseed = state.journal.handle_created();
                }
            }
            (LinkOp::Base(position), Ok(())) => self.confirm(state, position, is_stale),
            (_, Err(StoreError::Fenced { .. })) => self.end(state),
            (_, Err(StoreError::Lost)) => {
                if !state.is_creation_due && !state.journal.is_reseeding() {
                    self.took(AppendPath::LossFoundByLink);
                }
                state.is_creation_due = true;
            }
            (_, Err(_)) => {}
        }
    }

    /// Does what a pipeline does when a base is the head.
    fn confirm(&self, state: &mut AppendState, position: Position, is_stale: bool) {
        let reaches = position.tick >= state.journal.acknowledged().tick;
        if state.journal.is_reseeding() && (reaches || self.is(AppendMutant::AnyBaseReseeds)) {
            let event = state.journal.handle_reseeded(position);
            if let JournalEvent::Acknowledged { position } = event {
                self.took(AppendPath::Reseeded);
                self.acknowledge(state, position, is_stale && state.is_loss_unnoticed);
            }
            state.is_loss_unnoticed &= is_stale;
        }
        state.journal.forget(position.tick);
    }

    fn release(&self, state: &mut AppendState) {
        let mut told = Vec::new();
        while let Some(released) = state.gate.poll_told() {
            told.push(released.tick());
        }
        if self.is(AppendMutant::NewestIsTold) && told.len() > 1 {
            told.drain(..told.len() - 1);
        }
        for tick in told {
            self.leave(state, tick, tick == state.next_told);
            (state.told, state.next_told) = (tick, tick.next());
        }
        while let Some(released) = state.gate.poll_shown() {
            let tick = released.tick();
            let certain = match self.level {
                Durability::Store | Durability::Replica => tick,
                Durability::Async => released.into_inner(),
            };
            let follows = tick > state.shown && (!self.level.holds_snapshots() || tick < state.next_told);
            self.leave(state, certain, follows);
            state.shown = tick;
        }
    }

    /// Checks what leaves and says that everything up to `certain` is stored.
    fn leave(&self, state: &mut AppendState, certain: Tick, is_in_order: bool) {
        let breach = if state.is_paused {
            AppendBreach::LeftInDoubt
        } else if certain > state.stored {
            AppendBreach::LeftEarly
        } else if !is_in_order {
            AppendBreach::OutOfOrder
        } else {
            return;
        };
        state.breach = Some(breach);
    }

    /// Takes the zone up again from memory, as an adoption does: the fence first, then the question what is newer.
    fn reclaim(&self, state: &mut AppendState) {
        state.counts.reclaims += 1;
        let epoch = state.journal.epoch().next().expect("few epochs");
        let fenced = state.store.fence(&tenure(&self.zone, epoch));
        let summary = Ok(state.store.summary(&self.zone));
        let last = state.journal.last();
        let goes_on = match fenced {
            Ok(()) => is_newest(last.stamp(), summary).expect("the store answers"),
            Err(StoreError::Lost) => true,
            Err(_) => false,
        };
        if !goes_on {
            self.end(state);
            return;
        }
        self.took(AppendPath::Reclaimed);
        if let Some(flight) = state.flight.take().filter(|flight| flight.done.is_none()) {
            state.late = Some(flight);
        }
        state.journal = state.journal.clone().reclaimed(epoch);
        state.gate = Gate::new(self.level, epoch, state.journal.acknowledged().tick, last.tick);
        (state.link, state.is_creation_due, state.is_paused) = (None, false, false);
        (state.next_told, state.shown) = (last.tick.next(), last.tick);
    }
}
