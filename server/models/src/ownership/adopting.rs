//! The steps of the model between shards and the store: adoption, ticks, appends, and a data set that is written anew.
//! What is decided, the journal and the question which history is newer decide.

use everhold_core::durability::store::{AppendAnswer, CheckpointHead, CheckpointKind, Origin, Position, StoreError};
use everhold_core::durability::suspended::is_newest;
use everhold_core::durability::{Journal, JournalEvent, StopReason};
use everhold_core::ownership::{EndReason, Grant, Tenure};

use super::shard::ZoneHere;
use super::state::is_fenced;
use super::{ClusterState, Ownership, OwnershipBreach, OwnershipMutant, OwnershipPath};
use crate::history;

impl Ownership {
    /// Fences the store for an adoption. One that has lost the zone is not fenced by a shard that has nothing.
    pub(super) fn fence(&self, state: &mut ClusterState, shard: usize) {
        let ZoneHere::Adopting { tenure, memory, .. } = &state.shards[shard].zone else {
            return;
        };
        let (tenure, has_memory) = (tenure.clone(), memory.is_some());
        let answer = state.store.fence(&self.named(state, &tenure));
        match answer {
            Err(StoreError::Lost) if has_memory => self.start_from_memory(state, shard),
            Err(StoreError::Lost) => {}
            Err(StoreError::Fenced { .. }) => self.lose(state, shard, &EndReason::Fenced),
            Err(_) => {}
            Ok(()) => {
                if let ZoneHere::Adopting { is_fenced, .. } = &mut state.shards[shard].zone {
                    *is_fenced = true;
                }
            }
        }
    }

    /// Reads what the store has, if that is newer than the memory, and starts the zone.
    pub(super) fn start(&self, state: &mut ClusterState, shard: usize) {
        let ZoneHere::Adopting {
            tenure,
            memory,
            read_early,
            ..
        } = &state.shards[shard].zone
        else {
            return;
        };
        let summary = Ok(state.store.summary(&self.zone));
        if let Some(journal) = memory {
            let last = journal.last().stamp();
            if self.is(OwnershipMutant::MemoryUnasked) || is_newest(last, summary).expect("the store answers") {
                self.start_from_memory(state, shard);
                return;
            }
            state.check_dropped(&self.zone, last);
            if let ZoneHere::Adopting { memory, .. } = &mut state.shards[shard].zone {
                *memory = None;
            }
            return;
        }
        let tenure = tenure.clone();
        let read_early = *read_early;
        match state.store.outline(&self.zone, Some(self.named(state, &tenure).grant)) {
            Err(StoreError::Fenced { .. }) => return self.lose(state, shard, &EndReason::Fenced),
            Err(_) => return,
            Ok(_) => {}
        }
        let found = read_early.or_else(|| state.stored(&self.zone));
        let found = found.expect("an outline is of a data set");
        self.took(OwnershipPath::FromStore);
        self.run(state, shard, Journal::new(tenure.epoch(), found));
    }

    /// Begins a zone again that the store has lost, after the grace in which a memory would have come.
    pub(super) fn begin_again(&self, state: &mut ClusterState, shard: usize) {
        let ZoneHere::Adopting { tenure, .. } = &state.shards[shard].zone else {
            return;
        };
        let tenure = tenure.clone();
        if state.store.create(&tenure, Origin::Nothing).is_err() {
            return self.lose(state, shard, &EndReason::Fenced);
        }
        self.took(OwnershipPath::BegunAgain);
        let in_reach = state.has_memory_in_reach(shard);
        if let ZoneHere::Adopting { is_needless, .. } = &mut state.shards[shard].zone {
            *is_needless |= in_reach;
        }
        let found = state.stored(&self.zone).unwrap_or(Position::GENESIS);
        self.run(state, shard, Journal::new(tenure.epoch(), found));
    }

    /// Whether a shard may take the zone for lost: nothing that lives comes with a memory within the grace.
    pub(super) fn may_begin_again(&self, state: &ClusterState, shard: usize) -> bool {
        let ZoneHere::Adopting {
            tenure,
            memory: None,
            is_fenced: false,
            ..
        } = &state.shards[shard].zone
        else {
            return false;
        };
        let others = state.shards.iter().enumerate();
        let mut others = others.filter(|(other, here)| *other != shard && here.is_awake());
        let comes = others.any(|(_, here)| here.memory().is_some_and(|journal| journal.acknowledged().tick.0 > 0));
        let is_lost = matches!(state.store.clone().fence(tenure), Err(StoreError::Lost));
        is_lost && (!comes || self.is(OwnershipMutant::NoGrace))
    }

    fn start_from_memory(&self, state: &mut ClusterState, shard: usize) {
        let ZoneHere::Adopting { tenure, memory, .. } = &mut state.shards[shard].zone else {
            return;
        };
        let (epoch, journal) = (tenure.epoch(), memory.take().expect("there is a memory"));
        self.took(OwnershipPath::FromMemory);
        self.run(state, shard, journal.reclaimed(epoch));
    }

    /// Starts the zone. What the store and the memories within reach have not is lost by that.
    fn run(&self, state: &mut ClusterState, shard: usize, journal: Journal) {
        let ZoneHere::Adopting {
            tenure, is_needless, ..
        } = &state.shards[shard].zone
        else {
            return;
        };
        let stored = state.stored(&self.zone);
        let is_needless = *is_needless || stored.is_some_and(|end| history::contains(end, state.told));
        if !is_needless && !history::contains(journal.last(), state.told) {
            self.took(OwnershipPath::Lost);
            state.told = journal.last();
        }
        state.shards[shard].zone = ZoneHere::Running {
            tenure: tenure.clone(),
            is_needless,
            journal,
        };
    }

    pub(super) fn tick(state: &mut ClusterState, shard: usize) {
        let here = &mut state.shards[shard];
        let ZoneHere::Running { tenure, journal, .. } = &mut here.zone else {
            return;
        };
        // Epoch and process, so that two histories differ.
        let mark = tenure.epoch().0 * 16 + u32::try_from(here.nonce.0 / 10).expect("few shards");
        let record = history::record(journal.last(), u8::try_from(mark).expect("few epochs"));
        journal.push(record).expect("a short history fits the ring");
    }

    /// Sends what is to be appended, as soon as nothing else is on its way.
    pub(super) fn send(state: &mut ClusterState, shard: usize) {
        let here = &mut state.shards[shard];
        if here.is_awake()
            && here.append.is_none()
            && let ZoneHere::Running { tenure, journal, .. } = &mut here.zone
            && let Some(records) = journal.poll_append()
        {
            here.append = Some((tenure.clone(), records));
        }
    }

    /// Carries an append out. The answer comes to the owner that sent it, if that is there and awake.
    pub(super) fn carry(&self, state: &mut ClusterState, shard: usize) {
        let (tenure, records) = state.shards[shard].append.take().expect("an append is on its way");
        let sender = self.sender(state, &tenure);
        let answer = state.store.append(&sender, &records);
        if matches!(answer, Ok(AppendAnswer::Ok)) {
            state.note_written(tenure.epoch(), tenure.grant.nonce());
        }
        let here = &mut state.shards[shard];
        let is_awake = here.is_awake();
        let ZoneHere::Running {
            tenure: now, journal, ..
        } = &mut here.zone
        else {
            return;
        };
        if *now != tenure {
            return;
        }
        let silence = StoreError::Unavailable(String::new());
        let answer = if is_awake { answer } else { Err(silence) };
        match journal.handle_answer(answer.as_ref().copied()) {
            JournalEvent::Acknowledged { position } => self.tell(state, shard, position),
            JournalEvent::Stop(reason) => self.lose(state, shard, &end_reason(reason)),
            JournalEvent::Retry { .. } | JournalEvent::Resend { .. } | JournalEvent::Reseed | JournalEvent::Create => {}
        }
    }

    /// Returns the tenure that the store takes a call for, where it asks for no more than the epoch.
    fn named(&self, state: &ClusterState, tenure: &Tenure) -> Tenure {
        let mut named = tenure.clone();
        if self.is(OwnershipMutant::EpochAlone)
            && let Ok(outline) = state.store.outline(&self.zone, None)
            && outline.fence.0 == tenure.epoch()
        {
            named.grant = Grant::issue(outline.fence.0, outline.fence.1);
        }
        named
    }

    /// Returns the tenure that the store takes a write for.
    fn sender(&self, state: &ClusterState, tenure: &Tenure) -> Tenure {
        let mut sender = self.named(state, tenure);
        let summary = state.store.summary(&self.zone);
        if self.is(OwnershipMutant::NoFence)
            && let Some(holder) = state.shards.iter().filter_map(|here| here.tenure()).next_back()
            && summary.is_some_and(|summary| summary.fence_epoch == holder.epoch())
        {
            sender = holder.clone();
        }
        sender
    }

    /// Makes a lost data set anew, and then a base in it.
    pub(super) fn write_anew(&self, state: &mut ClusterState, shard: usize) {
        let ZoneHere::Running { tenure, journal, .. } = &mut state.shards[shard].zone else {
            return;
        };
        let tenure = tenure.clone();
        let is_lost = state.store.summary(&self.zone).is_none();
        if is_lost {
            let created = state.store.create(&tenure, Origin::Memory);
            created.expect("a data set that is not there has no fence");
            let _reseed = journal.handle_created();
            return;
        }
        let head = CheckpointHead {
            position: journal.last(),
            kind: CheckpointKind::Base,
            parts: 0,
            bytes: 0,
        };
        let moved = state.store.move_head(&tenure, head);
        if is_fenced(&moved) {
            return self.lose(state, shard, &EndReason::Fenced);
        }
        if moved.is_err() {
            return self.lose(state, shard, &EndReason::Refused);
        }
        let event = journal.handle_reseeded(head.position);
        self.took(OwnershipPath::WrittenAnew);
        state.note_written(tenure.epoch(), tenure.grant.nonce());
        if let JournalEvent::Acknowledged { position } = event {
            self.tell(state, shard, position);
        }
    }

    /// Tells all that is acknowledged.
    fn tell(&self, state: &mut ClusterState, shard: usize, position: Position) {
        let ZoneHere::Running { is_needless, .. } = &state.shards[shard].zone else {
            return;
        };
        if history::contains(position, state.told) {
            if position.epoch < state.told.epoch {
                state.breach = Some(OwnershipBreach::EpochWentBack);
            }
        } else if *is_needless {
            state.breach = Some(OwnershipBreach::LostNeedlessly);
        }
        state.told = position;
    }
}

const fn end_reason(reason: StopReason) -> EndReason {
    match reason {
        StopReason::Fenced => EndReason::Fenced,
        StopReason::Fork => EndReason::Fork,
        StopReason::Corrupt => EndReason::Corrupt,
    }
}
