//! The steps of the model between shards and the authority, in the order of a holder's turn: renew, look, mend, claim.
//! What is decided, census, contender, and the table of ends decide.

use everhold_core::ownership::contender::StoreData;
use everhold_core::ownership::{
    AdoptionFailure, After, AuthorityError, EndReason, LeaseView, Remains, Renewal, Tenure,
};
use everhold_protocol::Epoch;

use super::shard::{TTL, Watch, ZoneHere};
use super::state::terms;
use super::{ClusterState, Ownership, OwnershipMutant, OwnershipPath};

/// Makes the renewal of a lease. The model has one set of rules, so it marks none.
fn renewal(tenure: &Tenure) -> Renewal {
    Renewal {
        tenure: tenure.clone(),
        players: 0,
        mark: None,
    }
}

impl Ownership {
    pub(super) fn look(&self, state: &mut ClusterState, shard: usize) {
        let Some(view) = state.lease() else {
            state.shards[shard].watch = Watch::Missing;
            return;
        };
        let here = &mut state.shards[shard];
        here.seen = here.seen.max(view.epoch);
        let shows_less = here.census(&self.zone).is_forgotten(&view);
        match &mut here.watch {
            Watch::Lease {
                view: watched,
                is_forgotten,
                ..
            } if *watched == view => *is_forgotten |= shows_less,
            watch => {
                *watch = Watch::Lease {
                    view,
                    has_stood: false,
                    is_forgotten: shows_less,
                }
            }
        }
    }

    /// Whether the lease that a shard watches may stand still for as long as it must wait: nothing moves it that is
    /// quicker.
    pub(super) fn may_stand(&self, state: &ClusterState, shard: usize) -> bool {
        let Watch::Lease {
            view, has_stood: false, ..
        } = &state.shards[shard].watch
        else {
            return false;
        };
        state.lease().as_ref() == Some(view) && !self.is_quicker_than(state, shard, Some(view))
    }

    /// Whether a shard other than this one would move a lease, or put back a missing one, before this one has waited
    /// for it. A valid lease is renewed, or put back, also by a process that is stopped for less than is left of it.
    pub(super) fn is_quicker_than(&self, state: &ClusterState, shard: usize, view: Option<&LeaseView>) -> bool {
        let shown = view.map_or(Epoch::NONE, |view| view.epoch);
        let others = state.shards.iter().enumerate();
        let mut others = others.filter(|(other, here)| *other != shard && here.is_up);
        others.any(|(_, here)| {
            let is_held = here.tenure().is_some_and(|tenure| {
                let is_own = view.is_some_and(|view| (view.epoch, view.nonce) == grant_of(tenure));
                self.bounds.keeps_deadlines && (is_own || tenure.epoch() > shown)
            });
            let ZoneHere::Suspended { tenure, .. } = &here.zone else {
                return is_held;
            };
            let Some(view) = view else { return here.is_awake() };
            let is_own = view.nonce == here.nonce;
            here.is_awake() && (shown < tenure.epoch() || is_own)
        })
    }

    pub(super) fn mend(&self, state: &mut ClusterState, shard: usize) {
        let here = &state.shards[shard];
        let (contender, _) = here.contender(&self.zone, true);
        let is_missing = here.census(&self.zone).is_missing(&self.zone);
        if let ZoneHere::Suspended { tenure, journal, .. } = &here.zone {
            let (tenure, last) = (tenure.clone(), journal.last().stamp());
            if is_missing || contender.forgotten().next().is_some() {
                if state.authority.reinstate(&renewal(&tenure), terms()).is_ok() {
                    self.took(OwnershipPath::PutBack);
                }
            } else if contender.taken().next().is_some() {
                self.ask_data(state, shard, last);
            }
            return;
        }
        if here.tenure().is_some() || !is_missing {
            return;
        }
        // Without a preference it waits for the grace.
        let now = if self.is_quicker_than(state, shard, None) { 0 } else { 2 };
        let census = state.shards[shard].census(&self.zone);
        if !census.missing(now * TTL).is_empty() {
            state.authority.declare_zone(&self.zone).expect("it answers");
        }
    }

    fn ask_data(&self, state: &mut ClusterState, shard: usize, last: everhold_core::ownership::DataStamp) {
        let data = state.data(&self.zone);
        let (mut contender, _) = state.shards[shard].contender(&self.zone, true);
        let is_useless = contender.handle_stored(&self.zone, &data);
        if is_useless || self.is(OwnershipMutant::DroppedAtGrant) {
            self.took(OwnershipPath::Dropped);
            state.check_dropped(&self.zone, last);
            state.shards[shard].zone = ZoneHere::None;
        } else if let ZoneHere::Suspended { stored, .. } = &mut state.shards[shard].zone {
            *stored = Some(data);
        }
    }

    /// Renews a lease that the authority does not show any more, or has it put back.
    pub(super) fn renew(&self, state: &mut ClusterState, shard: usize) {
        let Some(tenure) = state.shards[shard].tenure().cloned() else {
            return;
        };
        let forgot = match state.authority.renew(&renewal(&tenure)) {
            Ok(()) => return,
            Err(AuthorityError::Held(view)) => view.epoch < tenure.epoch(),
            Err(_) => true,
        };
        if !forgot || state.authority.reinstate(&renewal(&tenure), terms()).is_err() {
            self.lose(state, shard, &EndReason::Fenced);
        }
    }

    /// Whether a renewal would find that the authority does not show the lease.
    pub(super) fn is_renewal_news(state: &ClusterState, shard: usize) -> bool {
        let view = state.lease();
        let shown = view.map(|view| (view.epoch, view.nonce));
        let tenure = state.shards[shard].tenure();
        tenure.is_some_and(|tenure| shown != Some(grant_of(tenure)))
    }

    /// Ends what a shard has of the zone under its grant.
    pub(super) fn lose(&self, state: &mut ClusterState, shard: usize, reason: &EndReason) {
        match std::mem::replace(&mut state.shards[shard].zone, ZoneHere::None) {
            ZoneHere::Running { tenure, journal, .. } => {
                let is_kept = matches!(reason, EndReason::Suspended | EndReason::Fenced | EndReason::Refused);
                let acknowledged = journal.acknowledged().stamp();
                let remains = if is_kept {
                    Remains::Memory { acknowledged }
                } else {
                    Remains::Nothing
                };
                self.after(state, shard, After::end(reason, remains), (tenure, Some(journal)));
            }
            ZoneHere::Adopting { tenure, memory, .. } => {
                let remains = memory.as_ref().map_or(Remains::Nothing, |journal| Remains::Memory {
                    acknowledged: journal.acknowledged().stamp(),
                });
                let failure = match reason {
                    EndReason::Fenced => AdoptionFailure::Overtaken,
                    _ => AdoptionFailure::LeaseOver,
                };
                self.after(state, shard, After::failed_adoption(failure, remains), (tenure, memory));
            }
            zone => state.shards[shard].zone = zone,
        }
    }

    fn after(
        &self,
        state: &mut ClusterState,
        shard: usize,
        after: After,
        (tenure, memory): (Tenure, Option<everhold_core::durability::Journal>),
    ) {
        state.shards[shard].watch = Watch::Nothing;
        match (after, memory) {
            (After::Reclaim { acknowledged }, Some(journal)) => {
                state.shards[shard].zone = ZoneHere::Suspended {
                    tenure,
                    acknowledged,
                    stored: None,
                    journal,
                };
            }
            (after, memory) => {
                if let Some(journal) = memory {
                    state.check_dropped(&self.zone, journal.last().stamp());
                }
                if matches!(after, After::Release | After::Cede | After::Leave) && state.shards[shard].is_awake() {
                    let _held_by_another = state.authority.release(&tenure);
                }
            }
        }
    }

    /// Begins a claim: the store is asked for the zone's fence, so that the epoch is above it.
    pub(super) fn claim(&self, state: &mut ClusterState, shard: usize) {
        let may_forget = !self.is(OwnershipMutant::ForgottenIsFree);
        let (mut contender, now) = state.shards[shard].contender(&self.zone, may_forget);
        let Some(watched) = contender.poll_claim(now) else {
            return;
        };
        let fence = state.store.summary(&self.zone).map(|summary| summary.fence_epoch);
        let here = &mut state.shards[shard];
        if !self.is(OwnershipMutant::EpochAlone) {
            here.seen = here.seen.max(fence.unwrap_or(Epoch::NONE));
        }
        let census = here.census(&self.zone);
        let is_forgotten = census.is_forgotten(&watched) && !self.is(OwnershipMutant::ForgottenIsFree);
        if is_forgotten && contender.handle_forgotten(now) {
            if let Watch::Lease { is_forgotten, .. } = &mut here.watch {
                *is_forgotten = true;
            }
            return;
        }
        let floor = if self.is(OwnershipMutant::EpochAlone) {
            Epoch::NONE
        } else {
            census.epoch_seen(&self.zone)
        };
        if watched.epoch.max(floor).0 < self.bounds.epochs {
            here.claim = Some((watched, floor));
        }
    }

    pub(super) fn grant(&self, state: &mut ClusterState, shard: usize) {
        let (watched, floor) = state.shards[shard].claim.take().expect("a claim is under way");
        let nonce = state.shards[shard].nonce;
        let tenure = match state.authority.claim(&watched, nonce, terms(), floor) {
            Ok(tenure) => tenure,
            Err(AuthorityError::Held(view)) => {
                state.shards[shard].watch = Watch::Lease {
                    view: *view,
                    has_stood: false,
                    is_forgotten: false,
                };
                return;
            }
            Err(_) => return,
        };
        // A shard that waited did so while nothing in reach was quicker; what comes into reach later may come too late,
        // as it may for a lease that its owner gave up. A lease that shows less than was told is another matter.
        let has_waited = matches!(state.shards[shard].watch, Watch::Lease { has_stood: true, .. });
        let is_forgotten = watched.epoch < state.told.epoch;
        let is_needless = is_forgotten && !has_waited && state.has_memory_in_reach(shard);
        let here = &mut state.shards[shard];
        here.seen = here.seen.max(tenure.epoch());
        here.watch = Watch::Nothing;
        let memory = match std::mem::replace(&mut here.zone, ZoneHere::None) {
            ZoneHere::Suspended { journal, stored, .. } => {
                if watched.nonce != nonce && matches!(stored, Some(StoreData::Newest(_) | StoreData::Nothing)) {
                    self.took(OwnershipPath::ClaimedBack);
                }
                Some(journal)
            }
            _ => None,
        };
        here.zone = ZoneHere::Adopting {
            tenure,
            memory,
            is_fenced: false,
            read_early: None,
            is_needless,
        };
    }
}

/// Returns epoch and nonce, as a lease shows them.
fn grant_of(tenure: &Tenure) -> (Epoch, everhold_core::ownership::Nonce) {
    (tenure.epoch(), tenure.grant.nonce())
}
