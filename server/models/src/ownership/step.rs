//! The events of the model: which may happen, and who takes each.

use everhold_core::ownership::{EndReason, Nonce};
use everhold_protocol::Tick;

use super::shard::{ShardModel, Watch, ZoneHere};
use super::{ClusterAct, ClusterState, Ownership, OwnershipBreach, OwnershipMutant};
use crate::explore::guarded;

impl Ownership {
    /// Adds all events that may happen now.
    pub(super) fn offer(&self, state: &ClusterState, acts: &mut Vec<ClusterAct>) {
        let (counts, bounds) = (state.counts, self.bounds);
        for (shard, here) in state.shards.iter().enumerate() {
            if here.append.is_some() {
                acts.push(ClusterAct::Carry(shard));
            }
            if !here.is_up {
                acts.push(ClusterAct::Restart(shard));
                continue;
            }
            if counts.crashes < bounds.crashes {
                acts.push(ClusterAct::Crash(shard));
            }
            if here.tenure().is_some() {
                acts.push(ClusterAct::Expire(shard));
            }
            if here.is_paused {
                acts.push(ClusterAct::Wake(shard));
                continue;
            }
            if counts.pauses < bounds.pauses {
                acts.push(ClusterAct::Pause(shard));
            }
            self.offer_turn(state, shard, acts);
            self.offer_zone(state, shard, acts);
        }
        if counts.authority_losses < bounds.authority_losses {
            acts.push(ClusterAct::ForgetLeases);
        }
        if counts.store_losses < bounds.store_losses {
            acts.push(ClusterAct::ForgetData);
            acts.push(match state.dump {
                None => ClusterAct::Keep,
                Some(_) => ClusterAct::GoBack,
            });
        }
    }

    /// Adds what a shard may do at the authority.
    fn offer_turn(&self, state: &ClusterState, shard: usize, acts: &mut Vec<ClusterAct>) {
        let here = &state.shards[shard];
        if here.tenure().is_some() {
            if Self::is_renewal_news(state, shard) {
                acts.push(ClusterAct::Renew(shard));
            }
            return;
        }
        if here.claim.is_some() {
            acts.push(ClusterAct::Grant(shard));
            return;
        }
        acts.extend([ClusterAct::Look(shard), ClusterAct::Claim(shard)]);
        if self.may_stand(state, shard) {
            acts.push(ClusterAct::Stand(shard));
        }
    }

    /// Adds what a shard may do at the store.
    fn offer_zone(&self, state: &ClusterState, shard: usize, acts: &mut Vec<ClusterAct>) {
        let here = &state.shards[shard];
        match &here.zone {
            ZoneHere::Adopting {
                is_fenced, read_early, ..
            } => {
                let reads_early = self.is(OwnershipMutant::ReadBeforeFence) && read_early.is_none();
                acts.push(match (is_fenced, reads_early) {
                    (true, _) => ClusterAct::Start(shard),
                    (false, true) => ClusterAct::ReadEarly(shard),
                    (false, false) => ClusterAct::Fence(shard),
                });
                if self.may_begin_again(state, shard) {
                    acts.push(ClusterAct::BeginAgain(shard));
                }
            }
            ZoneHere::Running { journal, .. } => {
                if journal.last().tick < Tick(self.bounds.ticks) {
                    acts.push(ClusterAct::Tick(shard));
                }
                if journal.is_reseeding() {
                    acts.push(ClusterAct::WriteAnew(shard));
                }
            }
            ZoneHere::None | ZoneHere::Suspended { .. } => {}
        }
    }

    pub(super) fn step(&self, state: &mut ClusterState, act: ClusterAct) {
        let is_sound = guarded(|| {
            self.apply(state, act);
            (0..state.shards.len()).for_each(|shard| Self::send(state, shard));
        });
        if is_sound.is_none() {
            state.breach = Some(OwnershipBreach::Panicked);
        }
    }

    fn apply(&self, state: &mut ClusterState, act: ClusterAct) {
        match act {
            ClusterAct::Look(shard) => {
                self.look(state, shard);
                self.mend(state, shard);
            }
            ClusterAct::Stand(shard) => {
                if let Watch::Lease { has_stood, .. } = &mut state.shards[shard].watch {
                    *has_stood = true;
                }
            }
            ClusterAct::Renew(shard) => self.renew(state, shard),
            ClusterAct::Expire(shard) => self.lose(state, shard, &EndReason::Suspended),
            ClusterAct::Claim(shard) => self.claim(state, shard),
            ClusterAct::Grant(shard) => self.grant(state, shard),
            ClusterAct::ReadEarly(shard) => {
                let stored = state.stored(&self.zone);
                if let ZoneHere::Adopting { read_early, .. } = &mut state.shards[shard].zone {
                    *read_early = stored;
                }
            }
            ClusterAct::Fence(shard) => self.fence(state, shard),
            ClusterAct::Start(shard) => self.start(state, shard),
            ClusterAct::BeginAgain(shard) => self.begin_again(state, shard),
            ClusterAct::Tick(shard) => Self::tick(state, shard),
            ClusterAct::Carry(shard) => self.carry(state, shard),
            ClusterAct::WriteAnew(shard) => self.write_anew(state, shard),
            ClusterAct::Pause(shard) => {
                state.counts.pauses += 1;
                state.shards[shard].is_paused = true;
            }
            ClusterAct::Wake(shard) => state.shards[shard].is_paused = false,
            ClusterAct::Crash(shard) => crash(state, shard),
            ClusterAct::Restart(shard) => {
                let here = &mut state.shards[shard];
                let append = here.append.take();
                *here = ShardModel::new(Nonce(here.nonce.0 + 1), here.is_preferred);
                here.append = append;
            }
            ClusterAct::ForgetLeases => {
                state.counts.authority_losses += 1;
                state.authority.forget_everything();
            }
            ClusterAct::ForgetData => {
                state.counts.store_losses += 1;
                state.store.forget_everything();
                // What is begun anew is another history.
                state.writers.clear();
            }
            ClusterAct::Keep => state.dump = Some(state.store.dump()),
            ClusterAct::GoBack => {
                state.counts.store_losses += 1;
                let dump = state.dump.take().expect("a state was kept");
                state.store.restore_to(&dump);
            }
        }
    }
}

/// Ends a process. What it had sent is on its way all the same.
fn crash(state: &mut ClusterState, shard: usize) {
    state.counts.crashes += 1;
    let here = &mut state.shards[shard];
    here.is_up = false;
    here.is_paused = false;
    here.zone = ZoneHere::None;
    here.watch = Watch::Nothing;
    here.claim = None;
}
