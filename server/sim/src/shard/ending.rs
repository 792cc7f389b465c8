//! The end of a zone in a simulated shard: what remains of it, and the inquiry into a failure.

use std::sync::Arc;
use std::time::Duration;

use everhold_core::durability::blame::{ANSWER_MAX, Blame, Inquiry, InquiryCommand};
use everhold_core::durability::store::StoreError;
use everhold_core::durability::suspended::{SURRENDER_LOOK_EVERY, SURRENDER_LOOKS_MAX};
use everhold_core::ownership::lease::SharedLease;
use everhold_core::ownership::{EndReason, Remains, Tenure};
use everhold_core::tick::TickLoop;
use everhold_core::zone::Zone;
use everhold_protocol::Tick;

use super::zone::SimZone;
use super::{Kind, Order, SimShard};
use crate::env::Env;
use crate::event::{ShardInput, StoreAnswer};

/// A zone that failed, and the inquiry into why.
pub(super) struct Ending {
    tenure: Tenure,
    lease: Arc<SharedLease>,
    inquiry: Inquiry,
    tick: Tick,
    why: String,
}

impl SimShard {
    /// Ends a zone here. A failure is inquired into first.
    pub(super) fn end_zone(&mut self, env: &mut Env, tenure: &Tenure, reason: EndReason) {
        if let Some(hosted) = self.hosted_mut(tenure) {
            hosted.egress.handle_end();
        }
        self.drive_egress(env, tenure);
        let Some(hosted) = self.local.zones.remove(&tenure.zone) else {
            return;
        };
        let place = self.place;
        env.tell(|| format!("shard {place} ends {} epoch {}: {reason}", tenure.zone, tenure.epoch()));
        let SimZone {
            ticks,
            pipeline,
            lease,
            probe,
            wedged,
            ..
        } = hosted;
        if let EndReason::Panicked(tick, why) = reason {
            // A rule has failed: nothing of this World may be used any more.
            env.lost_memory = true;
            let ending = Ending {
                tenure: tenure.clone(),
                lease,
                inquiry: Inquiry::new(tick, probe.suspect()),
                tick,
                why,
            };
            self.ending.insert(tenure.zone.clone(), ending);
            self.drive_inquiry(env, tenure);
            return;
        }
        check_answered(env, tenure, &reason);
        if reason == EndReason::Fork {
            self.keep_forked(env, tenure, lease, pipeline.journal());
            return;
        }
        let surrender = pipeline.into_surrender(&reason);
        if surrender.is_some() && wedged.is_some() {
            // A thread whose tick does not end gives no zone back, and is waited for.
            let wait = SURRENDER_LOOK_EVERY * SURRENDER_LOOKS_MAX;
            self.schedule(env, wait, ShardInput::NotSurrendered(tenure.clone(), reason));
            return;
        }
        let zone: Option<Zone> = ticks.map(TickLoop::into_zone);
        let memory = surrender.zip(zone);
        let remains = match memory {
            Some((surrender, zone)) => {
                env.took("a zone that was suspended");
                let memory = surrender.handle_zone(zone);
                let acknowledged = memory.acknowledged();
                self.memories.insert(tenure.zone.clone(), memory);
                Remains::Memory { acknowledged }
            }
            None => {
                if reason == EndReason::Fenced {
                    let fenced = || format!("{} epoch {} was fenced", tenure.zone, tenure.epoch());
                    env.services.check_kept(&tenure.zone, fenced);
                }
                Remains::Nothing
            }
        };
        self.tell_end(env, tenure, reason, remains);
    }

    pub(super) fn tell_end(&mut self, env: &mut Env, tenure: &Tenure, reason: EndReason, remains: Remains) {
        self.routing.handle_zone_ended(tenure);
        self.orders.push_back(Order::Ended(tenure.clone(), reason, remains));
        self.drive_routing(env);
        self.drive_holder(env);
    }

    /// Has every zone do one last tick; their ends stop the process.
    pub(super) fn stop_zones(&mut self, env: &mut Env) {
        self.routing.handle_close();
        self.has_stopped_zones = true;
        let tenures: Vec<Tenure> = self.hosted().cloned().collect();
        for hosted in self.local.zones.values_mut() {
            hosted.pipeline.handle_stop();
        }
        for tenure in tenures {
            self.drive_zone(env, &tenure);
        }
        self.drive_routing(env);
    }

    /// Lets the inquiry into a failure do what is due.
    pub(super) fn drive_inquiry(&mut self, env: &mut Env, tenure: &Tenure) {
        loop {
            let ending = self.ending.get_mut(&tenure.zone);
            let Some(ending) = ending.filter(|ending| ending.tenure == *tenure) else {
                return;
            };
            let (now, instant) = (env.now, env.instant());
            let state = ending.lease.ask(now, |lease| lease.state());
            match ending.inquiry.poll_command(instant, state) {
                None => {
                    if let Some(at) = ending.inquiry.poll_timeout() {
                        let wait = at.saturating_duration_since(instant).max(Duration::from_millis(1));
                        self.schedule(env, wait, ShardInput::Inquiry(tenure.clone()));
                    }
                    return;
                }
                Some(InquiryCommand::Log(_)) => {}
                Some(InquiryCommand::Quarantine(tick, session, seq)) => {
                    let (whose, max) = (tenure.clone(), ANSWER_MAX);
                    self.ask_store(env, (tenure, Kind::Blame), max, move |services| {
                        let written = services.store.quarantine(&whose, tick, session, seq);
                        StoreAnswer::Done(services.confirmed(written))
                    });
                    return;
                }
                Some(InquiryCommand::Conclude(blame)) => {
                    self.conclude_inquiry(env, tenure, blame);
                    return;
                }
            }
        }
    }

    fn conclude_inquiry(&mut self, env: &mut Env, tenure: &Tenure, blame: Blame) {
        let Some(Ending { tick, why, .. }) = self.ending.remove(&tenure.zone) else {
            return;
        };
        if matches!(blame, Blame::Input(..)) {
            env.took("an input that was quarantined");
        }
        let reason = blame.end_reason(tick, why);
        self.tell_end(env, tenure, reason, Remains::Nothing);
    }

    pub(super) fn handle_blame_stored(&mut self, env: &mut Env, tenure: &Tenure, answer: Result<(), StoreError>) {
        let now = env.instant();
        if let Some(ending) = self.ending.get_mut(&tenure.zone) {
            ending.inquiry.handle_answer(now, answer);
            self.drive_inquiry(env, tenure);
        }
    }
}

/// Checks that a World that is thrown away because of what the store answered is in the store, whole.
fn check_answered(env: &mut Env, tenure: &Tenure, reason: &EndReason) {
    if matches!(reason, EndReason::Fork | EndReason::Corrupt | EndReason::RingFull) {
        env.lost_memory = true;
        let ended = || format!("{} epoch {} ended: {reason}", tenure.zone, tenure.epoch());
        env.services.check_answered(&tenure.zone, ended);
    }
}
