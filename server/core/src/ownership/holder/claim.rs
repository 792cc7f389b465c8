//! Claims, one after the other. Which lease to claim, and when, is the contender's to say. Of a zone that ran other
//! rules the store is asked first, whether it has the data of which the lease says so.

use std::time::Duration;

use everhold_protocol::Epoch;

use super::Holder;
use super::command::{HolderCommand, Request, SealedZone, StoreData, StoreFence, UnfitZone, UnsealedZone};
use super::remark::{Remark, RequestFailure, Service};
use crate::ownership::authority::{AuthorityError, LeaseView};
use crate::ownership::grant::{Nonce, Tenure};
use crate::ownership::rules_stamp::{RulesId, RulesStamp};

/// One claim, under way or without an answer.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) watched: LeaseView,
    /// A time before anything was asked for it: the lease's deadline counts from here.
    pub(super) sent_at: Duration,
    /// The floor with which the authority was asked. `None`: it was not asked yet.
    epoch_floor: Option<Epoch>,
}

impl Claim {
    /// Whether this lease is what the claim made of the one that was watched: it took effect, and its answer got lost.
    fn has_made(&self, view: &LeaseView, me: Nonce) -> bool {
        let epoch = self.epoch_floor.and_then(|floor| self.watched.epoch.max(floor).next());
        view.nonce == me && !view.released && Some(view.epoch) == epoch
    }
}

impl Holder {
    /// Begins the next claim, by asking the store for the zone's fence; ends the turn if there is none. Renewals wait
    /// meanwhile: a store that hangs must not hold them up.
    ///
    /// A turn claims what could be claimed when its claims began, each lease once. After the first it goes on only
    /// until renewals fall due, or for as long as they are apart: claims that are not answered hold up neither renewals
    /// nor orders for long.
    ///
    /// A claim that took effect without an answer goes first: the lease is ours, and runs out. The very same claim is
    /// made once more, and answered with the same grant.
    pub(super) fn claim_next(&mut self, now: Duration) {
        let took = now.saturating_sub(self.claims_from);
        let is_long = !took.is_zero() && (took >= self.lease.renew_every || self.is_renewal_due(now));
        if !is_long && let Some(claim) = self.next_unconfirmed(now) {
            self.contender.begin_claim(&claim.watched.zone);
            return self.ask_authority(now, claim);
        }
        let watched = if is_long {
            None
        } else {
            self.contender.poll_claim(self.claims_from)
        };
        let Some(watched) = watched else {
            return self.end_turn(now);
        };
        let mark = watched.mark.filter(|_| self.contender.is_unfit(&watched));
        let request = match mark {
            Some(mark) => Request::Foreign(watched.zone.clone(), mark.rules),
            None => Request::Fence(watched.zone.clone()),
        };
        self.ask_for_claim(now, request, watched);
    }

    /// Asks the store, for a claim that begins now. A store that is as slow as an authority may be is waited for: else
    /// a shard with long ways could renew its leases, and never claim them back.
    fn ask_for_claim(&mut self, now: Duration, request: Request, watched: LeaseView) {
        self.ask(request, Some(self.answer_max()));
        self.claim = Some(Claim {
            watched,
            sent_at: now,
            epoch_floor: None,
        });
    }

    /// Notes which of the claims without an answer took effect, as these leases show. One whose grant would be over by
    /// now is of no use any more.
    pub(super) fn note_unconfirmed(&mut self, now: Duration, leases: &[LeaseView]) {
        let (lasts, me) = (self.lease.ttl - self.lease.margin, self.me);
        self.open_claims.retain(|_, claim| now < claim.sent_at + lasts);
        for view in leases {
            if self
                .open_claims
                .get(&view.zone)
                .is_some_and(|claim| claim.has_made(view, me))
            {
                self.unconfirmed.insert(view.zone.clone());
            }
        }
    }

    /// Takes the next claim that took effect without an answer, unless there is no room for its zone any more.
    fn next_unconfirmed(&mut self, now: Duration) -> Option<Claim> {
        let lasts = self.lease.ttl - self.lease.margin;
        while let Some(zone) = self.unconfirmed.pop_first() {
            let claim = self.open_claims.remove(&zone);
            let claim = claim.filter(|claim| now < claim.sent_at + lasts && self.contender.may_begin_claim(&zone));
            if claim.is_some() {
                return claim;
            }
        }
        None
    }

    /// Asks the authority for the claim. The time of its answer counts from now on, that of its grant from the first
    /// time that the same was asked.
    fn ask_authority(&mut self, now: Duration, claim: Claim) {
        let epoch_floor = claim.epoch_floor.expect("the floor is known by now");
        let request = Request::Claim {
            watched: claim.watched.clone(),
            epoch_floor,
        };
        let asked_since = claim.sent_at.max(now.saturating_sub(self.answer_max() / 2));
        let left = (asked_since + self.answer_max()).saturating_sub(now);
        self.ask(request, Some(left));
        self.claim = Some(claim);
    }

    /// Goes on with the claim of a zone that ran other rules, unless the store bears that out.
    pub(super) fn handle_claim_data(&mut self, now: Duration, data: &StoreData) {
        if let StoreData::Unknown(why) = data {
            let error = format!("the store's data is unknown: {why}");
            return self.handle_claimed(now, Err(AuthorityError::Unavailable(error)));
        }
        let Claim { watched, .. } = self.claim.take().expect("data is asked for by a claim");
        if self.contender.handle_unfit(now, data) {
            self.note_unfit(&watched, None);
        } else {
            self.ask_for_claim(now, Request::Fence(watched.zone.clone()), watched);
        }
    }

    /// Goes on with the claim of a zone that is sealed under other rules, if it may be taken over.
    pub(super) fn handle_claim_sealed(&mut self, now: Duration, sealed: &SealedZone) {
        let may_take_over = |ours: RulesStamp| ours.may_take_over(&sealed.rules, sealed.wanted).is_ok();
        self.claim_if(self.stamp.is_some_and(may_take_over), now, &sealed.data);
    }

    /// Goes on with the claim of a zone that ran other rules and is not sealed, if it may be replayed under those.
    pub(super) fn handle_claim_unsealed(&mut self, now: Duration, unsealed: &UnsealedZone) {
        let may_replay = |ours: RulesStamp| ours.may_make_up_for_stop(&unsealed.kept, unsealed.wanted).is_ok();
        self.claim_if(self.stamp.is_some_and(may_replay), now, &unsealed.data);
    }

    fn claim_if(&mut self, may_go_on: bool, now: Duration, data: &StoreData) {
        if may_go_on {
            let Claim { watched, .. } = self.claim.take().expect("data is asked for by a claim");
            self.ask_for_claim(now, Request::Fence(watched.zone.clone()), watched);
        } else {
            self.handle_claim_data(now, data);
        }
    }

    /// Puts off, for as long as that is so, the claim of a zone whose newest checkpoint this build does not read.
    pub(super) fn handle_claim_later_layout(&mut self, now: Duration, layout: u16) {
        let Claim { watched, .. } = self.claim.take().expect("data is asked for by a claim");
        self.contender.handle_unwanted(now);
        self.note_unfit(&watched, Some(layout));
    }

    /// Goes on with the claim of a zone of which the store has no data, if this process may begin zones, or has the
    /// zone in memory: then it begins none, and its memory may be all that is left.
    pub(super) fn handle_unbegun(&mut self, now: Duration, fence: StoreFence, wanted: Option<RulesId>) {
        let claim = self.claim.as_ref().expect("a fence is asked for by a claim");
        let is_in_memory = self.contender.suspended().contains_key(&claim.watched.zone);
        if is_in_memory || self.stamp.is_none_or(|ours| ours.may_begin(wanted).is_ok()) {
            return self.handle_fence(now, fence);
        }
        self.claim = None;
        self.contender.handle_unwanted(now);
    }

    /// Reports a zone that ran other rules, once for each zone and rules.
    fn note_unfit(&mut self, LeaseView { zone, mark, .. }: &LeaseView, layout: Option<u16>) {
        let mark = mark.expect("it is the mark that says so");
        if self.unfit.insert(zone.clone(), mark.rules) != Some(mark.rules) {
            self.commands.push_back(HolderCommand::ReportUnfit(UnfitZone {
                zone: zone.clone(),
                mark,
                ours: self.rules,
                layout,
            }));
        }
    }

    /// The new epoch is above what authority, store, *and* this process have seen: each may have forgotten. Without the
    /// store's word nothing is claimed, and a lease that shows less than the store knows is watched first.
    pub(super) fn handle_fence(&mut self, now: Duration, fence: StoreFence) {
        let (fence, data) = match fence {
            StoreFence::Epoch { fence, data } => (fence, data),
            StoreFence::None | StoreFence::Lost => (Epoch::NONE, None),
            StoreFence::Unknown(why) => {
                let error = format!("the store's fence is unknown: {why}");
                return self.handle_claimed(now, Err(AuthorityError::Unavailable(error)));
            }
        };
        let Claim { watched, sent_at, .. } = self.claim.take().expect("a fence is asked for by a claim");
        self.census.note_epoch(&watched.zone, fence);
        // An owner leaves its mark when it hosts its zone, and writes at once: a store whose data ends before the mark
        // went back, and another shard may have in memory what it lost. One that lost the whole zone is waited for by
        // the adoption.
        let went_back = watched
            .mark
            .is_some_and(|mark| data.is_some_and(|data| data < mark.data));
        let is_put_off = went_back && self.contender.handle_gone_back(now)
            || self.census.is_forgotten(&watched) && self.contender.handle_forgotten(now);
        if is_put_off {
            return;
        }
        let epoch_floor = Some(self.census.epoch_seen(&watched.zone));
        let is_same = |before: &&Claim| is_same_claim(before, &watched, epoch_floor);
        let before = self.open_claims.get(&watched.zone).filter(is_same);
        let claim = Claim {
            sent_at: before.map_or(sent_at, |before| before.sent_at),
            watched,
            epoch_floor,
        };
        self.ask_authority(now, claim);
    }

    pub(super) fn handle_claimed(&mut self, now: Duration, outcome: Result<Tenure, AuthorityError>) {
        let claim = self.claim.take().expect("an outcome belongs to a claim under way");
        let zone = claim.watched.zone.clone();
        if matches!(outcome, Ok(_) | Err(AuthorityError::Held(_)))
            && let Some(lasted) = self.outages.claims.end(now)
        {
            self.log(Remark::Answered(Service::Claims, lasted));
        }
        match outcome {
            Ok(tenure) => {
                self.open_claims.remove(&zone);
                let is_from_memory = self.contender.handle_granted();
                self.hold(now, tenure, &claim, is_from_memory);
            }
            Err(AuthorityError::Held(view)) => self.contender.handle_refused(now, *view),
            Err(error) => {
                self.contender.handle_unavailable(now);
                if claim.epoch_floor.is_some() {
                    self.open_claims.insert(zone.clone(), claim);
                }
                if let Some(lasted) = self.outages.claims.note(now) {
                    let failure = RequestFailure::Claim(zone, error.to_string());
                    self.log(Remark::Failing(failure, lasted));
                }
            }
        }
    }
}

/// Whether a claim that was not answered asked for the same grant.
fn is_same_claim(before: &Claim, watched: &LeaseView, epoch_floor: Option<Epoch>) -> bool {
    let of = |view: &LeaseView| (view.epoch, view.nonce, view.beat, view.released);
    of(&before.watched) == of(watched) && before.epoch_floor == epoch_floor
}
