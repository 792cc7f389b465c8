//! The zones that this process holds: from a grant through its adoption to its end. It asks for releases, and carries
//! none out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use everhold_protocol::ZoneName;

use super::command::{GrantedLease, HolderCommand, Progress, Request};
use super::remark::{Remark, ZoneRemark};
use super::{Holder, HolderStep};
use crate::ownership::after::{AdoptionFailure, After, Remains};
use crate::ownership::authority::AuthorityError;
use crate::ownership::contender::SuspendedLease;
use crate::ownership::end::EndReason;
use crate::ownership::grant::Tenure;
use crate::ownership::lease::{Lease, SharedLease};

/// An adoption that takes longer is given up: its replay hangs, or its store does. Replay runs far faster than real
/// time.
pub(super) const ADOPTION_MAX: Duration = Duration::from_secs(120);

/// A lease of this process, from its grant to its end.
#[derive(Debug)]
pub(super) struct HeldLease {
    pub(super) tenure: Tenure,
    pub(super) since: Duration,
    pub(super) lease: Arc<SharedLease>,
    /// `None` until the zone is adopted.
    pub(super) progress: Option<Progress>,
    /// The first of the looks that have found its tick wedged without exception.
    pub(super) wedged_since: Option<Duration>,
}

/// Leases that are to be released, one after the other.
pub(super) type Releases = VecDeque<Tenure>;

impl Holder {
    /// The zone is adopted and runs.
    pub fn handle_hosted(&mut self, tenure: &Tenure) {
        if let Some(held) = self.held_mut(tenure) {
            held.progress = Some(Progress::default());
            self.contender.handle_adopted(&tenure.zone);
        }
    }

    /// Takes the progress of a hosted zone. Call it for every one before a turn.
    pub fn handle_progress(&mut self, tenure: &Tenure, progress: Progress) {
        if let Some(held) = self.held_mut(tenure)
            && held.progress.is_some()
        {
            held.progress = Some(progress);
        }
    }

    /// Notes, at `now`, that a hosted zone is over here.
    pub fn handle_ended(&mut self, now: Duration, tenure: Tenure, reason: &EndReason, remains: Remains) {
        self.end(now, tenure, After::end(reason, remains));
    }

    /// Notes, at `now`, that a zone which was granted was not adopted.
    pub fn handle_adoption_failed(&mut self, now: Duration, tenure: Tenure, failure: AdoptionFailure) {
        self.end(now, tenure, After::failed_adoption(failure));
    }

    /// The claim of a zone, sent at `sent_at`, was granted.
    pub(super) fn hold(&mut self, now: Duration, tenure: Tenure, sent_at: Duration) {
        self.log_zone(&tenure.zone, ZoneRemark::Granted(tenure.epoch()));
        self.holdings.note_granted(&tenure);
        self.tell_guardian();
        let lease = Arc::new(SharedLease::new(Lease::new(self.lease, sent_at, now)));
        self.held.insert(
            tenure.zone.clone(),
            HeldLease {
                tenure: tenure.clone(),
                since: now,
                lease: Arc::clone(&lease),
                progress: None,
                wedged_since: None,
            },
        );
        self.commands
            .push_back(HolderCommand::Adopt(GrantedLease { tenure, lease, at: now }));
    }

    /// Ends what was granted at least `age` ago and is not hosted yet; its host, should it start all the same, finds
    /// its lease lost.
    pub(super) fn give_up_adoptions(&mut self, now: Duration, after: After, age: Duration) {
        let is_late = |held: &HeldLease| held.progress.is_none() && now.saturating_sub(held.since) >= age;
        let late: Vec<Tenure> = self
            .held
            .values()
            .filter(|held| is_late(held))
            .map(|held| held.tenure.clone())
            .collect();
        for tenure in late {
            self.log_zone(&tenure.zone, ZoneRemark::GivenUp(tenure.epoch()));
            self.held[&tenure.zone].lease.with(Lease::handle_refused);
            self.end(now, tenure, after);
        }
    }

    /// Releases what is held and not hosted, or suspended; hosted zones that have not ended are left to their leases.
    pub(super) fn begin_stop(&mut self, now: Duration) {
        self.give_up_adoptions(now, After::Release, Duration::ZERO);
        let ran_out = |(zone, lease): (&ZoneName, &SuspendedLease)| Tenure {
            zone: zone.clone(),
            grant: lease.grant,
        };
        self.releases.extend(self.contender.suspended().iter().map(ran_out));
        self.step = HolderStep::Stopping;
    }

    fn end(&mut self, now: Duration, tenure: Tenure, after: After) {
        if self.held_mut(&tenure).is_none() {
            return;
        }
        self.held.remove(&tenure.zone);
        self.contender.handle_dropped(&tenure.zone);
        match after {
            After::Shun => self.shunned.shun(tenure.zone.clone(), now, self.lease.ttl),
            After::Cede => self.shunned.cede(tenure.zone.clone(), now, self.lease.ttl),
            After::Release | After::Reclaim { .. } | After::Expire => {}
        }
        match after {
            // Should this process die before the answer, its guardian releases it.
            After::Release | After::Cede => self.releases.push_back(tenure),
            After::Expire | After::Shun => self.forget(&tenure),
            // A suspended zone's grant is the newest there is: should this process die, it is to be released all the
            // same.
            After::Reclaim { acknowledged } => self.contender.handle_suspended(tenure, acknowledged),
        }
    }

    pub(super) fn release_next(&mut self) -> bool {
        let Some(tenure) = self.releases.pop_front() else {
            return false;
        };
        self.ask(Request::Release(tenure), Some(self.answer_max()));
        true
    }

    pub(super) fn handle_released(&mut self, tenure: &Tenure, outcome: Result<(), AuthorityError>) {
        let remark = match outcome {
            Ok(()) => ZoneRemark::Released(tenure.epoch()),
            Err(AuthorityError::Held(holder)) => ZoneRemark::NotOurs(holder.epoch),
            Err(error) => ZoneRemark::NotReleased(error.to_string()),
        };
        self.log_zone(&tenure.zone, remark);
        self.forget(tenure);
    }

    pub(super) fn handle_withdrawn(&mut self, outcome: Result<(), AuthorityError>) {
        match outcome {
            Ok(()) => {
                self.holdings.note_withdrawn();
                self.tell_guardian();
            }
            Err(error) => self.log(Remark::StillInDirectory(error.to_string())),
        }
    }

    /// The guardian need not release it any more.
    fn forget(&mut self, tenure: &Tenure) {
        self.holdings.note_ended(tenure);
        self.tell_guardian();
    }

    /// Returns the lease of this very tenure, if it is held still.
    pub(super) fn held_mut(&mut self, tenure: &Tenure) -> Option<&mut HeldLease> {
        self.held
            .get_mut(&tenure.zone)
            .filter(|held| held.tenure.grant == tenure.grant)
    }
}
