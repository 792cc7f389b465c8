//! The keeper of a simulated shard: what its holder commands becomes requests to the authority, and orders wait until
//! it is at rest.

use std::time::Duration;

use everhold_core::ownership::holder::command::{
    Culprit, HolderAnswer, HolderCommand, Progress, Request as HolderRequest, StoreData, StoreFence,
};
use everhold_core::ownership::holder::remark::{Remark, ZoneRemark};
use everhold_core::ownership::{
    After, AuthorityError, KeyFingerprints, LeaseState, LeaseTerms, LeaseView, Renewal, Tenure,
};
use everhold_protocol::{Epoch, ZoneName};

use super::{Order, SimShard};
use crate::env::Env;
use crate::event::{ShardInput, SimEvent};
use crate::fault::Fault;
use crate::links::Party;
use crate::mutant::Mutant;
use crate::services::Services;

/// The bound of a request that has none: a client library's own time-out.
pub(super) const OWN_BOUND: Duration = Duration::from_secs(5);

impl SimShard {
    /// Lets the holder do what is due.
    pub(super) fn drive_holder(&mut self, env: &mut Env) {
        loop {
            if self.holder.poll_timeout().is_some() {
                self.note_progress();
                if std::mem::take(&mut self.is_hinted) {
                    self.holder.handle_release_hint();
                }
            }
            while let Some(command) = self.holder.poll_command(env.now) {
                self.carry_out(env, command);
            }
            if self.holder.poll_timeout().is_none() {
                return;
            }
            let Some(order) = self.orders.pop_front() else { break };
            match order {
                Order::Hosted(tenure) => self.holder.handle_hosted(&tenure),
                Order::Ended(tenure, reason, remains) => {
                    self.leave(env, After::end(&reason, remains), &tenure);
                    self.holder.handle_ended(env.now, tenure, &reason, remains);
                }
                Order::AdoptionFailed(tenure, failure, remains) => {
                    self.leave(env, After::failed_adoption(failure, remains), &tenure);
                    self.holder.handle_adoption_failed(env.now, tenure, failure, remains);
                }
                Order::Close => {
                    self.holder.handle_close(env.now);
                    self.stop_zones(env);
                    self.orders.push_back(Order::Stop);
                }
                Order::Stop => self.holder.handle_stop(env.now),
            }
        }
        let at = self.holder.poll_timeout();
        if self.turn_at != at || at.is_some_and(|at| at <= env.now) {
            self.turn_at = at;
            let wait = at.map_or(Duration::ZERO, |at| at.saturating_sub(env.now));
            self.schedule(env, wait.max(Duration::from_micros(100)), ShardInput::Turn);
        }
    }

    /// Leaves a zone that failed here to others for ever, as a mutant.
    fn leave(&mut self, env: &Env, after: After, tenure: &Tenure) {
        if env.services.mutant == Some(Mutant::ShunnedForEver) && matches!(after, After::Shun | After::Cede) {
            self.left_for_ever.insert(tenure.zone.clone());
        }
    }

    /// Begins to stop in good order: nothing is claimed any more but what is suspended here, then each zone is sealed,
    /// then the leases are released.
    pub(super) fn stop(&mut self, env: &mut Env) {
        self.orders.push_back(Order::Close);
        self.drive_holder(env);
    }

    fn note_progress(&mut self) {
        for zone in self.local.zones.values() {
            let progress = Progress {
                players: zone.players(),
                acknowledged: zone.acknowledged(),
                stepping: zone.stepping(),
                has_ended: false,
            };
            self.holder.handle_progress(&zone.tenure, progress);
        }
    }

    fn carry_out(&mut self, env: &mut Env, command: HolderCommand) {
        match command {
            HolderCommand::Ask { request, within } => self.ask(env, request, within),
            HolderCommand::Adopt(granted) => self.begin_adoption(env, granted),
            HolderCommand::ReportUnfit(unfit) => {
                let place = self.place;
                env.tell(|| format!("shard {place} does not claim {}: {unfit}", unfit.zone));
                env.took("a claim that was not made: other rules");
            }
            HolderCommand::ReportVacancy(news) => {
                let place = self.place;
                env.took("an alarm of a zone without an owner");
                env.tell(|| format!("shard {place}: {news:?}"));
            }
            HolderCommand::Drop(zone) => self.drop_memory(env, &zone),
            HolderCommand::Show(views) => {
                if env.services.mutant == Some(Mutant::MemoryDroppedAtGrant) {
                    self.drop_granted(env, &views.leases);
                }
                let moment = self.local.moment(env.now);
                self.routing
                    .handle_views(moment, &views.leases, views.shards.as_deref());
                self.drive_routing(env);
            }
            HolderCommand::TellGuardian(holdings) => {
                env.services.holdings.insert(self.place, holdings);
            }
            HolderCommand::EndProcess => {
                env.took("a process that ended itself");
                env.after(Duration::ZERO, SimEvent::Fault(Fault::Kill(self.place)));
            }
            HolderCommand::Stopped => env.after(Duration::ZERO, SimEvent::Left(self.place)),
            HolderCommand::Log(Remark::Zone(zone, ZoneRemark::Unstopped | ZoneRemark::LeftInMemory)) => {
                env.took("a stop that ran out of time");
                self.given_up.insert(zone);
            }
            HolderCommand::Log(_) => {}
        }
    }

    fn drop_memory(&mut self, env: &mut Env, zone: &ZoneName) {
        let Some(memory) = self.memories.remove(zone) else {
            return;
        };
        env.services.check_superseded(zone, memory.last().epoch);
        let place = self.place;
        env.tell(|| format!("shard {place} drops its memory of {zone}"));
        env.took("a memory that was dropped");
        self.check_dropped(env, zone);
    }

    /// Drops, as a mutant, what is in memory of zones that another shard was granted.
    fn drop_granted(&mut self, env: &mut Env, leases: &[LeaseView]) {
        for view in leases {
            let memory = self.memories.get(&view.zone);
            if view.nonce != self.nonce && memory.is_some_and(|memory| memory.last().epoch < view.epoch) {
                self.drop_memory(env, &view.zone);
            }
        }
    }

    /// Checks that a World that was thrown away is in the store, whole.
    pub(super) fn check_dropped(&self, env: &mut Env, zone: &ZoneName) {
        let place = self.place;
        env.lost_memory = true;
        env.services
            .check_kept(zone, || format!("shard {place} had {zone} in memory"));
    }

    fn ask(&mut self, env: &mut Env, request: HolderRequest, within: Option<Duration>) {
        let number = self.number();
        self.asked.insert(number, request.clone());
        let to = asked_of(&request);
        let (me, addr, ttl) = (self.nonce, self.addr, self.ttl);
        if let HolderRequest::Claim { watched, .. } = &request
            && !watched.ttl.is_zero()
            && watched.ttl != ttl
        {
            env.took("leases of different ttl");
        }
        let suspect = match &request {
            HolderRequest::Blame(tenure, _) => self.suspect(tenure),
            _ => None,
        };
        // A culprit is asked for as long as the lease lasts.
        let lasts = match &request {
            HolderRequest::Blame(tenure, _) => Some(self.lasts(env, tenure)),
            _ => None,
        };
        let release = matches!(request, HolderRequest::Release(_));
        self.request(env, (to, Some(number)), move |services| {
            let answer = answer_to(services, &request, (me, addr, ttl), suspect);
            note_leases(services, &answer);
            ShardInput::Answered(number, answer)
        });
        if release {
            env.after(Duration::from_millis(3), SimEvent::Hint);
        }
        let within = within.unwrap_or(OWN_BOUND).min(lasts.unwrap_or(OWN_BOUND));
        self.schedule(env, within, ShardInput::Expired(number));
    }

    /// Returns how long the lease of a zone lasts.
    fn lasts(&self, env: &Env, tenure: &Tenure) -> Duration {
        let hosted = self.local.zones.get(&tenure.zone);
        match hosted.map(|hosted| hosted.lease.ask(env.now, |lease| lease.state())) {
            Some(LeaseState::Held { deadline } | LeaseState::Paused { deadline, .. }) => {
                deadline.saturating_sub(env.now)
            }
            _ => Duration::ZERO,
        }
    }

    pub(super) fn handle_answered(&mut self, env: &mut Env, number: u64, mut answer: HolderAnswer) {
        let Some(request) = self.asked.remove(&number) else {
            return;
        };
        if asked_of(&request) == Party::Authority {
            self.authority_heard_at = env.now;
        }
        if let HolderAnswer::Leases(Ok(leases)) = &mut answer {
            // Only a mutant left any for ever.
            let left = self.left_for_ever.iter().cloned();
            leases.unread.extend(left);
            leases.views.retain(|view| !self.left_for_ever.contains(&view.zone));
        }
        self.holder.handle_answer(env.now, answer);
        self.drive_holder(env);
    }

    /// Hears that a request was not answered in time: its outcome is unknown.
    pub(super) fn handle_unanswered(&mut self, env: &mut Env, request: HolderRequest) {
        env.took("an authority's silence");
        let away = || AuthorityError::Unavailable("no answer in time".to_owned());
        let answer = match request {
            HolderRequest::Renew(renewals) => {
                HolderAnswer::Renewed(renewals.into_iter().map(|renewal| (renewal, Err(away()))).collect())
            }
            HolderRequest::Reinstate(renewals) => {
                HolderAnswer::Reinstated(renewals.into_iter().map(|renewal| (renewal, Err(away()))).collect())
            }
            HolderRequest::Leases => HolderAnswer::Leases(Err(away())),
            HolderRequest::Announce => HolderAnswer::Announced(Err(away())),
            HolderRequest::Shards => HolderAnswer::Shards(Err(away())),
            HolderRequest::Declare(zone) => HolderAnswer::Declared(zone, Err(away())),
            HolderRequest::Fence(_) => HolderAnswer::Fence(StoreFence::Unknown("no answer in time".to_owned())),
            HolderRequest::Data(zone) | HolderRequest::Foreign(zone, _) => {
                HolderAnswer::Data(zone, StoreData::Unknown("no answer in time".to_owned()))
            }
            HolderRequest::Claim { .. } => HolderAnswer::Claimed(Err(away())),
            HolderRequest::Release(tenure) => HolderAnswer::Released(tenure, Err(away())),
            HolderRequest::Retire(nonce) => HolderAnswer::Retired(nonce, Err(away())),
            HolderRequest::Withdraw => HolderAnswer::Withdrawn(Err(away())),
            HolderRequest::Blame(tenure, tick) => HolderAnswer::Blamed(tenure.zone, tick, Culprit::Unwritten),
        };
        self.holder.handle_answer(env.now, answer);
        self.drive_holder(env);
    }
}

/// Returns the party of which something is asked.
const fn asked_of(request: &HolderRequest) -> Party {
    match request {
        HolderRequest::Fence(_) | HolderRequest::Data(_) | HolderRequest::Foreign(..) | HolderRequest::Blame(..) => {
            Party::Store
        }
        _ => Party::Authority,
    }
}

/// Notes which leases the authority granted or renewed by this answer.
fn note_leases(services: &mut Services, answer: &HolderAnswer) {
    match answer {
        HolderAnswer::Renewed(answers) | HolderAnswer::Reinstated(answers) => {
            let renewed = answers.iter().filter(|(_, outcome)| outcome.is_ok());
            renewed.for_each(|(renewal, _)| services.note_leased(&renewal.tenure));
        }
        HolderAnswer::Claimed(Ok(tenure)) => {
            services.check_granted(tenure);
            services.note_leased(tenure);
        }
        _ => {}
    }
}

type Me = (everhold_core::ownership::Nonce, std::net::SocketAddr, Duration);

/// Asks the authority, or the store, what the holder wants to know.
fn answer_to(
    services: &mut Services,
    request: &HolderRequest,
    (me, addr, ttl): Me,
    suspect: Option<(everhold_protocol::SessionId, u64)>,
) -> HolderAnswer {
    let authority = &mut services.authority;
    match request.clone() {
        HolderRequest::Renew(renewals) => {
            let renew = |renewal: Renewal| {
                let outcome = authority.renew(&renewal);
                (renewal, outcome)
            };
            HolderAnswer::Renewed(renewals.into_iter().map(renew).collect())
        }
        HolderRequest::Reinstate(renewals) => {
            let reinstate = |renewal: Renewal| {
                let outcome = authority.reinstate(&renewal, LeaseTerms { addr, ttl });
                (renewal, outcome)
            };
            HolderAnswer::Reinstated(renewals.into_iter().map(reinstate).collect())
        }
        HolderRequest::Leases => HolderAnswer::Leases(Ok(authority.leases())),
        HolderRequest::Announce => {
            HolderAnswer::Announced(authority.announce(me, addr, &KeyFingerprints::default(), ttl))
        }
        HolderRequest::Shards => HolderAnswer::Shards(Ok(authority.shards())),
        HolderRequest::Declare(zone) => {
            let outcome = authority.declare_zone(&zone);
            HolderAnswer::Declared(zone, outcome)
        }
        HolderRequest::Fence(_) if services.mutant == Some(Mutant::EpochForgotten) => {
            HolderAnswer::Fence(StoreFence::None)
        }
        HolderRequest::Fence(zone) => match services.store.summary(&zone) {
            Some(summary) if summary.data() != StoreData::Nothing => HolderAnswer::Fence(summary.fence()),
            Some(summary) => HolderAnswer::Unbegun(summary.fence(), services.rules.wanted),
            None => HolderAnswer::Unbegun(StoreFence::None, services.rules.wanted),
        },
        HolderRequest::Foreign(zone, ran) => services.foreign(zone, ran),
        HolderRequest::Data(zone) => {
            let summary = services.store.summary(&zone);
            let data = summary.map_or(StoreData::Nothing, |summary| summary.data());
            HolderAnswer::Data(zone, data)
        }
        HolderRequest::Claim { watched, epoch_floor } => {
            let is_forgotten = services.mutant == Some(Mutant::EpochForgotten);
            let floor = if is_forgotten { Epoch::NONE } else { epoch_floor };
            HolderAnswer::Claimed(authority.claim(&watched, me, LeaseTerms { addr, ttl }, floor))
        }
        HolderRequest::Release(tenure) => {
            let outcome = authority.release(&tenure);
            HolderAnswer::Released(tenure, outcome)
        }
        HolderRequest::Retire(nonce) => HolderAnswer::Retired(nonce, authority.withdraw(nonce)),
        HolderRequest::Withdraw => HolderAnswer::Withdrawn(authority.withdraw(me)),
        HolderRequest::Blame(tenure, tick) => {
            let written = suspect.map(|(session, seq)| services.store.quarantine(&tenure, tick, session, seq));
            let culprit = match written.map(|written| services.confirmed(written)) {
                Some(Ok(())) => Culprit::Quarantined,
                Some(Err(_)) => Culprit::Unwritten,
                None => Culprit::None,
            };
            HolderAnswer::Blamed(tenure.zone, tick, culprit)
        }
    }
}
