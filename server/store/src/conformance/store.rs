//! The suite of [`ZoneStore`]: fences and data sets. What concerns journal, checkpoints, and reading is in the modules
//! beside.

use everhold_core::durability::store::{AppendAnswer, CheckpointKind, Origin, StoreError, ZoneData, ZoneStore};
use everhold_core::limits::PART_BYTES_MAX;
use everhold_core::ownership::holder::command::StoreData;
use everhold_protocol::{Epoch, Tick, ZoneName};

use super::history::{SuiteHistory, assert_fenced, body, fenced, put_checkpoint, tenure, zone};
use super::{store_checkpoints, store_evidence, store_journal, store_reading, store_seal};

/// Runs the whole suite. `open` gives one more connection to the same data, which must be empty at first; `lose` makes
/// the data of one zone vanish, as an operator's mistake or a store without persistence would.
///
/// # Panics
/// If the store does not conform.
pub async fn zone_store_conformance<S: ZoneStore>(open: impl Fn() -> S, lose: impl Fn(&S, &ZoneName)) {
    let (a, b) = (open(), open());
    unknown_zone_has_no_summary_and_takes_no_write(&a).await;
    first_fence_makes_an_empty_data_set(&a).await;
    lower_epoch_and_other_nonce_are_fenced(&a, &b).await;
    nonces_that_differ_in_their_last_bit_are_told_apart(&a).await;
    higher_epoch_raises_the_fence_with_any_write(&a, &b).await;
    zones_are_independent(&a).await;
    quarantine_is_kept_and_fenced(&a, &b).await;
    lost_data_set_is_not_made_anew_by_a_write(&a, &b, &lose).await;
    zone_of_a_later_grant_is_never_new(&a, &b, &lose).await;
    lost_data_set_is_written_anew_from_memory(&a, &b, &lose).await;
    incomplete_data_set_can_begin_again_from_nothing(&a, &b, &lose).await;
    store_journal::run(&a, &b).await;
    store_checkpoints::run(&a, &b).await;
    store_reading::run(&a, &b).await;
    store_seal::run(&a, &b, &lose).await;
    store_evidence::run(&a, &b, &lose).await;
}

async fn unknown_zone_has_no_summary_and_takes_no_write(store: &impl ZoneStore) {
    let zone = zone("never-made");
    assert_eq!(store.summary(&zone).await.expect("a question"), None);
    let append = store
        .append(&tenure(&zone, 1, 1), &SuiteHistory::new(1).records_to(Tick(1)))
        .await;
    assert!(matches!(append, Err(StoreError::Lost)), "{append:?}");
    assert!(matches!(store.read_zone(&zone).await, Err(StoreError::Lost)));
    assert_eq!(
        store.summary(&zone).await.expect("a question"),
        None,
        "a refused write makes nothing"
    );
}

async fn first_fence_makes_an_empty_data_set(store: &impl ZoneStore) {
    let held = fenced(store, "new").await;
    assert_eq!(
        store.read_zone(&held.zone).await.expect("readable"),
        ZoneData::default()
    );
    store.fence(&held).await.expect("a repeated fence is harmless");
    let summary = store.summary(&held.zone).await.expect("readable").expect("there");
    assert_eq!(
        (summary.fence_epoch, summary.journal, summary.head, summary.base),
        (Epoch(1), None, None, None)
    );
    assert_eq!(summary.data(), StoreData::Nothing, "a fence is no data");
}

async fn lower_epoch_and_other_nonce_are_fenced(a: &impl ZoneStore, b: &impl ZoneStore) {
    let old = fenced(a, "fence").await;
    let new = tenure(&old.zone, 2, 200);
    b.fence(&new).await.expect("a higher epoch");
    let records = SuiteHistory::new(1).records_to(Tick(1));
    assert_fenced(a.append(&old, &records).await, 2);
    assert_fenced(a.fence(&old).await, 2);
    assert_fenced(a.append(&tenure(&old.zone, 2, 999), &records).await, 2);
    assert_fenced(a.fence(&tenure(&old.zone, 2, 999)).await, 2);
    let data = b.read_zone(&old.zone).await.expect("readable");
    assert_eq!(data, ZoneData::default(), "a fenced write leaves nothing behind");
}

/// A nonce has more bits than a double holds exactly.
async fn nonces_that_differ_in_their_last_bit_are_told_apart(store: &impl ZoneStore) {
    for (name, nonce) in [("last-bit", 1 << 53), ("last-bit-of-all", u64::MAX - 1)] {
        let zone = zone(name);
        store.fence(&tenure(&zone, 1, nonce)).await.expect("a new zone");
        assert_fenced(store.fence(&tenure(&zone, 1, nonce + 1)).await, 1);
        let records = SuiteHistory::new(1).records_to(Tick(1));
        assert_fenced(store.append(&tenure(&zone, 1, nonce + 1), &records).await, 1);
        store.fence(&tenure(&zone, 1, nonce)).await.expect("it is the owner");
    }
}

async fn higher_epoch_raises_the_fence_with_any_write(a: &impl ZoneStore, b: &impl ZoneStore) {
    let old = fenced(a, "raise").await;
    let records = SuiteHistory::new(5).records_to(Tick(1));
    assert_eq!(
        b.append(&tenure(&old.zone, 5, 500), &records)
            .await
            .expect("a higher epoch"),
        AppendAnswer::Ok
    );
    assert_fenced(a.fence(&old).await, 5);
    assert_eq!(
        a.summary(&old.zone)
            .await
            .expect("readable")
            .expect("there")
            .fence_epoch,
        Epoch(5)
    );
}

async fn zones_are_independent(store: &impl ZoneStore) {
    let first = fenced(store, "left").await;
    let second = fenced(store, "right").await;
    let records = SuiteHistory::new(1).records_to(Tick(2));
    store.append(&first, &records).await.expect("appended");
    assert_eq!(store.read_zone(&first.zone).await.expect("readable").records, records);
    assert!(
        store
            .read_zone(&second.zone)
            .await
            .expect("readable")
            .records
            .is_empty()
    );
}

async fn quarantine_is_kept_and_fenced(a: &impl ZoneStore, b: &impl ZoneStore) {
    let old = fenced(a, "poison").await;
    let session = everhold_protocol::EntityId::new(1, 7);
    for _ in 0..2 {
        a.quarantine(&old, Tick(3), session, 9)
            .await
            .expect("written, and harmlessly repeated");
    }
    b.fence(&tenure(&old.zone, 2, 200)).await.expect("a higher epoch");
    assert_fenced(a.quarantine(&old, Tick(4), session, 10).await, 2);
    assert_eq!(
        b.read_zone(&old.zone).await.expect("readable").quarantine,
        [(session, 9)]
    );
}

async fn lost_data_set_is_not_made_anew_by_a_write<S: ZoneStore>(a: &S, b: &S, lose: &impl Fn(&S, &ZoneName)) {
    let held = fenced(a, "lost").await;
    let mut history = SuiteHistory::new(1);
    a.append(&held, &history.records_to(Tick(3))).await.expect("appended");
    lose(a, &held.zone);
    let append = a.append(&held, &history.records_to(Tick(4))).await;
    assert!(matches!(append, Err(StoreError::Lost)), "{append:?}");
    assert!(matches!(
        b.fence(&tenure(&held.zone, 2, 200)).await,
        Err(StoreError::Lost)
    ));
    assert!(matches!(b.read_zone(&held.zone).await, Err(StoreError::Lost)));
    // A store that forgets with its data that there was any knows of none.
    let summary = b.summary(&held.zone).await;
    assert!(matches!(summary, Err(StoreError::Lost) | Ok(None)), "{summary:?}");
}

/// Taken for a new one, it would begin the world again without a word.
async fn zone_of_a_later_grant_is_never_new<S: ZoneStore>(a: &S, b: &S, lose: &impl Fn(&S, &ZoneName)) {
    let there_was = fenced(a, "later-grant").await;
    let records = SuiteHistory::new(1).records_to(Tick(3));
    a.append(&there_was, &records).await.expect("appended");
    lose(a, &there_was.zone);
    for zone in [there_was.zone, zone("later-grant-of-nothing")] {
        for (epoch, store) in [(2, a), (7, b), (2, a)] {
            let fenced = store.fence(&tenure(&zone, epoch, 200)).await;
            assert!(matches!(fenced, Err(StoreError::Lost)), "{zone} {epoch}: {fenced:?}");
        }
        assert!(
            matches!(b.read_zone(&zone).await, Err(StoreError::Lost)),
            "nothing was made"
        );
        let begun = b.create(&tenure(&zone, 7, 200), Origin::Nothing).await;
        begun.expect("it begins again, and whoever does that says so");
        assert_eq!(a.read_zone(&zone).await.expect("readable"), ZoneData::default());
    }
}

async fn lost_data_set_is_written_anew_from_memory<S: ZoneStore>(a: &S, b: &S, lose: &impl Fn(&S, &ZoneName)) {
    let held = fenced(a, "from-memory").await;
    let mut history = SuiteHistory::new(1);
    a.append(&held, &history.records_to(Tick(3))).await.expect("appended");
    lose(a, &held.zone);
    for _ in 0..2 {
        let created = a.create(&held, Origin::Memory).await;
        created.expect("made anew, and harmlessly repeated");
    }
    assert!(
        matches!(a.fence(&held).await, Err(StoreError::Lost)),
        "it is incomplete"
    );
    assert!(
        matches!(b.read_zone(&held.zone).await, Err(StoreError::Lost)),
        "it is incomplete"
    );
    let append = a.append(&held, &history.records_to(Tick(4))).await.expect("answered");
    assert_eq!(append, AppendAnswer::Gap { last: Tick(0) });
    // One that has nothing does not shut out the one that is writing.
    let heir = tenure(&held.zone, 2, 200);
    assert!(matches!(b.fence(&heir).await, Err(StoreError::Lost)));
    let incomplete = StoreData::Incomplete { epoch: held.epoch() };
    assert_eq!(data_of(b, &held.zone).await, incomplete);
    let body = body(PART_BYTES_MAX + 1, 1);
    put_checkpoint(a, &held, history.last(), CheckpointKind::Base, &body)
        .await
        .expect("an incomplete data set takes a base");
    let data = b.read_zone(&held.zone).await.expect("it is whole");
    assert_eq!((data.chain.len(), data.records.len()), (1, 0));
    assert_eq!(data_of(b, &held.zone).await, StoreData::Newest(history.last().stamp()));
    let next = history.records_to(Tick(5));
    assert_eq!(a.append(&held, &next).await.expect("appended"), AppendAnswer::Ok);
    a.create(&held, Origin::Nothing).await.expect("a whole one stays");
    assert_eq!(b.read_zone(&held.zone).await.expect("readable").records, next);
    let newest = StoreData::Newest(history.last().stamp());
    assert_eq!(data_of(b, &held.zone).await, newest);
    b.fence(&heir).await.expect("it is whole");
    assert_eq!(data_of(a, &held.zone).await, newest, "a fence is no data");
    assert_fenced(a.append(&held, &history.records_to(Tick(6))).await, 2);
}

/// Returns what there is of a zone to go on from.
async fn data_of(store: &impl ZoneStore, zone: &ZoneName) -> StoreData {
    let summary = store.summary(zone).await.expect("readable");
    summary.map_or(StoreData::Nothing, |summary| summary.data())
}

async fn incomplete_data_set_can_begin_again_from_nothing<S: ZoneStore>(a: &S, b: &S, lose: &impl Fn(&S, &ZoneName)) {
    let held = fenced(a, "from-nothing").await;
    let mut history = SuiteHistory::new(1);
    a.append(&held, &history.records_to(Tick(3))).await.expect("appended");
    lose(a, &held.zone);
    a.create(&held, Origin::Memory).await.expect("made anew");
    let heir = tenure(&held.zone, 2, 200);
    assert!(
        matches!(b.fence(&heir).await, Err(StoreError::Lost)),
        "it is incomplete"
    );
    a.create(&held, Origin::Memory).await.expect("it is not shut out");
    b.create(&heir, Origin::Nothing).await.expect("it begins again");
    assert_eq!(b.read_zone(&held.zone).await.expect("readable"), ZoneData::default());
    b.fence(&heir).await.expect("it is a data set like any other");
}
