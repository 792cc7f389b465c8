//! The model of who owns a zone: leases, fences, adoptions, and memories of several shards, over an authority and a
//! store that forget. Shards die, start again, and are stopped for as long as it takes others to take over.
//!
//! A shard's [`Contender`](everhold_core::ownership::Contender) and [`Census`](everhold_core::ownership::Census) have
//! times in them, which would make states without end. So a state has what they have seen, they are made of it for each
//! decision, and time is what may have passed: a lease may run out at any moment; one that is watched stands still for
//! its ttl at any moment at which neither a valid lease nor a shard that need not wait would move it first. That is all
//! that the machines trust time for.
//!
//! Not modelled: several zones, room, back-offs, stops in good order, and what is in a checkpoint ([`crate::heads`]). A
//! record is acknowledged and told in one step ([`crate::appends`] is about the way between).

mod adopting;
mod leasing;
mod shard;
mod state;
mod step;

use everhold_protocol::ZoneName;
use stateright::{Model, Property};

pub use self::shard::{ShardModel, Watch, ZoneHere};
pub use self::state::{ClusterAct, ClusterState};
use crate::explore::PathsTaken;
use crate::history;

/// A defect that is planted in the wiring, the store, or the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnershipMutant {
    /// The store writes whatever it is sent.
    NoFence,
    /// A claim's epoch is only above what the authority shows, and the store's fence asks for no more than the epoch.
    EpochAlone,
    /// A suspended zone's memory is dropped when another shard is granted it.
    DroppedAtGrant,
    /// An adopter goes on from what it read before it fenced.
    ReadBeforeFence,
    /// A lease that was never held is free, also where the authority may have forgotten another.
    ForgottenIsFree,
    /// An adopter goes on from memory without a question about what the store has.
    MemoryUnasked,
    /// A zone that the store has lost is begun again at once.
    NoGrace,
}

/// The paths of which each exploration must take all.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum OwnershipPath {
    /// A shard went on from memory under another grant.
    FromMemory,
    /// A shard went on from the store.
    FromStore,
    /// A suspended shard put back a lease that the authority had forgotten.
    PutBack,
    /// A lost data set was written anew from memory.
    WrittenAnew,
    /// A zone of which nothing was left was begun again.
    BegunAgain,
    /// A memory died because another owner had written.
    Dropped,
    /// A shard with memory claimed a zone that another had been granted, because the store was behind.
    ClaimedBack,
    /// Told history was lost, and no shard within reach had it.
    Lost,
}

/// The property that a step broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnershipBreach {
    /// Two processes wrote under one epoch.
    TwoOwners,
    /// A memory was dropped, and the store has nothing newer.
    MemoryDropped,
    /// An owner told something without what was told before, though a store or a memory within reach had that.
    LostNeedlessly,
    /// Something was told under a lower epoch than before.
    EpochWentBack,
    /// A machine's assertion failed.
    Panicked,
}

/// The number of times that each event happens.
#[derive(Clone, Copy, Debug)]
pub struct OwnershipBounds {
    /// Shards. The first holds the zone at the beginning, the second prefers it.
    pub shards: usize,
    /// Ticks of the zone.
    pub ticks: u64,
    /// Epochs that are granted.
    pub epochs: u32,
    /// Times that the authority forgets everything.
    pub authority_losses: u8,
    /// Times that the store forgets everything, or a tail.
    pub store_losses: u8,
    /// Times that a process is stopped for a while.
    pub pauses: u8,
    /// Deaths of processes.
    pub crashes: u8,
    /// Whether an owner acts no longer than its lease lasts, so that none runs when a watcher has waited for it. Safety
    /// rests on gate and fence, and holds without that.
    pub keeps_deadlines: bool,
}

/// The model of who owns a zone.
#[derive(Debug)]
pub struct Ownership {
    zone: ZoneName,
    bounds: OwnershipBounds,
    mutant: Option<OwnershipMutant>,
    paths: PathsTaken,
}

impl Ownership {
    /// Returns the model, with a defect or without one.
    #[must_use]
    pub fn new(bounds: OwnershipBounds, mutant: Option<OwnershipMutant>) -> Self {
        Self {
            zone: history::zone(),
            bounds,
            mutant,
            paths: PathsTaken::default(),
        }
    }

    fn is(&self, mutant: OwnershipMutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn took(&self, path: OwnershipPath) {
        self.paths.note(path as u8);
    }
}

impl Model for Ownership {
    type State = ClusterState;
    type Action = ClusterAct;

    fn init_states(&self) -> Vec<ClusterState> {
        vec![ClusterState::new(&self.zone, self.bounds.shards)]
    }

    fn actions(&self, state: &ClusterState, actions: &mut Vec<ClusterAct>) {
        if state.breach.is_none() {
            self.offer(state, actions);
        }
    }

    fn next_state(&self, last: &ClusterState, act: ClusterAct) -> Option<ClusterState> {
        let mut state = last.clone();
        self.step(&mut state, act);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn took(model: &Ownership, path: OwnershipPath) -> bool {
            model.paths.has(path as u8)
        }
        vec![
            Property::always("one process writes under an epoch", |_, state: &ClusterState| {
                state.breach != Some(OwnershipBreach::TwoOwners)
            }),
            Property::always("memory dies for data only", |_, state: &ClusterState| {
                state.breach != Some(OwnershipBreach::MemoryDropped)
            }),
            Property::always(
                "what was told stays while anything has it",
                |_, state: &ClusterState| state.breach != Some(OwnershipBreach::LostNeedlessly),
            ),
            Property::always("epochs that are told only rise", |_, state: &ClusterState| {
                state.breach != Some(OwnershipBreach::EpochWentBack)
            }),
            Property::always("no machine contradicts itself", |_, state: &ClusterState| {
                state.breach != Some(OwnershipBreach::Panicked)
            }),
            Property::sometimes("a suspended owner takes its zone back", |model: &Self, _| {
                took(model, OwnershipPath::FromMemory)
            }),
            Property::sometimes("a spare adopts", |model: &Self, _| {
                took(model, OwnershipPath::FromStore)
            }),
            Property::sometimes("a forgotten lease is put back", |model: &Self, _| {
                took(model, OwnershipPath::PutBack)
            }),
            Property::sometimes("a lost data set is written anew", |model: &Self, _| {
                took(model, OwnershipPath::WrittenAnew)
            }),
            Property::sometimes("a zone is begun again", |model: &Self, _| {
                took(model, OwnershipPath::BegunAgain)
            }),
            Property::sometimes("a memory dies for data", |model: &Self, _| {
                took(model, OwnershipPath::Dropped)
            }),
            Property::sometimes("memory claims back from less", |model: &Self, _| {
                took(model, OwnershipPath::ClaimedBack)
            }),
            Property::sometimes("what no living shard has is lost", |model: &Self, _| {
                took(model, OwnershipPath::Lost)
            }),
        ]
    }
}
