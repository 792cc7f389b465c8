//! The duties of every state store with checkpoints.

use bytes::Bytes;
use everhold_core::durability::store::{
    AppendAnswer, CheckpointHead, CheckpointKind, Position, StoreError, StoredRecord, ZoneStore,
};
use everhold_core::limits::PART_BYTES_MAX;
use everhold_core::ownership::Tenure;
use everhold_protocol::{EntityId, Epoch, Tick};

use super::history::{SuiteHistory, assert_fenced, body, fenced, position, put_checkpoint, put_parts, tenure};

pub(super) async fn run(a: &impl ZoneStore, b: &impl ZoneStore) {
    body_of_several_parts_is_read_back_whole(a, b).await;
    large_zone_is_read_back_whole(a, b).await;
    parts_without_a_head_are_no_checkpoint(a).await;
    head_without_its_parts_is_refused(a).await;
    deltas_are_read_in_order_with_the_records_after_them(a, b).await;
    delta_with_another_parent_is_refused(a).await;
    repeated_writes_change_nothing(a).await;
    older_base_does_not_replace_a_newer_head(a).await;
    base_keeps_the_one_before_it_and_its_journal(a).await;
    fenced_owner_writes_no_part_and_moves_no_head(a, b).await;
    base_of_a_higher_epoch_ends_the_history_beside_it(a, b).await;
    history_that_a_checkpoint_of_another_covers_is_a_gap_that_a_base_ends(a, b).await;
    journal_goes_on_from_a_base_that_was_ahead_of_it(a).await;
    quarantine_ends_with_a_base_that_covers_it(a).await;
    body_may_have_an_empty_part(a).await;
    refused_head_leaves_the_fence(a, b).await;
    records_beyond_a_hole_end_with_a_head_of_a_higher_epoch(a, b).await;
    ends_of_the_journal_are_records(a, b).await;
    parts_that_are_given_up_are_deleted(a, b).await;
}

const BASE: CheckpointKind = CheckpointKind::Base;

/// A zone with ten records.
async fn zone_of_ten(store: &impl ZoneStore, name: &str) -> (Tenure, SuiteHistory, Vec<StoredRecord>) {
    let held = fenced(store, name).await;
    let mut history = SuiteHistory::new(1);
    let records = history.records_to(Tick(10));
    store.append(&held, &records).await.expect("appended");
    (held, history, records)
}

fn at(records: &[StoredRecord], tick: Tick) -> Position {
    let record = records
        .iter()
        .find(|record| record.tick == tick)
        .expect("the tick is in the history");
    position(Epoch(1), record)
}

async fn body_of_several_parts_is_read_back_whole(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (held, _, records) = zone_of_ten(a, "parts").await;
    let body = body(2 * PART_BYTES_MAX + 17, 1);
    let head = put_checkpoint(a, &held, at(&records, Tick(4)), BASE, &body)
        .await
        .expect("written");
    let data = b.read_zone(&held.zone).await.expect("readable");
    assert_eq!((data.chain.len(), data.chain[0].head), (1, head));
    assert!(data.chain[0].body == body, "the bytes that were written");
    assert_eq!(data.records, records[4..]);
}

/// More parts and records than a store reads at once.
async fn large_zone_is_read_back_whole(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (held, mut history, mut records) = zone_of_ten(a, "large").await;
    records.extend(history.records_to(Tick(300)));
    a.append(&held, &records[10..]).await.expect("appended");
    let body = body(40 * PART_BYTES_MAX + 1, 1);
    put_checkpoint(a, &held, at(&records, Tick(4)), BASE, &body)
        .await
        .expect("written");
    let data = b.read_zone(&held.zone).await.expect("readable");
    assert!(data.chain[0].body == body, "the bytes that were written");
    assert_eq!(data.records, records[4..]);
}

async fn parts_without_a_head_are_no_checkpoint(store: &impl ZoneStore) {
    let (held, _, records) = zone_of_ten(store, "headless").await;
    put_parts(store, &held, at(&records, Tick(4)), BASE, &body(100, 1))
        .await
        .expect("written");
    let data = store.read_zone(&held.zone).await.expect("readable");
    assert_eq!((data.chain.len(), data.records.len()), (0, 10));
}

async fn head_without_its_parts_is_refused(store: &impl ZoneStore) {
    let (held, _, records) = zone_of_ten(store, "partless").await;
    let mut head = put_parts(store, &held, at(&records, Tick(4)), BASE, &body(100, 1))
        .await
        .expect("written");
    (head.parts, head.bytes) = (2, 200);
    let moved = store.move_head(&held, head).await;
    assert!(matches!(moved, Err(StoreError::Corrupt(_))), "{moved:?}");
    assert!(store.read_zone(&held.zone).await.expect("readable").chain.is_empty());
}

async fn deltas_are_read_in_order_with_the_records_after_them(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (held, _, records) = zone_of_ten(a, "deltas").await;
    let (base, first, second) = (at(&records, Tick(2)), at(&records, Tick(5)), at(&records, Tick(9)));
    put_checkpoint(a, &held, base, BASE, &body(300, 1))
        .await
        .expect("written");
    let delta = CheckpointKind::Delta { parent: base };
    put_checkpoint(a, &held, first, delta, &body(20, 2))
        .await
        .expect("written");
    let delta = CheckpointKind::Delta { parent: first };
    put_checkpoint(a, &held, second, delta, &Bytes::new())
        .await
        .expect("an empty body is one too");
    let data = b.read_zone(&held.zone).await.expect("readable");
    let chain: Vec<_> = data.chain.iter().map(|checkpoint| checkpoint.head.position).collect();
    assert_eq!((chain, data.chain[2].head.kind), (vec![base, first, second], delta));
    assert_eq!(data.records, records[9..]);
    let summary = b.summary(&held.zone).await.expect("readable").expect("there");
    assert_eq!((summary.head, summary.base), (Some(second), Some(base)));
}

async fn delta_with_another_parent_is_refused(store: &impl ZoneStore) {
    let (held, _, records) = zone_of_ten(store, "parent").await;
    let orphan = CheckpointKind::Delta {
        parent: at(&records, Tick(2)),
    };
    let refused = put_checkpoint(store, &held, at(&records, Tick(5)), orphan, &body(9, 1)).await;
    assert!(matches!(refused, Err(StoreError::ParentMoved)), "{refused:?}");
    put_checkpoint(store, &held, at(&records, Tick(3)), BASE, &body(9, 1))
        .await
        .expect("written");
    let refused = put_checkpoint(store, &held, at(&records, Tick(5)), orphan, &body(9, 1)).await;
    assert!(matches!(refused, Err(StoreError::ParentMoved)), "{refused:?}");
    assert_eq!(store.read_zone(&held.zone).await.expect("readable").chain.len(), 1);
}

async fn repeated_writes_change_nothing(store: &impl ZoneStore) {
    let (held, _, records) = zone_of_ten(store, "again").await;
    let base = put_checkpoint(store, &held, at(&records, Tick(2)), BASE, &body(9, 1))
        .await
        .expect("written");
    let delta = CheckpointKind::Delta { parent: base.position };
    put_checkpoint(store, &held, at(&records, Tick(5)), delta, &body(9, 2))
        .await
        .expect("written");
    let before = store.read_zone(&held.zone).await.expect("readable");
    put_checkpoint(store, &held, at(&records, Tick(5)), delta, &body(9, 2))
        .await
        .expect("a repeat");
    put_checkpoint(store, &held, at(&records, Tick(2)), BASE, &body(9, 1))
        .await
        .expect("a late repeat");
    assert_eq!(store.read_zone(&held.zone).await.expect("readable"), before);
}

async fn older_base_does_not_replace_a_newer_head(store: &impl ZoneStore) {
    let (held, _, records) = zone_of_ten(store, "older").await;
    put_checkpoint(store, &held, at(&records, Tick(8)), BASE, &body(9, 1))
        .await
        .expect("written");
    let refused = put_checkpoint(store, &held, at(&records, Tick(4)), BASE, &body(9, 1)).await;
    assert!(matches!(refused, Err(StoreError::ParentMoved)), "{refused:?}");
}

async fn base_keeps_the_one_before_it_and_its_journal(store: &impl ZoneStore) {
    let (held, _, records) = zone_of_ten(store, "trim").await;
    let journal = async || {
        store
            .summary(&held.zone)
            .await
            .expect("readable")
            .expect("there")
            .journal
    };
    put_checkpoint(store, &held, at(&records, Tick(3)), BASE, &body(9, 1))
        .await
        .expect("written");
    assert_eq!(
        journal().await,
        Some((Tick(1), Tick(10))),
        "there is no base before the first"
    );
    put_checkpoint(store, &held, at(&records, Tick(6)), BASE, &body(9, 1))
        .await
        .expect("written");
    assert_eq!(
        journal().await,
        Some((Tick(4), Tick(10))),
        "the base before can still be replayed to the end"
    );
    put_checkpoint(store, &held, at(&records, Tick(9)), BASE, &body(9, 1))
        .await
        .expect("written");
    assert_eq!(journal().await, Some((Tick(7), Tick(10))));
    assert_eq!(
        store.append(&held, &records[8..]).await.expect("answered"),
        AppendAnswer::Duplicate
    );
}

async fn fenced_owner_writes_no_part_and_moves_no_head(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (old, _, records) = zone_of_ten(a, "late-head").await;
    let head = put_parts(a, &old, at(&records, Tick(4)), BASE, &body(9, 1))
        .await
        .expect("written");
    b.fence(&tenure(&old.zone, 2, 200)).await.expect("a higher epoch");
    assert_fenced(a.move_head(&old, head).await, 2);
    assert_fenced(a.put_part(&old, at(&records, Tick(5)), 0, body(9, 1)).await, 2);
    assert!(b.read_zone(&old.zone).await.expect("readable").chain.is_empty());
}

/// A shard that was suspended with its memory intact claims its zone again and writes what it has.
async fn base_of_a_higher_epoch_ends_the_history_beside_it(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (old, _, records) = zone_of_ten(a, "truth").await;
    let new = tenure(&old.zone, 2, 200);
    b.fence(&new).await.expect("a higher epoch");
    let mut truth = SuiteHistory::after(2, at(&records, Tick(6)));
    truth.records_to(Tick(8));
    put_checkpoint(b, &new, truth.last(), BASE, &body(9, 1))
        .await
        .expect("written");
    assert!(
        b.read_zone(&old.zone).await.expect("readable").records.is_empty(),
        "records 9 and 10 lead nowhere"
    );
    let next = truth.records_to(Tick(9));
    assert_eq!(b.append(&new, &next).await.expect("appended"), AppendAnswer::Ok);
    assert_eq!(b.read_zone(&old.zone).await.expect("readable").records, next);
}

/// The store came back with what an owner of a lower epoch had written, which is longer than what a shard has in
/// memory.
async fn history_that_a_checkpoint_of_another_covers_is_a_gap_that_a_base_ends(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (old, _, records) = zone_of_ten(a, "covered").await;
    put_checkpoint(a, &old, at(&records, Tick(8)), BASE, &body(9, 1))
        .await
        .expect("written");
    let new = tenure(&old.zone, 2, 200);
    let mut memory = SuiteHistory::after(2, at(&records, Tick(3)));
    let covered = memory.records_to(Tick(5));
    assert_eq!(
        b.append(&new, &covered).await.expect("answered"),
        AppendAnswer::Gap { last: Tick(8) },
        "it follows, but only a base takes back what a checkpoint covers"
    );
    put_checkpoint(b, &new, memory.last(), BASE, &body(9, 1))
        .await
        .expect("a base of a higher epoch is newer, however early its tick");
    let next = memory.records_to(Tick(6));
    assert_eq!(b.append(&new, &next).await.expect("appended"), AppendAnswer::Ok);
    let data = b.read_zone(&old.zone).await.expect("readable");
    assert_eq!(
        (data.chain.len(), data.records),
        (1, next),
        "the other history has ended"
    );
    let newest = b.summary(&old.zone).await.expect("readable");
    let newest = newest
        .and_then(|summary| summary.newest)
        .map(|end| (end.epoch, end.tick));
    assert_eq!(newest, Some((Epoch(2), Tick(6))));
}

async fn journal_goes_on_from_a_base_that_was_ahead_of_it(store: &impl ZoneStore) {
    let (held, mut history, _) = zone_of_ten(store, "ahead").await;
    let missing = history.records_to(Tick(15));
    put_checkpoint(store, &held, history.last(), BASE, &body(9, 1))
        .await
        .expect("written");
    let next = history.records_to(Tick(16));
    assert_eq!(store.append(&held, &next).await.expect("appended"), AppendAnswer::Ok);
    assert_eq!(store.read_zone(&held.zone).await.expect("readable").records, next);
    let late = store.append(&held, &missing).await.expect("answered");
    assert_ne!(
        late,
        AppendAnswer::Gap { last: Tick(10) },
        "what the base covers is not asked for"
    );
    assert_eq!(
        store.read_zone(&held.zone).await.expect("readable").records,
        next,
        "and does no harm"
    );
}

async fn quarantine_ends_with_a_base_that_covers_it(store: &impl ZoneStore) {
    let (held, _, records) = zone_of_ten(store, "cured").await;
    let (early, late) = (EntityId::new(1, 1), EntityId::new(1, 2));
    store.quarantine(&held, Tick(4), early, 1).await.expect("written");
    store.quarantine(&held, Tick(8), late, 2).await.expect("written");
    put_checkpoint(store, &held, at(&records, Tick(5)), BASE, &body(9, 1))
        .await
        .expect("written");
    assert_eq!(
        store.read_zone(&held.zone).await.expect("readable").quarantine,
        [(late, 2)]
    );
}

async fn body_may_have_an_empty_part(store: &impl ZoneStore) {
    let (held, _, records) = zone_of_ten(store, "empty-part").await;
    let position = at(&records, Tick(4));
    for (index, part) in [(0, "a"), (1, ""), (2, "b")] {
        let part = Bytes::from_static(part.as_bytes());
        store.put_part(&held, position, index, part).await.expect("written");
    }
    let head = CheckpointHead {
        position,
        kind: BASE,
        parts: 3,
        bytes: 2,
    };
    store.move_head(&held, head).await.expect("all parts are there");
    let data = store.read_zone(&held.zone).await.expect("readable");
    assert_eq!((data.chain[0].head, &data.chain[0].body[..]), (head, &b"ab"[..]));
}

/// A higher epoch whose head is refused has done nothing: who holds the fence still does.
async fn refused_head_leaves_the_fence(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (held, _, records) = zone_of_ten(a, "refused").await;
    let heir = tenure(&held.zone, 2, 200);
    let orphan = CheckpointKind::Delta {
        parent: at(&records, Tick(2)),
    };
    let head = |tick, kind, parts| CheckpointHead {
        position: at(&records, Tick(tick)),
        kind,
        parts,
        bytes: 0,
    };
    let moved = b.move_head(&heir, head(5, orphan, 0)).await;
    assert!(matches!(moved, Err(StoreError::ParentMoved)), "{moved:?}");
    let moved = b.move_head(&heir, head(5, BASE, 1)).await;
    assert!(matches!(moved, Err(StoreError::Corrupt(_))), "{moved:?}");
    let summary = a.summary(&held.zone).await.expect("readable").expect("there");
    assert_eq!(summary.fence_epoch, Epoch(1));
    a.move_head(&held, head(5, BASE, 0))
        .await
        .expect("the owner's may move");
    b.move_head(&heir, head(5, BASE, 0))
        .await
        .expect("a repeat by its heir");
    assert_fenced(a.move_head(&held, head(5, BASE, 0)).await, 2);
}

/// A base was ahead of the journal, which went on from it: there is a hole. Then a higher epoch's head comes from
/// before the hole.
async fn records_beyond_a_hole_end_with_a_head_of_a_higher_epoch(a: &impl ZoneStore, b: &impl ZoneStore) {
    for (name, from) in [("hole-before", 9), ("hole-at", 10), ("hole-in", 12)] {
        let (old, mut history, records) = zone_of_ten(a, name).await;
        history.records_to(Tick(15));
        put_checkpoint(a, &old, history.last(), BASE, &body(9, 1))
            .await
            .expect("written");
        let beyond = history.records_to(Tick(18));
        a.append(&old, &beyond).await.expect("appended");
        let heir = tenure(&old.zone, 2, 200);
        let mut truth = SuiteHistory::after(2, at(&records, Tick(8)));
        if from == 10 {
            let epoch = Epoch(2);
            truth = SuiteHistory::after(
                2,
                Position {
                    epoch,
                    ..at(&records, Tick(10))
                },
            );
        } else {
            truth.records_to(Tick(from));
        }
        put_checkpoint(b, &heir, truth.last(), BASE, &body(9, 2))
            .await
            .expect("written");
        let data = a.read_zone(&old.zone).await.expect("readable");
        assert_eq!((data.chain.len(), data.records), (1, Vec::new()), "{name}");
        let next = truth.records_to(Tick(from + 8));
        assert_eq!(
            b.append(&heir, &next).await.expect("appended"),
            AppendAnswer::Ok,
            "{name}"
        );
        assert_eq!(a.read_zone(&old.zone).await.expect("readable").records, next, "{name}");
    }
}

async fn ends_of_the_journal_are_records(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (old, mut history, _) = zone_of_ten(a, "ends").await;
    let journal = async || {
        let summary = b.summary(&old.zone).await.expect("readable").expect("there");
        summary.journal
    };
    history.records_to(Tick(15));
    let base = history.last();
    put_checkpoint(a, &old, base, BASE, &body(9, 1)).await.expect("written");
    a.append(&old, &history.records_to(Tick(16))).await.expect("appended");
    assert_eq!(journal().await, Some((Tick(1), Tick(16))));
    // What it lacked was never told; a higher epoch goes on from the base otherwise.
    let heir = tenure(&old.zone, 2, 200);
    let mut truth = SuiteHistory::after(2, base).other();
    truth.records_to(Tick(16));
    let delta = CheckpointKind::Delta { parent: base };
    put_checkpoint(b, &heir, truth.last(), delta, &body(9, 2))
        .await
        .expect("written");
    assert_eq!(journal().await, Some((Tick(1), Tick(10))), "11 to 15 were never there");
    b.append(&heir, &truth.records_to(Tick(19))).await.expect("appended");
    let newer = truth.last();
    put_checkpoint(b, &heir, newer, BASE, &body(9, 3))
        .await
        .expect("written");
    assert_eq!(journal().await, Some((Tick(17), Tick(19))), "16 was never there");
}

async fn parts_that_are_given_up_are_deleted(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (held, _, records) = zone_of_ten(a, "given-up").await;
    let (base, given_up, other) = (at(&records, Tick(2)), at(&records, Tick(4)), at(&records, Tick(5)));
    let body = body(PART_BYTES_MAX + 1, 1);
    put_checkpoint(a, &held, base, BASE, &body).await.expect("written");
    for position in [given_up, other] {
        put_parts(a, &held, position, BASE, &body).await.expect("written");
    }
    for _ in 0..2 {
        a.drop_parts(&held, given_up, 2)
            .await
            .expect("done, and harmlessly repeated");
    }
    let are_there = async |position| {
        let keys = [(position, 0), (position, 1)];
        let parts = b.read_parts(&held.zone, None, &keys).await.expect("readable");
        [parts[0].is_some(), parts[1].is_some()]
    };
    assert_eq!(
        (are_there(given_up).await, are_there(other).await),
        ([false; 2], [true; 2])
    );
    a.drop_parts(&held, base, 2)
        .await
        .expect("an owner that does not know that it moved the head");
    assert_eq!(are_there(base).await, [true; 2], "they are a checkpoint's");
    b.fence(&tenure(&held.zone, 2, 200)).await.expect("a higher epoch");
    assert_fenced(a.drop_parts(&held, other, 2).await, 2);
    assert_eq!(are_there(other).await, [true; 2]);
}
