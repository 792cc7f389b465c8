//! The model of the checkpoint head: one owner's `Checkpointer` after the other, over a store whose answers are lost,
//! whose writes come late, and whose bodies and records are damaged. After every step an adopter reads what is there,
//! by the [`Recovery`](everhold_core::durability::recovery::Recovery) that a shard has. What a lost data set costs is
//! the subject of [`crate::appends`].
//!
//! Bodies are what a zone's would be: a base has all of a history, a delta the ticks since the capture that the zone
//! believes to be stored; what is restored from them must be the history that the head names. Not modelled: bodies of
//! many parts, waits, and sizes. An owner asks for each write once, as before a stop, so that giving up is near.

mod read;
mod state;
mod step;

use everhold_protocol::ZoneName;
use stateright::{Model, Property};

pub use self::read::Reading;
pub use self::state::{HeadAct, HeadState};
use crate::explore::PathsTaken;
use crate::history;

/// A defect that is planted in the wiring or in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadMutant {
    /// The checkpointer is told that every tick is released when it is done.
    NotReleased,
    /// A base trims the journal, and the checkpoints, up to itself.
    TrimmedToNewest,
    /// The zone takes a capture that was given up for one that is stored: the next head names another parent than its
    /// body builds on.
    DirtySetLost,
    /// An adopter reads first and fences then.
    ReadBeforeFence,
    /// The store names as the journal's end the last record that is whole.
    EndForgotten,
    /// An adopter goes on from an older end, and what the store has after it stays.
    NotRewound,
}

/// The paths of which each exploration must take all.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum HeadPath {
    /// An adopter went on from a base and deltas.
    DeltaChain,
    /// An adopter went on from an older checkpoint, and lost nothing.
    OlderChain,
    /// An adopter went on from the journal alone, for its only checkpoint was damaged.
    JournalAlone,
    /// An adopter lost ticks, and said so.
    LossSaid,
    /// A head was moved by a write that was given up.
    MovedLate,
    /// A write that was given up was refused, for the head was elsewhere by then.
    Refused,
}

/// The property that a step broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadBreach {
    /// An adopter went on without what was acknowledged, and nothing was damaged that would excuse it.
    Lost,
    /// A machine's assertion failed.
    Panicked,
}

/// The number of times that each event happens.
#[derive(Clone, Copy, Debug)]
pub struct HeadBounds {
    /// Ticks of the zone.
    pub ticks: u64,
    /// Writes whose answer never comes.
    pub time_outs: u8,
    /// Bodies and records that are damaged.
    pub damages: u8,
    /// Adoptions of the zone.
    pub adoptions: u8,
}

/// The model of the checkpoint head.
#[derive(Debug)]
pub struct Heads {
    zone: ZoneName,
    bounds: HeadBounds,
    mutant: Option<HeadMutant>,
    paths: PathsTaken,
}

impl Heads {
    /// Returns the model, with a defect or without one.
    #[must_use]
    pub fn new(bounds: HeadBounds, mutant: Option<HeadMutant>) -> Self {
        Self {
            zone: history::zone(),
            bounds,
            mutant,
            paths: PathsTaken::default(),
        }
    }

    fn is(&self, mutant: HeadMutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn took(&self, path: HeadPath) {
        self.paths.note(path as u8);
    }
}

impl Model for Heads {
    type State = HeadState;
    type Action = HeadAct;

    fn init_states(&self) -> Vec<HeadState> {
        vec![HeadState::new(&self.zone)]
    }

    fn actions(&self, state: &HeadState, actions: &mut Vec<HeadAct>) {
        if state.breach.is_none() {
            state.offer(&self.bounds, self.is(HeadMutant::ReadBeforeFence), actions);
        }
    }

    fn next_state(&self, last: &HeadState, act: HeadAct) -> Option<HeadState> {
        let mut state = last.clone();
        self.step(&mut state, act);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn took(model: &Heads, path: HeadPath) -> bool {
            model.paths.has(path as u8)
        }
        vec![
            Property::always("an adopter finds a history that is whole", |_, state: &HeadState| {
                state.read.end.is_some()
            }),
            Property::always("what is lost is said", |_, state: &HeadState| state.is_loss_said()),
            Property::always("a damaged checkpoint costs no tick", |_, state: &HeadState| {
                state.records_damaged > 0 || state.read.lost_ticks == 0
            }),
            Property::always("nothing is given up that is not damaged", |_, state: &HeadState| {
                state.damages > 0 || state.read.given_up == 0
            }),
            Property::always("a head does not run ahead of what is stored", |_, state: &HeadState| {
                state.read.head.is_none_or(|head| head <= state.acknowledged.tick)
            }),
            Property::always(
                "a new owner goes on with what was acknowledged",
                |_, state: &HeadState| state.breach != Some(HeadBreach::Lost),
            ),
            Property::always("no machine contradicts itself", |_, state: &HeadState| {
                state.breach != Some(HeadBreach::Panicked)
            }),
            Property::sometimes("a base and its deltas are gone on from", |model: &Self, _| {
                took(model, HeadPath::DeltaChain)
            }),
            Property::sometimes("an older checkpoint is gone on from", |model: &Self, _| {
                took(model, HeadPath::OlderChain)
            }),
            Property::sometimes("the journal alone is gone on from", |model: &Self, _| {
                took(model, HeadPath::JournalAlone)
            }),
            Property::sometimes("a loss is said", |model: &Self, _| took(model, HeadPath::LossSaid)),
            Property::sometimes("a head is moved after it was given up", |model: &Self, _| {
                took(model, HeadPath::MovedLate)
            }),
            Property::sometimes("a head that was given up is refused", |model: &Self, _| {
                took(model, HeadPath::Refused)
            }),
        ]
    }
}
