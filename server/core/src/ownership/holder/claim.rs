//! Claims, one after the other. Which lease to claim, and when, is the contender's to say. Of a zone that ran other
//! rules the store is asked first, whether it has the data of which the lease says so.

use std::time::Duration;

use everhold_protocol::Epoch;

use super::Holder;
use super::command::{HolderCommand, Request, StoreData, StoreFence, UnfitZone};
use super::remark::{Remark, RequestFailure, Service};
use crate::ownership::authority::{AuthorityError, LeaseView};
use crate::ownership::grant::Tenure;

/// One claim under way.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) watched: LeaseView,
    /// A time before anything was asked for it: the lease's deadline counts from here.
    pub(super) sent_at: Duration,
}

impl Holder {
    /// Begins the next claim, by asking the store for the zone's fence; ends the turn if there is none. Renewals wait
    /// meanwhile: a store that hangs must not hold them up.
    ///
    /// A turn claims what could be claimed when its claims began, each lease once. After the first it goes on only
    /// until renewals fall due, or for as long as they are apart: claims that are not answered hold up neither renewals
    /// nor orders for long.
    pub(super) fn claim_next(&mut self, now: Duration) {
        let took = now.saturating_sub(self.claims_from);
        let is_long = !took.is_zero() && (took >= self.lease.renew_every || self.is_renewal_due(now));
        let watched = if self.is_closed || is_long {
            None
        } else {
            self.contender.poll_claim(self.claims_from)
        };
        let Some(watched) = watched else {
            return self.end_turn(now);
        };
        let request = if self.contender.is_unfit(&watched) {
            Request::Data(watched.zone.clone())
        } else {
            Request::Fence(watched.zone.clone())
        };
        self.ask_for_claim(now, request, watched);
    }

    /// Asks the store, for a claim that begins now.
    fn ask_for_claim(&mut self, now: Duration, request: Request, watched: LeaseView) {
        let within = self.lease.retry_every.min(self.answer_max());
        self.ask(request, Some(within));
        self.claim = Some(Claim { watched, sent_at: now });
    }

    /// Goes on with the claim of a zone that ran other rules, unless the store bears that out.
    pub(super) fn handle_claim_data(&mut self, now: Duration, data: &StoreData) {
        if let StoreData::Unknown(why) = data {
            let error = format!("the store's data is unknown: {why}");
            return self.handle_claimed(now, Err(AuthorityError::Unavailable(error)));
        }
        let Claim { watched, .. } = self.claim.take().expect("data is asked for by a claim");
        if self.contender.handle_unfit(now, data) {
            self.note_unfit(&watched);
        } else {
            self.ask_for_claim(now, Request::Fence(watched.zone.clone()), watched);
        }
    }

    /// Reports a zone that ran other rules, once for each zone and rules.
    fn note_unfit(&mut self, LeaseView { zone, rules, .. }: &LeaseView) {
        let mark = rules.expect("it is the mark that says so");
        if self.unfit.insert(zone.clone(), mark.rules) != Some(mark.rules) {
            self.commands.push_back(HolderCommand::ReportUnfit(UnfitZone {
                zone: zone.clone(),
                mark,
                ours: self.rules,
            }));
        }
    }

    /// The new epoch is above what authority, store, *and* this process have seen: each may have forgotten. Without the
    /// store's word nothing is claimed, and a lease that shows less than the store knows is watched first.
    pub(super) fn handle_fence(&mut self, now: Duration, fence: StoreFence) {
        let fence = match fence {
            StoreFence::Epoch(epoch) => epoch,
            StoreFence::None | StoreFence::Lost => Epoch::NONE,
            StoreFence::Unknown(why) => {
                let error = format!("the store's fence is unknown: {why}");
                return self.handle_claimed(now, Err(AuthorityError::Unavailable(error)));
            }
        };
        let Claim { watched, sent_at } = self.claim.take().expect("a fence is asked for by a claim");
        self.census.note_epoch(&watched.zone, fence);
        if self.census.is_forgotten(&watched) && self.contender.handle_forgotten(now) {
            return;
        }
        let left = (sent_at + self.answer_max()).saturating_sub(now);
        let request = Request::Claim {
            watched: watched.clone(),
            epoch_floor: self.census.epoch_seen(&watched.zone),
        };
        self.ask(request, Some(left));
        self.claim = Some(Claim { watched, sent_at });
    }

    pub(super) fn handle_claimed(&mut self, now: Duration, outcome: Result<Tenure, AuthorityError>) {
        let claim = self.claim.take().expect("an outcome belongs to a claim under way");
        if matches!(outcome, Ok(_) | Err(AuthorityError::Held(_)))
            && let Some(lasted) = self.outages.claims.end(now)
        {
            self.log(Remark::Answered(Service::Claims, lasted));
        }
        match outcome {
            Ok(tenure) => {
                self.contender.handle_granted();
                self.hold(now, tenure, &claim);
            }
            Err(AuthorityError::Held(view)) => self.contender.handle_refused(now, *view),
            Err(error) => {
                self.contender.handle_unavailable(now);
                if let Some(lasted) = self.outages.claims.note(now) {
                    let failure = RequestFailure::Claim(claim.watched.zone, error.to_string());
                    self.log(Remark::Failing(failure, lasted));
                }
            }
        }
    }
}
