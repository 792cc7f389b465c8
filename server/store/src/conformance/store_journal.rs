//! The duties of every state store with a journal.

use everhold_core::durability::store::{AppendAnswer, StoreError, ZoneStore};
use everhold_protocol::{Epoch, Tick};

use super::history::{SuiteHistory, assert_fenced, fenced, position, tenure};

pub(super) async fn run(a: &impl ZoneStore, b: &impl ZoneStore) {
    appended_records_are_read_back_in_order(a, b).await;
    repeated_append_is_a_duplicate(a).await;
    overlapping_append_stores_the_rest(a).await;
    append_after_a_gap_says_where_the_journal_ends(a).await;
    fork_of_the_same_epoch_stores_nothing(a).await;
    record_that_follows_another_history_is_a_fork(a).await;
    higher_epoch_writes_over_a_lower_ones_end(a, b).await;
    higher_epoch_is_sent_back_to_where_histories_part(a, b).await;
    late_append_of_a_zombie_is_fenced(a, b).await;
}

async fn appended_records_are_read_back_in_order(a: &impl ZoneStore, b: &impl ZoneStore) {
    let held = fenced(a, "order").await;
    let records = SuiteHistory::new(1).records_to(Tick(20));
    for batch in records.chunks(7) {
        assert_eq!(a.append(&held, batch).await.expect("appended"), AppendAnswer::Ok);
    }
    assert_eq!(b.read_zone(&held.zone).await.expect("readable").records, records);
    assert_eq!(
        b.summary(&held.zone).await.expect("readable").expect("there").journal,
        Some((Tick(1), Tick(20)))
    );
}

async fn repeated_append_is_a_duplicate(store: &impl ZoneStore) {
    let held = fenced(store, "repeat").await;
    let records = SuiteHistory::new(1).records_to(Tick(5));
    assert_eq!(store.append(&held, &records).await.expect("appended"), AppendAnswer::Ok);
    assert_eq!(
        store.append(&held, &records).await.expect("answered"),
        AppendAnswer::Duplicate
    );
    assert_eq!(
        store.append(&held, &records[1..3]).await.expect("answered"),
        AppendAnswer::Duplicate
    );
    assert_eq!(store.read_zone(&held.zone).await.expect("readable").records, records);
}

async fn overlapping_append_stores_the_rest(store: &impl ZoneStore) {
    let held = fenced(store, "overlap").await;
    let records = SuiteHistory::new(1).records_to(Tick(8));
    store.append(&held, &records[..5]).await.expect("appended");
    assert_eq!(
        store.append(&held, &records[3..]).await.expect("appended"),
        AppendAnswer::Ok
    );
    assert_eq!(store.read_zone(&held.zone).await.expect("readable").records, records);
}

async fn append_after_a_gap_says_where_the_journal_ends(store: &impl ZoneStore) {
    let held = fenced(store, "gap").await;
    let records = SuiteHistory::new(1).records_to(Tick(7));
    assert_eq!(
        store.append(&held, &records[1..]).await.expect("answered"),
        AppendAnswer::Gap { last: Tick(0) }
    );
    store.append(&held, &records[..5]).await.expect("appended");
    assert_eq!(
        store.append(&held, &records[6..]).await.expect("answered"),
        AppendAnswer::Gap { last: Tick(5) }
    );
    assert_eq!(
        store.read_zone(&held.zone).await.expect("readable").records,
        records[..5]
    );
    assert_eq!(
        store.append(&held, &records[5..]).await.expect("appended"),
        AppendAnswer::Ok
    );
}

async fn fork_of_the_same_epoch_stores_nothing(store: &impl ZoneStore) {
    let held = fenced(store, "fork").await;
    let mut history = SuiteHistory::new(1);
    let mut records = history.records_to(Tick(4));
    store.append(&held, &records).await.expect("appended");
    let fork = SuiteHistory::after(1, position(Epoch(1), &records[1]))
        .other()
        .records_to(Tick(6));
    assert_eq!(
        store.append(&held, &fork).await.expect("answered"),
        AppendAnswer::Fork { tick: Tick(3) }
    );
    assert_eq!(
        store.read_zone(&held.zone).await.expect("readable").records,
        records,
        "both histories are evidence"
    );
    records.extend(history.records_to(Tick(5)));
    assert_eq!(
        store.append(&held, &records[4..]).await.expect("appended"),
        AppendAnswer::Ok
    );
}

async fn record_that_follows_another_history_is_a_fork(store: &impl ZoneStore) {
    let held = fenced(store, "wrong-parent").await;
    store
        .append(&held, &SuiteHistory::new(1).records_to(Tick(4)))
        .await
        .expect("appended");
    let other = SuiteHistory::new(1).other().records_to(Tick(5));
    assert_eq!(
        store.append(&held, &other[4..]).await.expect("answered"),
        AppendAnswer::Fork { tick: Tick(4) }
    );
}

async fn higher_epoch_writes_over_a_lower_ones_end(a: &impl ZoneStore, b: &impl ZoneStore) {
    let old = fenced(a, "over").await;
    let records = SuiteHistory::new(1).records_to(Tick(9));
    a.append(&old, &records).await.expect("appended");
    let new = tenure(&old.zone, 2, 200);
    b.fence(&new).await.expect("a higher epoch");
    let mut truth = records[..6].to_vec();
    truth.extend(SuiteHistory::after(2, position(Epoch(1), &records[5])).records_to(Tick(7)));
    assert_eq!(b.append(&new, &truth[6..]).await.expect("appended"), AppendAnswer::Ok);
    assert_eq!(
        b.read_zone(&old.zone).await.expect("readable").records,
        truth,
        "what followed is gone too"
    );
}

async fn higher_epoch_is_sent_back_to_where_histories_part(a: &impl ZoneStore, b: &impl ZoneStore) {
    let old = fenced(a, "part").await;
    let records = SuiteHistory::new(1).records_to(Tick(4));
    a.append(&old, &records).await.expect("appended");
    let new = tenure(&old.zone, 2, 200);
    let fork = SuiteHistory::after(2, position(Epoch(1), &records[1])).records_to(Tick(5));
    assert_eq!(
        b.append(&new, &fork[2..]).await.expect("answered"),
        AppendAnswer::Gap { last: Tick(3) }
    );
    assert_eq!(
        b.append(&new, &fork[1..]).await.expect("answered"),
        AppendAnswer::Gap { last: Tick(2) }
    );
    assert_eq!(b.append(&new, &fork).await.expect("appended"), AppendAnswer::Ok);
    assert_eq!(
        b.read_zone(&old.zone).await.expect("readable").records,
        [&records[..2], &fork].concat()
    );
}

async fn late_append_of_a_zombie_is_fenced(a: &impl ZoneStore, b: &impl ZoneStore) {
    let old = fenced(a, "zombie").await;
    let mut history = SuiteHistory::new(1);
    let acknowledged = history.records_to(Tick(3));
    a.append(&old, &acknowledged).await.expect("appended");
    let late = history.records_to(Tick(4));
    b.fence(&tenure(&old.zone, 2, 200)).await.expect("a higher epoch");
    assert_fenced(a.append(&old, &late).await, 2);
    assert_fenced(a.append(&old, &acknowledged).await, 2);
    assert_eq!(b.read_zone(&old.zone).await.expect("readable").records, acknowledged);
    assert!(
        !matches!(a.summary(&old.zone).await, Err(StoreError::Fenced { .. })),
        "reading is never fenced"
    );
}
