//! The state of the model. What comes of an event is decided elsewhere.

use std::time::Duration;

use everhold_core::durability::Journal;
use everhold_core::durability::store::{Position, StoreError};
use everhold_core::ownership::contender::StoreData;
use everhold_core::ownership::{DataStamp, LeaseTerms, LeaseView, Nonce};
use everhold_protocol::{Epoch, Tick, ZoneName};
use everhold_sim::authority::MemoryAuthority;
use everhold_sim::store::{MemoryStore, StoreDump};

use super::OwnershipBreach;
use super::shard::{ShardModel, Watch, ZoneHere};
use crate::history;

/// The events so far, as far as bounds count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClusterCounts {
    /// Times that the authority forgot.
    pub authority_losses: u8,
    /// Times that the store did.
    pub store_losses: u8,
    /// Pauses of a process.
    pub pauses: u8,
    /// Deaths of a process.
    pub crashes: u8,
}

/// The state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterState {
    /// The authority.
    pub authority: MemoryAuthority,
    /// The store.
    pub store: MemoryStore,
    /// An older state of the store, to which it may go back.
    pub dump: Option<StoreDump>,
    /// The shards.
    pub shards: Vec<ShardModel>,
    /// The end of the history that was acknowledged and told.
    pub told: Position,
    /// The process that wrote under each epoch.
    pub writers: Vec<(Epoch, Nonce)>,
    /// The events so far.
    pub counts: ClusterCounts,
    /// The property that the last step broke.
    pub breach: Option<OwnershipBreach>,
}

/// An event; the number is the shard's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterAct {
    /// It looks at the authority, and mends what it finds to be in need of it.
    Look(usize),
    /// The lease that it watches has stood still for as long as it must wait.
    Stand(usize),
    /// It renews its lease, which is not there any more.
    Renew(usize),
    /// Its lease runs out.
    Expire(usize),
    /// It begins a claim.
    Claim(usize),
    /// The claim reaches the authority.
    Grant(usize),
    /// It reads the store before it fences it, as it must not.
    ReadEarly(usize),
    /// It fences the store for an adoption.
    Fence(usize),
    /// It reads what the store has, and starts the zone.
    Start(usize),
    /// It begins a zone again that the store has lost.
    BeginAgain(usize),
    /// Its zone ticks, and its record is sent, unless another is on its way.
    Tick(usize),
    /// The store carries the append out, and the answer comes if anything waits for it.
    Carry(usize),
    /// It makes a lost data set anew, or a base in it.
    WriteAnew(usize),
    /// It is stopped.
    Pause(usize),
    /// It goes on.
    Wake(usize),
    /// It dies.
    Crash(usize),
    /// It starts again.
    Restart(usize),
    /// The authority forgets everything.
    ForgetLeases,
    /// The store forgets everything.
    ForgetData,
    /// The store's state is kept: a replica has it, or a backup.
    Keep,
    /// The store goes back to what was kept.
    GoBack,
}

impl ClusterState {
    /// Returns the state in which the first shard has just started a zone that was never held before.
    pub(super) fn new(zone: &ZoneName, shards: usize) -> Self {
        let mut shards: Vec<ShardModel> = (0..shards)
            .map(|shard| ShardModel::new(Nonce(shard as u64 * 10 + 1), shard == 1))
            .collect();
        let (mut authority, mut store) = (MemoryAuthority::default(), MemoryStore::default());
        authority.declare_zone(zone).expect("an authority in memory answers");
        let view = authority.leases().views.remove(0);
        let tenure = authority.claim(&view, shards[0].nonce, terms(), Epoch::NONE);
        let tenure = tenure.expect("a lease that was never held is granted");
        store
            .fence(&tenure)
            .expect("a store that was never used takes the first epoch");
        let view = authority.leases().views.remove(0);
        for shard in &mut shards {
            shard.seen = Epoch::FIRST;
            shard.watch = Watch::Lease {
                view: view.clone(),
                has_stood: false,
                is_forgotten: false,
            };
        }
        shards[0].zone = ZoneHere::Running {
            journal: Journal::new(tenure.epoch(), Position::GENESIS),
            tenure,
            is_needless: false,
        };
        Self {
            authority,
            store,
            dump: None,
            shards,
            told: Position::GENESIS,
            writers: Vec::new(),
            counts: ClusterCounts::default(),
            breach: None,
        }
    }

    /// Returns the lease that the authority shows.
    pub(super) fn lease(&self) -> Option<LeaseView> {
        self.authority.leases().views.pop()
    }

    /// Returns the end of what the store has. `None`: the data set is lost, or incomplete.
    pub(super) fn stored(&self, zone: &ZoneName) -> Option<Position> {
        let data = self.store.read_zone(zone).ok()?;
        let end = history::end(&data);
        let newest = self.store.summary(zone)?.newest;
        let epoch = newest.map_or(Epoch::NONE, |newest| newest.epoch);
        Some(Position { epoch, ..end })
    }

    /// Returns what the store answers about its data.
    pub(super) fn data(&self, zone: &ZoneName) -> StoreData {
        let summary = self.store.summary(zone);
        summary.map_or(StoreData::Nothing, |summary| summary.data())
    }

    /// Returns the memory of a shard, other than `shard`, that is awake and has all that was told.
    pub(super) fn has_memory_in_reach(&self, shard: usize) -> bool {
        let others = self.shards.iter().enumerate();
        let mut others = others.filter(|(other, here)| *other != shard && here.is_awake());
        others.any(|(_, here)| {
            let memory = here.memory();
            memory.is_some_and(|journal| history::contains(journal.last(), self.told))
        })
    }

    /// Notes what a process wrote.
    pub(super) fn note_written(&mut self, epoch: Epoch, nonce: Nonce) {
        match self.writers.iter().find(|(of, _)| *of == epoch) {
            None => {
                self.writers.push((epoch, nonce));
                self.writers.sort();
            }
            Some((_, writer)) if *writer == nonce => {}
            Some(_) => self.breach = Some(OwnershipBreach::TwoOwners),
        }
    }

    /// Checks that a memory which ended at `last` dies because the store has newer data, and wholly.
    pub(super) fn check_dropped(&mut self, zone: &ZoneName, last: DataStamp) {
        let is_newer = matches!(self.data(zone), StoreData::Newest(stamp) if stamp > last);
        if last.tick > Tick(0) && !is_newer {
            self.breach = Some(OwnershipBreach::MemoryDropped);
        }
    }
}

/// Returns what every holder says about itself.
pub(super) fn terms() -> LeaseTerms {
    LeaseTerms {
        addr: ([127, 0, 0, 1], 1).into(),
        ttl: Duration::ZERO,
    }
}

/// Whether the store did not take a write because another owner holds the fence.
pub(super) const fn is_fenced<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Fenced { .. }))
}
