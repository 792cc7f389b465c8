//! The state of the model, and what may happen in it. What comes of it is decided elsewhere.

use everhold_core::durability::store::{CheckpointHead, Position, StoreError};
use everhold_core::durability::{CheckpointCommand, CheckpointConfig, Checkpointer};
use everhold_core::ownership::{Grant, Nonce, Tenure};
use everhold_core::zone::Cut;
use everhold_protocol::{Epoch, Tick, ZoneName};
use everhold_sim::store::{MemoryStore, StoredKind};

use super::read::{Reading, read};
use super::{HeadBounds, HeadBreach};

/// A checkpoint after every tick, and a base after four.
const CONFIG: CheckpointConfig = CheckpointConfig {
    delta_ticks: 1,
    base_ticks: 4,
    retry_ticks: 1,
};

/// A write of a checkpoint on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeadFlight {
    /// The epoch under which it was sent.
    pub epoch: Epoch,
    /// The write.
    pub command: CheckpointCommand,
    /// The store's answer, once it was carried out.
    pub done: Option<Result<(), StoreError>>,
}

/// The owner of the zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeadOwner {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its checkpoints.
    pub checkpointer: Checkpointer,
    /// The end of the zone's history.
    pub last: Position,
    /// The cut that is taken after the next tick.
    pub cut: Option<Cut>,
    /// The end of the capture on which the zone's next delta builds.
    pub built_on: Option<Position>,
    /// The end of the capture that is not confirmed yet.
    pub captured: Option<Position>,
    /// The write that it waits for.
    pub flight: Option<HeadFlight>,
    /// Whether it found that it is not the owner any more.
    pub is_over: bool,
}

/// The state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeadState {
    /// The owner.
    pub owner: HeadOwner,
    /// A write that was given up, and that may still be carried out.
    pub late: Option<HeadFlight>,
    /// The store.
    pub store: MemoryStore,
    /// The end of the history that was acknowledged.
    pub acknowledged: Position,
    /// The history that an adopter would find now.
    pub read: Reading,
    /// The history that an adopter found which did not fence first.
    pub read_early: Option<Reading>,
    /// Answers that never came.
    pub time_outs: u8,
    /// Bodies and records that were damaged.
    pub damages: u8,
    /// Records among them.
    pub records_damaged: u8,
    /// Adoptions of the zone.
    pub adoptions: u8,
    /// The property that the last step broke.
    pub breach: Option<HeadBreach>,
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadAct {
    /// The zone ticks, and is cut if that was asked for.
    Tick,
    /// The store has all records, and the owner hears of it.
    Append,
    /// The checkpointer's next command is carried out, or sent.
    Poll,
    /// The store carries the write out.
    Carry,
    /// The store carries out a write that was given up.
    CarryLate,
    /// The write's answer comes.
    Answer,
    /// The write is not answered in time.
    TimeOut,
    /// The newest bytes of this kind are damaged.
    Damage(StoredKind),
    /// Another process adopts the zone.
    Adopt,
    /// One reads it, and has not fenced it yet.
    ReadEarly,
}

impl HeadOwner {
    /// Returns an owner that goes on from `last` and from these checkpoints.
    pub(super) fn new(epoch: Epoch, chain: &[CheckpointHead], last: Position) -> Self {
        let mut checkpointer = Checkpointer::new(CONFIG, chain, last.tick);
        // It gives a write up when it is not answered once, and not after the ninth time.
        checkpointer.handle_wanted();
        Self {
            epoch,
            checkpointer,
            last,
            cut: None,
            built_on: None,
            captured: None,
            flight: None,
            is_over: false,
        }
    }
}

impl HeadState {
    /// Returns the state of a zone that was never stored, and whose first owner fenced the store.
    pub(super) fn new(zone: &ZoneName) -> Self {
        let mut store = MemoryStore::default();
        store
            .fence(&tenure(zone, Epoch::FIRST))
            .expect("a store that was never used takes the first epoch");
        let read = read(&store, zone, None, None).expect("the store answers");
        Self {
            owner: HeadOwner::new(Epoch::FIRST, &[], Position::GENESIS),
            late: None,
            store,
            acknowledged: Position::GENESIS,
            read,
            read_early: None,
            time_outs: 0,
            damages: 0,
            records_damaged: 0,
            adoptions: 0,
            breach: None,
        }
    }

    /// Adds all events that may happen now.
    pub(super) fn offer(&self, bounds: &HeadBounds, reads_early: bool, acts: &mut Vec<HeadAct>) {
        let owner = &self.owner;
        if !owner.is_over {
            if owner.last.tick.0 < bounds.ticks {
                acts.push(HeadAct::Tick);
            }
            if owner.last.tick > self.acknowledged.tick {
                acts.push(HeadAct::Append);
            }
            match &owner.flight {
                None => acts.push(HeadAct::Poll),
                Some(flight) if flight.done.is_some() => acts.push(HeadAct::Answer),
                Some(_) => acts.push(HeadAct::Carry),
            }
            if owner.flight.is_some() && self.late.is_none() && self.time_outs < bounds.time_outs {
                acts.push(HeadAct::TimeOut);
            }
        }
        if self.late.is_some() {
            acts.push(HeadAct::CarryLate);
        }
        if self.damages < bounds.damages {
            let kinds = [
                StoredKind::Base,
                StoredKind::Delta,
                StoredKind::PreviousChain,
                StoredKind::Record,
            ];
            acts.extend(kinds.map(HeadAct::Damage));
        }
        if self.adoptions < bounds.adoptions {
            match (reads_early, &self.read_early) {
                (true, None) => acts.push(HeadAct::ReadEarly),
                _ => acts.push(HeadAct::Adopt),
            }
        }
    }

    /// Whether an adopter that would go on without something that was acknowledged would say so.
    pub(super) fn is_loss_said(&self) -> bool {
        let reached = self.read.end.map_or(Tick(0), |end| end.tick);
        reached.0 + self.read.lost_ticks >= self.acknowledged.tick.0
    }
}

/// Returns the tenure of the zone's owner under an epoch: another process has each.
pub(super) fn tenure(zone: &ZoneName, epoch: Epoch) -> Tenure {
    Tenure {
        zone: zone.clone(),
        grant: Grant::issue(epoch, Nonce(u64::from(epoch.0))),
    }
}
