//! The zones that this process holds: from a grant through its adoption to its end. It asks for releases, and carries
//! none out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use everhold_protocol::Tick;

use super::Holder;
use super::claim::Claim;
use super::command::{GrantedLease, HolderCommand, Progress, Request};
use super::remark::{Remark, ZoneRemark};
use crate::ownership::after::{AdoptionFailure, After, Remains};
use crate::ownership::authority::AuthorityError;
use crate::ownership::end::EndReason;
use crate::ownership::grant::Tenure;
use crate::ownership::lease::{Lease, SharedLease};
use crate::ownership::owner_mark::{OwnerMark, RulesTag};
use crate::ownership::stamp::DataStamp;
use crate::ownership::steps::AdoptionSteps;

/// An adoption that takes no step for longer is given up: its replay hangs, or its store does. No step takes seconds;
/// how many there are, and for how long the store may have lost the zone, is bounded elsewhere.
pub(super) const ADOPTION_STEP_MAX: Duration = Duration::from_secs(120);

/// A lease of this process, from its grant to its end.
#[derive(Debug)]
pub(super) struct HeldLease {
    pub(super) tenure: Tenure,
    pub(super) adoption: AdoptionWatch,
    /// Whether this process had the zone in memory when it was granted it.
    pub(super) is_from_memory: bool,
    pub(super) lease: Arc<SharedLease>,
    /// `None` until the zone is adopted.
    pub(super) progress: Option<Progress>,
    /// The first of the looks that have found its tick wedged without exception.
    pub(super) wedged_since: Option<Duration>,
}

impl HeldLease {
    /// Returns the mark that a process of these rules leaves in the lease, if it hosts the zone.
    pub(super) fn mark(&self, rules: RulesTag) -> Option<OwnerMark> {
        let data = |progress: Progress| DataStamp {
            epoch: self.tenure.epoch(),
            tick: progress.acknowledged,
        };
        self.progress.map(|progress| OwnerMark {
            data: data(progress),
            rules,
        })
    }
}

/// An adoption as its holder sees it.
#[derive(Debug)]
pub(super) struct AdoptionWatch {
    steps: AdoptionSteps,
    /// The steps that were counted when it was last looked at, and the time from which they have not changed.
    seen: (u64, Duration),
    /// Whether it was given up: its lease is lost, and it is waited for until it has ended.
    is_given_up: bool,
}

impl AdoptionWatch {
    fn new(now: Duration, steps: AdoptionSteps) -> Self {
        Self {
            seen: (steps.count(), now),
            steps,
            is_given_up: false,
        }
    }

    /// Whether no step was taken for too long by `now`, which is so once.
    fn is_stuck(&mut self, now: Duration) -> bool {
        let count = self.steps.count();
        if self.is_given_up || count != self.seen.0 {
            self.seen = (count, now);
        }
        now.saturating_sub(self.seen.1) >= ADOPTION_STEP_MAX
    }
}

/// So many leases are released at once: a stop gives up all of them, and no link is to choke on thousands.
pub(super) const RELEASES_AT_ONCE: usize = 64;

/// Leases that are to be released.
pub(super) type Releases = VecDeque<Tenure>;

impl Holder {
    /// The zone is adopted and runs.
    pub fn handle_hosted(&mut self, tenure: &Tenure) {
        if let Some(held) = self.held_mut(tenure) {
            held.progress = Some(Progress::default());
            held.lease.with(Lease::handle_hosted);
            self.contender.handle_adopted(&tenure.zone);
            // It is renewed at once: until then its lease says nothing of its rules, and shards that cannot run it
            // would claim it if its owner died.
            self.next_turn = Duration::ZERO;
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
        let has_failed = matches!((reason, remains), (EndReason::Panicked(..), Remains::Memory { .. }));
        if has_failed && self.held_mut(&tenure).is_some() {
            // What failed beside it may fail again: others first, and no sooner each time.
            self.shunned.shun(tenure.zone.clone(), now, self.lease.ttl);
        }
        self.end(now, tenure, After::end(reason, remains));
    }

    /// Notes, at `now`, that a zone which was granted was not adopted, and what remains of it here.
    pub fn handle_adoption_failed(
        &mut self,
        now: Duration,
        tenure: Tenure,
        failure: AdoptionFailure,
        remains: Remains,
    ) {
        let is_given_up = self.held_mut(&tenure).is_some_and(|held| held.adoption.is_given_up);
        let after = match remains {
            // It took no step here, and may not elsewhere: others first.
            Remains::Nothing if is_given_up => After::Shun,
            remains => After::failed_adoption(failure, remains),
        };
        if let AdoptionFailure::ArchiveAhead(epoch) = failure {
            self.census.note_epoch(&tenure.zone, epoch);
        }
        // The next try fails as this one unless time passes.
        match (failure, remains) {
            (AdoptionFailure::NotStarted, _) => self.shunned.cede(tenure.zone.clone(), now, self.lease.ttl),
            (failure, Remains::Memory { .. }) if failure.comes_again() => {
                self.shunned.shun(tenure.zone.clone(), now, self.lease.ttl);
            }
            _ => {}
        }
        self.end(now, tenure, after);
    }

    /// The claim of a zone was granted.
    pub(super) fn hold(&mut self, now: Duration, tenure: Tenure, claim: &Claim, is_from_memory: bool) {
        self.log_zone(&tenure.zone, ZoneRemark::Granted(tenure.epoch()));
        self.census.note_epoch(&tenure.zone, tenure.epoch());
        self.holdings.note_granted(&tenure);
        self.tell_guardian();
        let lease = Arc::new(SharedLease::new(Lease::new(self.lease, claim.sent_at, now)));
        let steps = AdoptionSteps::default();
        self.held.insert(
            tenure.zone.clone(),
            HeldLease {
                tenure: tenure.clone(),
                adoption: AdoptionWatch::new(now, steps.clone()),
                is_from_memory,
                lease: Arc::clone(&lease),
                progress: None,
                wedged_since: None,
            },
        );
        self.commands.push_back(HolderCommand::Adopt(GrantedLease {
            tenure,
            lease,
            at: now,
            steps,
            reseed_grace: claim.watched.reseed_grace(self.lease.ttl),
            promised: claim.watched.mark.map_or(Tick(0), |mark| mark.data.tick),
        }));
    }

    /// Tells the contender which adoptions wait for the archive.
    pub(super) fn note_waiting(&mut self) {
        let adopting = self.held.values().filter(|held| held.progress.is_none());
        let waiting = adopting.filter(|held| held.adoption.steps.are_waiting());
        let zones = waiting.map(|held| held.tenure.zone.clone()).collect();
        self.contender.note_waiting(zones);
    }

    /// Gives up the adoptions that take no step any more: each finds its lease lost, writes nothing from then on, and
    /// ends, with what it had in memory. Only then may the zone be claimed here again.
    pub(super) fn give_up_adoptions(&mut self, now: Duration) {
        let mut stuck = Vec::new();
        for held in self.held.values_mut().filter(|held| held.progress.is_none()) {
            if held.adoption.is_stuck(now) {
                held.adoption.is_given_up = true;
                stuck.push(held.tenure.clone());
            }
        }
        for tenure in stuck {
            self.lose_adoption(&tenure);
        }
    }

    /// Takes the lease from an adoption: its host, should it start all the same, finds it lost.
    pub(super) fn lose_adoption(&mut self, tenure: &Tenure) {
        self.log_zone(&tenure.zone, ZoneRemark::GivenUp(tenure.epoch()));
        self.held[&tenure.zone].lease.with(Lease::handle_refused);
    }

    pub(super) fn end(&mut self, now: Duration, tenure: Tenure, after: After) {
        if self.held_mut(&tenure).is_none() {
            return;
        }
        self.held.remove(&tenure.zone);
        self.contender.handle_dropped(&tenure.zone);
        match after {
            After::Shun | After::Leave => self.shunned.shun(tenure.zone.clone(), now, self.lease.ttl),
            After::Cede => self.shunned.cede(tenure.zone.clone(), now, self.lease.ttl),
            // It came back whole: no tick of it stands here any more.
            After::Reclaim { .. } => self.shunned.forgive(&tenure.zone),
            After::Release | After::Expire => self.shunned.settle(&tenure.zone, now, self.lease.ttl),
        }
        match after {
            // Should this process die before the answer, its guardian releases it.
            After::Release | After::Cede | After::Leave => self.releases.push_back(tenure),
            After::Expire | After::Shun => self.forget(&tenure),
            // A suspended zone's grant is the newest there is: should this process die, it is to be released all the
            // same.
            After::Reclaim { acknowledged } => self.contender.handle_suspended(tenure, acknowledged),
        }
    }

    /// Asks for the next releases. If none of the last ones was answered, the rest is not asked for: the authority is
    /// away, and what waits for it one after the other holds up renewals, and a stop. Returns whether there were any.
    pub(super) fn release_some(&mut self) -> bool {
        if self.releases.is_empty() {
            self.are_releases_unanswered = false;
            return false;
        }
        if std::mem::replace(&mut self.are_releases_unanswered, true) {
            for tenure in std::mem::take(&mut self.releases) {
                self.log_zone(
                    &tenure.zone,
                    ZoneRemark::NotReleased("no release is answered".to_owned()),
                );
                self.forget(&tenure);
            }
            return true;
        }
        let count = self.releases.len().min(RELEASES_AT_ONCE);
        for tenure in self.releases.drain(..count).collect::<Vec<_>>() {
            self.ask(Request::Release(tenure), Some(self.answer_max()));
        }
        true
    }

    pub(super) fn handle_released(&mut self, tenure: &Tenure, outcome: Result<(), AuthorityError>) {
        if !matches!(outcome, Err(AuthorityError::Unavailable(_))) {
            self.are_releases_unanswered = false;
        }
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
