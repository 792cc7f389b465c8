//! The model of append, acknowledge, and gate: one owner's `Journal` and `Gate` over a store that loses answers,
//! does late what was given up, forgets all or a tail, and may be fenced by a successor. Ordinary bases and those that
//! replace what was lost go over a link of their own. Which checkpoint an adopter reads is the subject of
//! [`crate::heads`], who may own the zone that of [`crate::ownership`].
//!
//! Not modelled: records by number (a full ring, the bound of one append), waits between two tries, and parts of
//! bodies.

mod state;
mod step;

use everhold_core::durability::Durability;
use everhold_protocol::ZoneName;
use stateright::{Model, Property};

pub use self::state::{AppendAct, AppendState, LinkOp};
use crate::explore::PathsTaken;
use crate::history;

/// A defect that is planted in the wiring or in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendMutant {
    /// The gate hears of an acknowledgement when the append is sent.
    AcknowledgedWhenSent,
    /// An acknowledgement counts for the last record that was pushed, and not for the last that was sent.
    CountedForLater,
    /// A time-out counts as an acknowledgement.
    SilenceIsConsent,
    /// A lost data set is made anew without a word to the journal.
    CreatedInSilence,
    /// A base that was asked for before the loss counts as the one that replaces what was lost, wherever it ends.
    AnyBaseReseeds,
    /// The store writes whatever it is sent, as if its sender held the fence.
    NoFence,
    /// The gate stays open while the process does not know whether its lease lasts.
    OpenWhilePaused,
    /// Of what may be told only the newest is, as of what may be shown after a long wait.
    NewestIsTold,
}

/// The paths of which each exploration must take all.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum AppendPath {
    /// A repeat was answered as one.
    Duplicate,
    /// Records that the store lost were sent again.
    Resent,
    /// A base bridged what the ring did not reach.
    Reseeded,
    /// The checkpoint link found the loss of the data set before an append did.
    LossFoundByLink,
    /// An answer came after the data set that it speaks of was replaced.
    LateAnswer,
    /// An append that was given up was done all the same, and later.
    DoneLate,
    /// A fenced owner stopped.
    Fenced,
    /// The zone went on from memory under a higher epoch.
    Reclaimed,
}

/// The property that a step broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppendBreach {
    /// Something left the process before its record was stored, at its level.
    LeftEarly,
    /// Something was acknowledged that the store does not have, and did not lose unnoticed either.
    NotStored,
    /// Something left out of order, or twice.
    OutOfOrder,
    /// Something left while the lease was in doubt.
    LeftInDoubt,
    /// The store took what a fenced owner sent.
    FencedWrite,
    /// A machine's assertion failed.
    Panicked,
}

/// The number of times that each event happens.
#[derive(Clone, Copy, Debug)]
pub struct AppendBounds {
    /// Ticks of the zone.
    pub ticks: u64,
    /// Appends, and writes of the checkpoint link, whose answer never comes.
    pub time_outs: u8,
    /// Losses in the store: of all, or of a tail.
    pub losses: u8,
    /// Ordinary bases, beside those that replace what was lost.
    pub bases: u8,
    /// Suspensions after which the zone goes on from memory.
    pub reclaims: u8,
    /// Pauses of the process.
    pub pauses: u8,
}

/// The model of append, acknowledge, and gate.
#[derive(Debug)]
pub struct Appends {
    zone: ZoneName,
    level: Durability,
    bounds: AppendBounds,
    mutant: Option<AppendMutant>,
    paths: PathsTaken,
}

impl Appends {
    /// Returns the model of a zone at a level of durability, with a defect or without one.
    #[must_use]
    pub fn new(level: Durability, bounds: AppendBounds, mutant: Option<AppendMutant>) -> Self {
        Self {
            zone: history::zone(),
            level,
            bounds,
            mutant,
            paths: PathsTaken::default(),
        }
    }

    fn is(&self, mutant: AppendMutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn took(&self, path: AppendPath) {
        self.paths.note(path as u8);
    }
}

impl Model for Appends {
    type State = AppendState;
    type Action = AppendAct;

    fn init_states(&self) -> Vec<AppendState> {
        vec![AppendState::new(&self.zone, self.level)]
    }

    fn actions(&self, state: &AppendState, actions: &mut Vec<AppendAct>) {
        if state.breach.is_none() {
            state.offer(&self.bounds, actions);
        }
    }

    fn next_state(&self, last: &AppendState, act: AppendAct) -> Option<AppendState> {
        let mut state = last.clone();
        self.step(&mut state, act);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn took(model: &Appends, path: AppendPath) -> bool {
            model.paths.has(path as u8)
        }
        vec![
            Property::always(
                "nothing leaves before it is stored at its level",
                |_, state: &AppendState| state.breach != Some(AppendBreach::LeftEarly),
            ),
            Property::always("what is acknowledged is stored", |_, state: &AppendState| {
                state.breach != Some(AppendBreach::NotStored)
            }),
            Property::always("what leaves keeps its order", |_, state: &AppendState| {
                state.breach != Some(AppendBreach::OutOfOrder)
            }),
            Property::always(
                "nothing leaves while the lease is in doubt",
                |_, state: &AppendState| state.breach != Some(AppendBreach::LeftInDoubt),
            ),
            Property::always("a fenced owner writes nothing", |_, state: &AppendState| {
                state.breach != Some(AppendBreach::FencedWrite)
            }),
            Property::always("no machine contradicts itself", |_, state: &AppendState| {
                state.breach != Some(AppendBreach::Panicked)
            }),
            Property::always(
                "an adopter finds all that was told",
                |model: &Self, state: &AppendState| state.is_told_stored(&model.zone),
            ),
            Property::sometimes("a repeat is answered as one", |model: &Self, _| {
                took(model, AppendPath::Duplicate)
            }),
            Property::sometimes("lost records are sent again", |model: &Self, _| {
                took(model, AppendPath::Resent)
            }),
            Property::sometimes("a base bridges a loss", |model: &Self, _| {
                took(model, AppendPath::Reseeded)
            }),
            Property::sometimes("the checkpoint link finds the loss first", |model: &Self, _| {
                took(model, AppendPath::LossFoundByLink)
            }),
            Property::sometimes("an answer comes after its data set", |model: &Self, _| {
                took(model, AppendPath::LateAnswer)
            }),
            Property::sometimes("an append is done after it was given up", |model: &Self, _| {
                took(model, AppendPath::DoneLate)
            }),
            Property::sometimes("a fenced owner stops", |model: &Self, _| {
                took(model, AppendPath::Fenced)
            }),
            Property::sometimes("the zone goes on from memory", |model: &Self, _| {
                took(model, AppendPath::Reclaimed)
            }),
            Property::sometimes("everything is told", |model: &Self, state: &AppendState| {
                state.told.0 == model.bounds.ticks
            }),
        ]
    }
}
