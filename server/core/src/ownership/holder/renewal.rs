//! Renewals: each lease's, when it is due, and what becomes of it. Safety hangs on two times: a lease's deadline counts
//! from before its renewal was sent, and an answer counts at the time that is read after it came.

use std::time::Duration;

use everhold_protocol::ZoneName;

use super::command::{RenewalAnswer, Request};
use super::remark::{Remark, RequestFailure, Service, ZoneRemark};
use super::{Holder, HolderStep};
use crate::ownership::authority::{AuthorityError, Renewal};
use crate::ownership::grant::Grant;
use crate::ownership::lease::Lease;

/// The renewals of one turn that have been answered.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    /// A time before they were sent: the leases' deadlines count from here.
    pub(super) sent_at: Duration,
    is_any_answered: bool,
    /// The zone of the newest that was not, and why.
    unanswered: Option<(ZoneName, String)>,
}

impl Holder {
    /// Asks for all renewals that are due, all at once. Asking each lease is also what notices a pause of the whole
    /// process.
    pub(super) fn begin_renewals(&mut self, now: Duration) {
        self.give_up_adoptions(now);
        let is_due = |lease: &mut Lease| {
            let is_due = lease.poll_renewal(now);
            if is_due {
                lease.handle_renew_sent(now);
            }
            is_due
        };
        let due = self.held.values().filter(|held| held.lease.ask(now, is_due));
        let due: Vec<Renewal> = due
            .map(|held| Renewal {
                tenure: held.tenure.clone(),
                players: held.progress.map_or(0, |progress| progress.players),
                mark: held.mark(self.rules),
            })
            .collect();
        self.renewals = Renewals {
            sent_at: now,
            ..Renewals::default()
        };
        if !due.is_empty() {
            self.ask(Request::Renew(due), Some(self.answer_max()));
        }
        self.step = HolderStep::Renewing;
    }

    /// Whether a renewal is to be asked for at `now`.
    pub(super) fn is_renewal_due(&self, now: Duration) -> bool {
        let mut leases = self.held.values().map(|held| &held.lease);
        leases.any(|lease| lease.with(|lease| lease.poll_renewal(now)))
    }

    /// Renewals that find an authority which has forgotten the lease have it put back, all at once, within the time
    /// that they have left.
    pub(super) fn handle_renewed(&mut self, now: Duration, answers: Vec<RenewalAnswer>) {
        let mut forgotten = Vec::new();
        for (renewal, outcome) in answers {
            match outcome {
                Err(error) if is_forgotten(&error, renewal.tenure.grant) => forgotten.push(renewal),
                outcome => self.conclude_renewal(now, renewal, outcome),
            }
        }
        if !forgotten.is_empty() {
            let left = (self.renewals.sent_at + self.answer_max()).saturating_sub(now);
            self.ask(Request::Reinstate(forgotten), Some(left));
        }
    }

    pub(super) fn handle_reinstated(&mut self, now: Duration, answers: Vec<RenewalAnswer>) {
        for (renewal, outcome) in answers {
            if outcome.is_ok() {
                let tenure = &renewal.tenure;
                self.log_zone(&tenure.zone, ZoneRemark::PutBack(tenure.epoch()));
            }
            self.conclude_renewal(now, renewal, outcome);
        }
    }

    /// Tells the lease at once, whatever other renewals are waited for. An error is an outcome that is not known.
    fn conclude_renewal(&mut self, now: Duration, renewal: Renewal, outcome: Result<(), AuthorityError>) {
        let (tenure, sent_at) = (renewal.tenure, self.renewals.sent_at);
        let held = self.held_mut(&tenure);
        let tell = |what: &dyn Fn(&mut Lease)| held.map(|held| held.lease.with(|lease| what(lease)));
        match outcome {
            Ok(()) => tell(&|lease| lease.handle_renewed(sent_at, now)),
            Err(AuthorityError::Held(_)) => tell(&Lease::handle_refused),
            Err(_) => tell(&|lease| lease.handle_unavailable(now)),
        };
        let zone = tenure.zone;
        match outcome {
            Ok(()) => {}
            Err(AuthorityError::Held(holder)) => self.log_zone(&zone, ZoneRemark::Refused(holder.epoch)),
            Err(error) => {
                self.outages.unrenewed.insert(zone.clone());
                self.renewals.unanswered = Some((zone, error.to_string()));
                return;
            }
        }
        self.renewals.is_any_answered = true;
        self.outages.unrenewed.remove(&zone);
    }

    /// Goes on to the look, unless renewals were due and none was answered: whatever else is asked now would wait as
    /// long, and the next renewal with it. Those of zones on a node of a Cluster that is gone hold up no others.
    ///
    /// One outage for all zones, however many; it is over when none is left of which the latest renewal was not
    /// answered.
    pub(super) fn conclude_renewals(&mut self, now: Duration) {
        let held = &self.held;
        self.outages.unrenewed.retain(|zone| held.contains_key(zone));
        let Renewals {
            is_any_answered,
            unanswered,
            ..
        } = std::mem::take(&mut self.renewals);
        let was_none_answered = unanswered.is_some() && !is_any_answered;
        if let Some((zone, error)) = unanswered {
            if let Some(lasted) = self.outages.renewals.note(now) {
                let zones = self.outages.unrenewed.len();
                self.log(Remark::Failing(RequestFailure::Renewals { zone, zones, error }, lasted));
            }
        } else if self.outages.unrenewed.is_empty()
            && let Some(lasted) = self.outages.renewals.end(now)
        {
            self.log(Remark::Answered(Service::Renewals, lasted));
        }
        if was_none_answered {
            self.end_turn(now);
        } else {
            self.begin_look(now);
        }
    }
}

/// Whether the authority shows neither this grant nor a newer one.
fn is_forgotten(error: &AuthorityError, grant: Grant) -> bool {
    match error {
        AuthorityError::Held(view) => view.epoch < grant.epoch(),
        AuthorityError::ZoneUnknown(_) => true,
        AuthorityError::Unavailable(_) => false,
    }
}
