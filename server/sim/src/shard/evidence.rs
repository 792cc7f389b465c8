//! Evidence in a simulated shard: the history of a forked zone is kept before its end is told, as long as its lease
//! lasts. The evidence of a divergent zone is a part of its adoption.

use std::sync::Arc;
use std::time::Duration;

use everhold_core::durability::Journal;
use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceOutcome};
use everhold_core::durability::history::HistoryWorld;
use everhold_core::durability::keeping::{KeepCommand, Keeping};
use everhold_core::durability::store::StoreError;
use everhold_core::ownership::lease::SharedLease;
use everhold_core::ownership::{EndReason, Remains, Tenure};
use everhold_protocol::ZoneName;

use super::{Kind, SimShard};
use crate::env::Env;
use crate::event::{ShardInput, StoreAnswer};
use crate::services::Services;

/// A forked zone, whose history is being kept.
pub(super) struct ForkedZone {
    tenure: Tenure,
    lease: Arc<SharedLease>,
    keeping: Keeping,
}

impl SimShard {
    /// Begins to keep what a forked zone has in memory.
    pub(super) fn keep_forked(&mut self, env: &mut Env, tenure: &Tenure, lease: Arc<SharedLease>, journal: &Journal) {
        env.took("a forked zone");
        let world = HistoryWorld {
            rules_id: Some(self.rules.rules_id(self.world.tick_hz)),
            tick_hz: Some(self.world.tick_hz),
            ..HistoryWorld::default()
        };
        let forked = ForkedZone {
            keeping: Keeping::forked(tenure, world, journal, self.ttl),
            tenure: tenure.clone(),
            lease,
        };
        self.forked.insert(tenure.zone.clone(), forked);
        self.drive_evidence(env, tenure);
    }

    /// Lets the keeping of a forked zone's history do what is due.
    pub(super) fn drive_evidence(&mut self, env: &mut Env, tenure: &Tenure) {
        let (now, instant) = (env.now, env.instant());
        let forked = self.forked.get_mut(&tenure.zone);
        let Some(forked) = forked.filter(|forked| forked.tenure == *tenure) else {
            return;
        };
        let outcome = forked.keeping.outcome().map(|outcome| outcome.reported());
        let is_lease_over = forked.lease.ask(now, |lease| lease.state()).is_over();
        if outcome.is_some() || is_lease_over {
            self.end_forked(env, tenure, outcome.unwrap_or(EvidenceOutcome::GivenUp));
        } else if let Some(command) = forked.keeping.poll(instant) {
            self.keep_evidence(env, (tenure, Kind::Forked), command);
        } else if let Some(at) = forked.keeping.poll_timeout() {
            let wait = at.saturating_duration_since(instant).max(Duration::from_millis(1));
            self.schedule(env, wait, ShardInput::Evidence(tenure.clone()));
        }
    }

    /// Begins an operation on evidence.
    pub(super) fn keep_evidence(
        &mut self,
        env: &mut Env,
        (tenure, kind): (&Tenure, Kind),
        (keep, max): (KeepCommand, Duration),
    ) {
        let whose = tenure.clone();
        self.ask_store(env, (tenure, kind), max, move |services| {
            StoreAnswer::Kept(answer_to(services, &whose, keep.clone()))
        });
    }

    pub(super) fn handle_forked_stored(
        &mut self,
        env: &mut Env,
        tenure: &Tenure,
        answer: Result<EvidenceAnswer, StoreError>,
    ) {
        let now = env.instant();
        let forked = self.forked.get_mut(&tenure.zone);
        let Some(forked) = forked.filter(|forked| forked.tenure == *tenure) else {
            return;
        };
        match forked.keeping.handle(now, answer) {
            Ok(()) => self.drive_evidence(env, tenure),
            // It may write no more.
            Err(_) => self.end_forked(env, tenure, EvidenceOutcome::GivenUp),
        }
    }

    fn end_forked(&mut self, env: &mut Env, tenure: &Tenure, outcome: EvidenceOutcome) {
        self.forked.remove(&tenure.zone);
        note_outcome(env, &tenure.zone, outcome);
        self.tell_end(env, tenure, EndReason::Fork, Remains::Nothing);
    }
}

/// Counts what became of a piece of evidence, and checks that what is said to be kept is.
pub(super) fn note_outcome(env: &mut Env, zone: &ZoneName, outcome: EvidenceOutcome) {
    if outcome == EvidenceOutcome::Kept {
        env.services.check_sealed(zone);
    }
    env.took(match outcome {
        EvidenceOutcome::Kept => "evidence that was kept",
        EvidenceOutcome::Counted => "evidence that was counted",
        EvidenceOutcome::GivenUp | EvidenceOutcome::OverTime => "evidence that was given up",
    });
}

fn answer_to(services: &mut Services, tenure: &Tenure, keep: KeepCommand) -> Result<EvidenceAnswer, StoreError> {
    match keep {
        KeepCommand::Put(index, bytes) => services.write(tenure, |store| store.put_evidence(tenure, index, bytes)),
        KeepCommand::Seal(mark) => services.write(tenure, |store| store.seal_evidence(tenure, mark)),
        KeepCommand::Drop => {
            services.write(tenure, |store| store.drop_evidence(tenure))?;
            Ok(EvidenceAnswer::Kept)
        }
    }
}
