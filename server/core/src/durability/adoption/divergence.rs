//! The divergent zone in an adoption: the history by which it was replayed is kept as evidence before anything else is
//! written. What it comes to, the zone goes on with the replayed state: the inputs are the truth.

use std::time::{Duration, Instant};

use super::{Adoption, AdoptionNotice, AdoptionStep, Recovered, Recovery, Replayed, StoreError};
use crate::durability::evidence::{EvidenceAnswer, EvidenceWhy};
use crate::durability::history::{EvidenceNote, HistoryHeader, HistoryWorld};
use crate::durability::keeping::{KeepCommand, Keeping};
use crate::ownership::Grant;

/// A replayed zone that is not the one that its owner had.
pub(super) struct DivergentZone {
    recovery: Box<Recovery>,
    replayed: Replayed,
    recovered: Recovered,
    keeping: Keeping,
}

impl DivergentZone {
    /// Returns the operation on the store that is due, and the longest wait for its answer.
    pub(super) fn poll(&mut self, now: Instant) -> Option<(KeepCommand, Duration)> {
        self.keeping.poll(now)
    }

    /// Begins to keep the history up to the record that tells the digest of the tick that differs, within `max`.
    fn keep(
        grant: Grant,
        recovery: &Recovery,
        replayed: &Replayed,
        tick: everhold_protocol::Tick,
        max: Duration,
    ) -> Keeping {
        let config = &replayed.config;
        let header = HistoryHeader {
            zone: config.name.clone(),
            fence: (grant.epoch(), grant.nonce()),
            world: HistoryWorld {
                rules_id: Some(config.rules_id()),
                seed: Some(config.seed),
                tick_hz: Some(config.tick_hz),
                text: None,
            },
            evidence: None,
        };
        let note = EvidenceNote {
            epoch: grant.epoch(),
            tick,
            why: EvidenceWhy::Divergent,
        };
        Keeping::new(header, note, recovery.frames(tick.next()), max)
    }
}

impl Adoption {
    /// Goes on from what was replayed; if it is divergent, once evidence of that is kept or given up.
    pub(super) fn diverge_or_conclude(&mut self, recovery: Box<Recovery>, replayed: Replayed, recovered: Recovered) {
        let Some(tick) = replayed.first_divergence else {
            self.conclude(&recovery, replayed, recovered);
            return;
        };
        self.log(AdoptionNotice::Divergent(tick));
        // Players wait. The grace is two ttls.
        let keeping = DivergentZone::keep(self.grant, &recovery, &replayed, tick, self.reseed_grace / 2);
        self.enter(AdoptionStep::Keep(Box::new(DivergentZone {
            recovery,
            replayed,
            recovered,
            keeping,
        })));
    }

    /// Takes the answer to an operation on evidence, which came at `now`.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn handle_kept(&mut self, now: Instant, answer: Result<EvidenceAnswer, StoreError>) {
        let AdoptionStep::Keep(mut zone) = self.take_step() else {
            panic!("evidence that was not asked for")
        };
        self.note_answer(&answer);
        if let Err(error) = zone.keeping.handle(now, answer) {
            self.fail(error.into());
            return;
        }
        let Some(outcome) = zone.keeping.outcome() else {
            let again = zone.keeping.poll_timeout();
            self.enter(AdoptionStep::Keep(zone));
            if let Some(at) = again {
                self.asking.wait_until(at);
            }
            return;
        };
        self.evidence = Some(outcome.reported());
        self.log(AdoptionNotice::Evidence(outcome.clone()));
        let DivergentZone {
            recovery,
            replayed,
            recovered,
            ..
        } = *zone;
        self.conclude(&recovery, replayed, recovered);
    }
}
