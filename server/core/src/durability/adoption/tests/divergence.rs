//! Divergent zones: evidence is kept first, and what becomes of it costs no zone.

use super::*;
use crate::durability::evidence::{EvidenceAnswer, EvidenceOutcome, EvidenceWhy};
use crate::durability::history::{EvidenceNote, HistoryFrame, HistoryReader};

const DIVERGENT: &str = "log Divergent(Tick(4))";

/// An adoption whose replay had another digest after tick 4, and that has asked for the first write.
fn divergent() -> Adopter {
    let mut adopter = Adopter::replaying();
    adopter.adoption.handle_replayed(Ok(Replayed {
        first_divergence: Some(Tick(4)),
        digest_equal: false,
        checked_digests: 2,
        ..replayed()
    }));
    assert_eq!(adopter.asks(), [DIVERGENT, "put part 0 of the evidence"]);
    adopter
}

impl Adopter {
    fn answer_kept(&mut self, answer: Result<EvidenceAnswer, StoreError>) {
        self.adoption.handle_kept(self.now, answer);
    }

    fn evidence(&self) -> Option<EvidenceOutcome> {
        match self.history() {
            History::Stored {
                evidence,
                digest_equal: false,
                ..
            } => evidence,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn divergent_zone_is_said_and_kept_as_evidence_and_hosted() {
    let mut adopter = divergent();
    adopter.answer_kept(Ok(EvidenceAnswer::Kept));
    assert_eq!(adopter.asks(), ["seal the evidence of tick 4"]);
    adopter.answer_kept(Ok(EvidenceAnswer::Kept));
    let asks = adopter.asks();
    assert!(
        asks[0].starts_with("log Evidence(Kept(") && asks[1..] == ["start"],
        "{asks:?}"
    );
    assert_eq!(adopter.evidence(), Some(EvidenceOutcome::Kept));
    let mut reader = HistoryReader::default();
    reader.push(&adopter.kept);
    let Ok(Some(HistoryFrame::Header(header))) = reader.poll() else {
        panic!("it is a history file")
    };
    let note = EvidenceNote {
        epoch: Epoch(5),
        tick: Tick(4),
        why: EvidenceWhy::Divergent,
    };
    assert_eq!((header.zone, header.evidence), (config().name, Some(note)));
    assert_eq!((header.world.seed, header.world.tick_hz), (Some(7), Some(20)));
}

#[test]
fn divergent_zone_of_which_evidence_is_kept_is_counted() {
    let mut adopter = divergent();
    adopter.answer_kept(Ok(EvidenceAnswer::Counted));
    assert_eq!(adopter.asks(), ["seal the evidence of tick 4"]);
    adopter.answer_kept(Ok(EvidenceAnswer::Counted));
    assert_eq!(adopter.asks(), ["log Evidence(Counted)", "start"]);
    assert_eq!(adopter.evidence(), Some(EvidenceOutcome::Counted));
}

#[test]
fn store_without_room_for_evidence_costs_no_zone() {
    let mut adopter = divergent();
    let away = || Err(StoreError::Unavailable("OOM".to_owned()));
    for _ in 0..2 {
        adopter.answer_kept(away());
        assert_eq!(adopter.asks(), [""; 0], "it is tried again, not at once");
        adopter.now = adopter.adoption.poll_timeout().expect("it waits for time");
        assert_eq!(adopter.asks().len(), 1);
    }
    adopter.answer_kept(away());
    assert_eq!(adopter.asks(), ["drop the evidence"]);
    adopter.answer_kept(away());
    let asks = adopter.asks();
    assert!(
        asks[0].starts_with("log Evidence(GivenUp(") && asks[1..] == ["start"],
        "{asks:?}"
    );
    assert_eq!(adopter.evidence(), Some(EvidenceOutcome::GivenUp));
}

/// The grace is two ttls. The part was written, and no more of them fit into the time.
#[test]
fn evidence_over_a_slow_link_costs_a_ttl_and_no_zone() {
    let mut adopter = divergent();
    adopter.now += GRACE / 2;
    adopter.answer_kept(Ok(EvidenceAnswer::Kept));
    assert_eq!(adopter.asks(), ["drop the evidence"]);
    adopter.answer_kept(Ok(EvidenceAnswer::Kept));
    assert_eq!(adopter.asks(), ["log Evidence(OverTime(4s))", "start"]);
    assert_eq!(adopter.evidence(), Some(EvidenceOutcome::OverTime));
}

#[test]
fn overtaken_adopter_of_a_divergent_zone_fails() {
    let mut adopter = divergent();
    adopter.answer_kept(Err(StoreError::Fenced { epoch: Epoch(9) }));
    assert_eq!(adopter.asks(), ["fail: fenced by epoch 9"]);
    assert_eq!(
        adopter.failed.map(|error| error.failure()),
        Some(AdoptionFailure::Overtaken)
    );
}

#[test]
fn evidence_is_written_only_under_a_lease_that_lasts() {
    let mut adopter = divergent();
    adopter.lease = LeaseState::Lost;
    let asks = adopter.asks();
    assert!(asks[0].starts_with("fail: the lease was over"), "{asks:?}");
}
