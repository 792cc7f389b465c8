//! The state of the model, and what may happen in it. What comes of it is decided elsewhere.

use everhold_core::durability::store::{AppendAnswer, Position, StoreError, StoredRecord};
use everhold_core::durability::{Durability, Gate, Journal};
use everhold_core::ownership::{Grant, Nonce, Tenure};
use everhold_protocol::{Epoch, Tick, ZoneName};
use everhold_sim::store::{MemoryStore, StoreDump};

use super::{AppendBounds, AppendBreach};
use crate::history;

/// An append on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppendFlight {
    /// The epoch under which it was sent.
    pub tenure: Tenure,
    /// The records that it writes.
    pub records: Vec<StoredRecord>,
    /// The store's answer, once it was carried out.
    pub done: Option<Result<AppendAnswer, StoreError>>,
    /// Whether the store has lost something since.
    pub is_stale: bool,
}

/// A write of the checkpoint link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkOp {
    /// Makes a lost data set anew.
    Create,
    /// Makes a base at this position the head.
    Base(Position),
}

/// A write of the checkpoint link on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinkFlight {
    /// The write.
    pub op: LinkOp,
    /// The store's answer, once it was carried out.
    pub done: Option<Result<(), StoreError>>,
    /// Whether the store has lost something since.
    pub is_stale: bool,
}

/// The events so far, as far as bounds count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AppendCounts {
    /// Answers that never came.
    pub time_outs: u8,
    /// Losses in the store.
    pub losses: u8,
    /// Ordinary bases.
    pub bases: u8,
    /// Suspensions of the owner.
    pub reclaims: u8,
    /// Pauses of the process.
    pub pauses: u8,
}

/// The state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppendState {
    /// The owner's journal.
    pub journal: Journal,
    /// The owner's gate. Snapshots are what they call confirmed.
    pub gate: Gate<Tick, ()>,
    /// Whether the owner was stopped, and does not know yet whether its lease lasts.
    pub is_paused: bool,
    /// Whether the owner ended.
    pub is_over: bool,
    /// Whether a lost data set is to be made anew.
    pub is_creation_due: bool,
    /// The append that the owner waits for.
    pub flight: Option<AppendFlight>,
    /// An append that the owner gave up, and that may still be carried out.
    pub late: Option<AppendFlight>,
    /// The write that the owner's checkpoint link waits for.
    pub link: Option<LinkFlight>,
    /// The store.
    pub store: MemoryStore,
    /// An older state of the store, to which it may go back.
    pub dump: Option<StoreDump>,
    /// Whether the store has lost something, and the owner has not heard of it.
    pub is_loss_unnoticed: bool,
    /// Whether a successor holds the fence.
    pub is_fenced: bool,
    /// The last tick that the store ever had.
    pub stored: Tick,
    /// The last tick of which everything was told.
    pub told: Tick,
    /// The next tick that is to be told.
    pub next_told: Tick,
    /// The last tick that was shown.
    pub shown: Tick,
    /// The events so far.
    pub counts: AppendCounts,
    /// The property that the last step broke.
    pub breach: Option<AppendBreach>,
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendAct {
    /// The zone ticks.
    Tick,
    /// The journal's next append is sent.
    Send,
    /// The store carries the append out.
    Carry,
    /// The store carries out an append that was given up.
    CarryLate,
    /// The append's answer comes.
    Answer,
    /// The append is not answered in time.
    TimeOut,
    /// The checkpoint link sends its next write.
    LinkSend,
    /// The store carries that write out.
    LinkCarry,
    /// Its answer comes.
    LinkAnswer,
    /// It is not answered in time.
    LinkTimeOut,
    /// Everything leaves that may.
    Release,
    /// The process is stopped.
    Pause,
    /// A renewal that was sent after waking counts.
    Wake,
    /// The lease ran out, and the zone goes on from memory under another.
    Reclaim,
    /// A successor fences the store.
    Fence,
    /// The store's state is kept: a replica has it, or a backup.
    Keep,
    /// The store goes back to what was kept.
    GoBack,
    /// The store forgets everything.
    Forget,
}

impl AppendState {
    /// Returns the state of a zone that was never stored, and whose first owner fenced the store.
    pub(super) fn new(zone: &ZoneName, level: Durability) -> Self {
        let mut store = MemoryStore::default();
        store
            .fence(&tenure(zone, Epoch::FIRST))
            .expect("a store that was never used takes the first epoch");
        Self {
            journal: Journal::new(Epoch::FIRST, Position::GENESIS),
            gate: Gate::new(level, Epoch::FIRST, Tick(0), Tick(0)),
            is_paused: false,
            is_over: false,
            is_creation_due: false,
            flight: None,
            late: None,
            link: None,
            store,
            dump: None,
            is_loss_unnoticed: false,
            is_fenced: false,
            stored: Tick(0),
            told: Tick(0),
            next_told: Tick(1),
            shown: Tick(0),
            counts: AppendCounts::default(),
            breach: None,
        }
    }

    /// Adds all events that may happen now.
    pub(super) fn offer(&self, bounds: &AppendBounds, acts: &mut Vec<AppendAct>) {
        let counts = self.counts;
        if !self.is_over {
            self.offer_owner(bounds, acts);
        }
        if self.late.is_some() {
            acts.push(AppendAct::CarryLate);
        }
        if !self.is_fenced {
            acts.push(AppendAct::Fence);
        }
        if counts.losses < bounds.losses {
            acts.push(AppendAct::Forget);
            acts.push(match self.dump {
                None => AppendAct::Keep,
                Some(_) => AppendAct::GoBack,
            });
        }
    }

    fn offer_owner(&self, bounds: &AppendBounds, acts: &mut Vec<AppendAct>) {
        let (counts, can_lose) = (self.counts, self.counts.time_outs < bounds.time_outs);
        acts.push(AppendAct::Release);
        if self.is_paused {
            acts.push(AppendAct::Wake);
        } else if counts.pauses < bounds.pauses {
            acts.push(AppendAct::Pause);
        }
        if self.journal.last().tick.0 < bounds.ticks {
            acts.push(AppendAct::Tick);
        }
        match &self.flight {
            None => acts.push(AppendAct::Send),
            Some(flight) if flight.done.is_some() => acts.push(AppendAct::Answer),
            Some(_) => acts.push(AppendAct::Carry),
        }
        if self.flight.is_some() && self.late.is_none() && can_lose {
            acts.push(AppendAct::TimeOut);
        }
        match &self.link {
            None => acts.push(AppendAct::LinkSend),
            Some(flight) if flight.done.is_some() => acts.push(AppendAct::LinkAnswer),
            Some(_) => acts.push(AppendAct::LinkCarry),
        }
        if self.link.is_some() && can_lose {
            acts.push(AppendAct::LinkTimeOut);
        }
        if counts.reclaims < bounds.reclaims {
            acts.push(AppendAct::Reclaim);
        }
    }

    /// Returns where the history ends that an adopter would read. `None`: the data set is lost, or incomplete.
    pub(super) fn end(&self, zone: &ZoneName) -> Option<Position> {
        self.store.read_zone(zone).ok().map(|data| history::end(&data))
    }

    /// Whether an adopter would go on with all that was told, unless the store has lost it, and the owner has not heard
    /// or is about to write it anew.
    pub(super) fn is_told_stored(&self, zone: &ZoneName) -> bool {
        let is_rewritten = self.store.summary(zone).is_some_and(|summary| summary.is_incomplete);
        let is_excused = is_rewritten || self.is_loss_unnoticed || self.journal.is_reseeding() || self.is_creation_due;
        is_excused || self.end(zone).is_some_and(|end| end.tick >= self.told)
    }
}

/// Returns the tenure of the zone's owner under an epoch.
pub(super) fn tenure(zone: &ZoneName, epoch: Epoch) -> Tenure {
    Tenure {
        zone: zone.clone(),
        grant: Grant::issue(epoch, Nonce(1)),
    }
}
