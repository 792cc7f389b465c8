//! The duties of every state store towards evidence: what is sealed stays until it is settled, whatever becomes of the
//! zone's data.

use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceFate, EvidenceMark, EvidenceWhy, StoredEvidence};
use everhold_core::durability::store::{CheckpointKind, Origin, Rewind, StoreError, ZoneStore};
use everhold_core::limits::PART_BYTES_MAX;
use everhold_core::ownership::Tenure;
use everhold_protocol::{Epoch, Tick, ZoneName};

use super::history::{SuiteHistory, assert_fenced, body, fenced, put_checkpoint, tenure, zone};

pub(super) async fn run<S: ZoneStore>(a: &S, b: &S, lose: &impl Fn(&S, &ZoneName)) {
    zone_that_never_went_wrong_has_none(a).await;
    sealed_evidence_is_read_by_all_and_survives_bases_and_owners(a, b).await;
    second_piece_is_counted_once_for_each_epoch(a, b).await;
    seal_without_its_parts_is_refused(a).await;
    piece_that_was_given_up_leaves_nothing(a, b).await;
    fenced_owner_keeps_no_evidence(a, b).await;
    settled_evidence_is_marked_and_then_gone(a, b).await;
    piece_whose_writer_died_is_deleted_by_the_next_fence(a, b).await;
    piece_of_a_lost_zone_is_deleted_when_the_zone_is_made_anew(a, b, lose).await;
    discarded_evidence_is_gone_whether_it_is_sealed_or_not(a, b).await;
}

fn mark(epoch: u32, parts: u32, bytes: usize) -> EvidenceMark {
    EvidenceMark {
        epoch: Epoch(epoch),
        tick: Tick(40),
        why: EvidenceWhy::Divergent,
        parts,
        bytes: bytes as u64,
    }
}

/// Keeps evidence of two parts.
async fn kept(store: &impl ZoneStore, tenure: &Tenure) -> EvidenceMark {
    for (index, seed) in [(0, 1), (1, 2)] {
        let put = store.put_evidence(tenure, index, body(PART_BYTES_MAX, seed)).await;
        assert_eq!(put.expect("written"), EvidenceAnswer::Kept);
    }
    let mark = mark(tenure.epoch().0, 2, 2 * PART_BYTES_MAX);
    for _ in 0..2 {
        let sealed = store.seal_evidence(tenure, mark).await;
        assert_eq!(sealed.expect("sealed, and harmlessly repeated"), EvidenceAnswer::Kept);
    }
    mark
}

async fn assert_kept(store: &impl ZoneStore, zone: &ZoneName, expected: StoredEvidence) {
    assert_eq!(store.evidence(zone).await.expect("readable"), Some(expected));
    for (index, seed) in [(0, 1), (1, 2)] {
        let part = store.read_evidence(zone, index).await.expect("readable");
        assert!(
            part == Some(body(PART_BYTES_MAX, seed)),
            "part {index} is as it was written"
        );
    }
    assert_eq!(store.read_evidence(zone, 2).await.expect("readable"), None);
}

const fn new(mark: EvidenceMark) -> StoredEvidence {
    StoredEvidence {
        mark,
        is_exported: false,
        later: 0,
    }
}

async fn zone_that_never_went_wrong_has_none(store: &impl ZoneStore) {
    let held = fenced(store, "no-evidence").await;
    for zone in [&held.zone, &zone("no-evidence-and-no-zone")] {
        assert_eq!(store.evidence(zone).await.expect("a question"), None);
        assert_eq!(store.read_evidence(zone, 0).await.expect("a question"), None);
        let settled = store
            .settle_evidence(zone, mark(1, 1, 1), EvidenceFate::Forgotten)
            .await;
        assert!(!settled.expect("a question"));
    }
    let put = store.put_evidence(&tenure(&zone("no-zone"), 1, 1), 0, body(1, 1)).await;
    assert!(matches!(put, Err(StoreError::Lost)), "{put:?}");
}

async fn sealed_evidence_is_read_by_all_and_survives_bases_and_owners(a: &impl ZoneStore, b: &impl ZoneStore) {
    let held = fenced(a, "evidence").await;
    let mut history = SuiteHistory::new(1);
    let evidence = new(kept(a, &held).await);
    assert_kept(b, &held.zone, evidence).await;
    for tick in [5, 10, 15, 20] {
        a.append(&held, &history.records_to(Tick(tick)))
            .await
            .expect("appended");
        let body = body(100, 9);
        put_checkpoint(a, &held, history.last(), CheckpointKind::Base, &body)
            .await
            .expect("a base");
    }
    assert_kept(b, &held.zone, evidence).await;
    let heir = tenure(&held.zone, 2, 200);
    b.fence(&heir).await.expect("a higher epoch");
    let rewind = Rewind {
        head: None,
        last: Tick(0),
    };
    b.rewind(&heir, rewind).await.expect("rewound");
    b.create(&heir, Origin::Nothing).await.expect("it is whole");
    assert_kept(a, &held.zone, evidence).await;
}

async fn second_piece_is_counted_once_for_each_epoch(a: &impl ZoneStore, b: &impl ZoneStore) {
    let held = fenced(a, "evidence-twice").await;
    let first = kept(a, &held).await;
    for (epoch, later) in [(2, 1), (2, 1), (5, 2)] {
        let heir = tenure(&held.zone, epoch, 200);
        let put = b.put_evidence(&heir, 0, body(10, 3)).await.expect("answered");
        assert_eq!(put, EvidenceAnswer::Counted, "nothing is written over");
        let sealed = b.seal_evidence(&heir, mark(epoch, 1, 10)).await.expect("answered");
        assert_eq!(sealed, EvidenceAnswer::Counted);
        assert_kept(a, &held.zone, StoredEvidence { later, ..new(first) }).await;
    }
}

async fn seal_without_its_parts_is_refused(store: &impl ZoneStore) {
    let held = fenced(store, "evidence-hole").await;
    store.put_evidence(&held, 1, body(10, 1)).await.expect("written");
    for (parts, bytes) in [(2, 20), (1, 10), (2, 10)] {
        let sealed = store.seal_evidence(&held, mark(1, parts, bytes)).await;
        assert!(
            matches!(sealed, Err(StoreError::Corrupt(_))),
            "{parts} {bytes}: {sealed:?}"
        );
    }
    assert_eq!(store.evidence(&held.zone).await.expect("readable"), None);
    assert_eq!(
        store.read_evidence(&held.zone, 1).await.expect("readable"),
        None,
        "it is not sealed"
    );
    kept(store, &held).await;
}

/// The first part of the next piece deletes what is left of the one before, and so does its owner.
async fn piece_that_was_given_up_leaves_nothing(a: &impl ZoneStore, b: &impl ZoneStore) {
    let held = fenced(a, "evidence-given-up").await;
    for index in 0..5 {
        a.put_evidence(&held, index, body(10, 7)).await.expect("written");
    }
    let heir = tenure(&held.zone, 2, 200);
    b.put_evidence(&heir, 0, body(10, 8)).await.expect("written");
    let whole = b.seal_evidence(&heir, mark(2, 5, 50)).await;
    assert!(matches!(whole, Err(StoreError::Corrupt(_))), "{whole:?}");
    b.drop_evidence(&heir).await.expect("dropped");
    let none = b.seal_evidence(&heir, mark(2, 1, 10)).await;
    assert!(matches!(none, Err(StoreError::Corrupt(_))), "{none:?}");
    let evidence = new(kept(b, &heir).await);
    b.drop_evidence(&heir).await.expect("what is sealed stays");
    assert_kept(a, &held.zone, evidence).await;
}

/// Writes five parts, and does not seal them.
async fn begun(store: &impl ZoneStore, tenure: &Tenure) {
    for index in 0..5 {
        let put = store.put_evidence(tenure, index, body(10, 7)).await;
        assert_eq!(put.expect("written"), EvidenceAnswer::Kept);
    }
}

/// Whether five parts are there that are not sealed. If so, they are now.
async fn seals(store: &impl ZoneStore, tenure: &Tenure) -> bool {
    match store.seal_evidence(tenure, mark(tenure.epoch().0, 5, 50)).await {
        Ok(answer) => answer == EvidenceAnswer::Kept,
        Err(StoreError::Corrupt(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

async fn piece_whose_writer_died_is_deleted_by_the_next_fence(a: &impl ZoneStore, b: &impl ZoneStore) {
    let dead = fenced(a, "evidence-orphan").await;
    begun(a, &dead).await;
    let heir = tenure(&dead.zone, 2, 200);
    b.fence(&heir).await.expect("a higher epoch");
    assert!(!seals(b, &heir).await, "nobody would ever finish it");
    begun(b, &heir).await;
    b.fence(&heir).await.expect("a repeated fence");
    assert!(seals(b, &heir).await, "one that comes late takes nothing away");
    let last = tenure(&dead.zone, 3, 300);
    a.fence(&last).await.expect("a higher epoch");
    assert_eq!(
        a.evidence(&dead.zone).await.expect("readable"),
        Some(new(mark(2, 5, 50)))
    );
    let part = a.read_evidence(&dead.zone, 4).await.expect("readable");
    assert_eq!(part, Some(body(10, 7)), "what is sealed stays");
}

async fn piece_of_a_lost_zone_is_deleted_when_the_zone_is_made_anew<S: ZoneStore>(
    a: &S,
    b: &S,
    lose: &impl Fn(&S, &ZoneName),
) {
    for origin in [Origin::Nothing, Origin::Memory] {
        let dead = fenced(a, &format!("evidence-lost-{origin:?}").to_lowercase()).await;
        begun(a, &dead).await;
        lose(a, &dead.zone);
        let heir = tenure(&dead.zone, 2, 200);
        b.create(&heir, origin).await.expect("made anew");
        assert!(!seals(b, &heir).await, "made from {origin:?}");
    }
}

async fn discarded_evidence_is_gone_whether_it_is_sealed_or_not(a: &impl ZoneStore, b: &impl ZoneStore) {
    let held = fenced(a, "evidence-discarded").await;
    b.discard_evidence(&held.zone).await.expect("there is none");
    b.discard_evidence(&zone("no-zone")).await.expect("nor such a zone");
    begun(a, &held).await;
    b.discard_evidence(&held.zone).await.expect("discarded");
    assert!(!seals(a, &held).await);
    kept(a, &held).await;
    b.discard_evidence(&held.zone).await.expect("discarded");
    assert_eq!(a.evidence(&held.zone).await.expect("readable"), None);
    assert_eq!(a.read_evidence(&held.zone, 0).await.expect("readable"), None);
    assert!(!seals(a, &held).await);
    assert_kept(b, &held.zone, new(kept(a, &held).await)).await;
}

async fn fenced_owner_keeps_no_evidence(a: &impl ZoneStore, b: &impl ZoneStore) {
    let old = fenced(a, "evidence-fenced").await;
    b.fence(&tenure(&old.zone, 2, 200)).await.expect("a higher epoch");
    assert_fenced(a.put_evidence(&old, 0, body(10, 1)).await, 2);
    assert_fenced(a.seal_evidence(&old, mark(1, 1, 10)).await, 2);
    assert_fenced(a.drop_evidence(&old).await, 2);
    assert_eq!(b.evidence(&old.zone).await.expect("readable"), None);
}

async fn settled_evidence_is_marked_and_then_gone(a: &impl ZoneStore, b: &impl ZoneStore) {
    let held = fenced(a, "evidence-settled").await;
    let kept_mark = kept(a, &held).await;
    let other = mark(7, 2, 2 * PART_BYTES_MAX);
    let settled = b.settle_evidence(&held.zone, other, EvidenceFate::Forgotten).await;
    assert!(!settled.expect("answered"), "it is of another mark");
    let exported = b.settle_evidence(&held.zone, kept_mark, EvidenceFate::Exported).await;
    assert!(exported.expect("answered"));
    let evidence = StoredEvidence {
        is_exported: true,
        ..new(kept_mark)
    };
    assert_kept(a, &held.zone, evidence).await;
    let forgotten = b.settle_evidence(&held.zone, kept_mark, EvidenceFate::Forgotten).await;
    assert!(forgotten.expect("answered"));
    assert_eq!(a.evidence(&held.zone).await.expect("readable"), None);
    assert_eq!(a.read_evidence(&held.zone, 0).await.expect("readable"), None);
    let next = new(kept(a, &held).await);
    assert_kept(b, &held.zone, next).await;
}
