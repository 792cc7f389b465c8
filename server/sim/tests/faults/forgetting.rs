//! A store that restarts empty, from an older dump, or with one zone missing, and one that has no room.

use everhold_core::cluster::Home;
use everhold_core::durability::store::{AppendAnswer, CheckpointHead, CheckpointKind, Origin, Position, StoreError};
use everhold_protocol::{Account, EntityId, Epoch, Tick};
use everhold_store::conformance::{SuiteHistory, tenure};

use crate::{first, put_checkpoint, store_with, zone};

#[test]
fn store_that_restarts_empty_has_lost_the_zone_and_says_so() {
    let meadow = zone("meadow");
    let (mut store, mut history) = store_with(&meadow, 2);
    store.forget_everything();
    let append = store.append(&first(&meadow), &history.records_to(Tick(3)));
    assert!(matches!(append, Err(StoreError::Lost)), "{append:?}");
    let fenced = store.fence(&tenure(&meadow, 2, 2));
    assert!(matches!(fenced, Err(StoreError::Lost)), "{fenced:?}");
    assert_eq!(store.summary(&meadow), None);
}

/// A promoted replica that lacked the end, or a Redis that restarts from its last dump.
#[test]
fn forgotten_tail_is_a_gap_from_which_the_owner_sends_again() {
    let meadow = zone("meadow");
    let (mut store, mut history) = store_with(&meadow, 4);
    let dump = store.dump();
    let tail = history.records_to(Tick(7));
    store.append(&first(&meadow), &tail).unwrap();
    store.restore_to(&dump);
    let next = history.records_to(Tick(8));
    assert_eq!(
        store.append(&first(&meadow), &next).unwrap(),
        AppendAnswer::Gap { last: Tick(4) }
    );
    let all = [tail, next].concat();
    assert_eq!(store.append(&first(&meadow), &all).unwrap(), AppendAnswer::Ok);
    assert_eq!(
        store.read_zone(&meadow).unwrap().records,
        SuiteHistory::new(1).records_to(Tick(8))
    );
}

#[test]
fn older_dump_forgets_the_fence_too_and_the_heir_raises_it_again() {
    let meadow = zone("meadow");
    let (mut store, mut history) = store_with(&meadow, 2);
    let dump = store.dump();
    store.fence(&tenure(&meadow, 2, 2)).unwrap();
    store.restore_to(&dump);
    let late = history.records_to(Tick(3));
    assert_eq!(store.append(&first(&meadow), &late).unwrap(), AppendAnswer::Ok);
    store.fence(&tenure(&meadow, 2, 2)).unwrap();
    let refused = store.append(&first(&meadow), &late);
    assert!(
        matches!(refused, Err(StoreError::Fenced { epoch: Epoch(2) })),
        "{refused:?}"
    );
}

#[test]
fn dump_of_one_zone_leaves_the_others_and_the_homes() {
    let (meadow, forest) = (zone("meadow"), zone("forest"));
    let (mut store, mut history) = store_with(&meadow, 2);
    let dump = store.dump();
    let home = Home::first(meadow.clone());
    store.fence(&first(&forest)).unwrap();
    store.append(&first(&meadow), &history.records_to(Tick(5))).unwrap();
    store.set_home(Account(1), None, &home).unwrap();
    store.restore_zone_to(&dump, &meadow);
    assert_eq!(store.summary(&meadow).unwrap().journal, Some((Tick(1), Tick(2))));
    assert!(store.summary(&forest).is_some());
    store.restore_zone_to(&dump, &forest);
    assert_eq!(store.summary(&forest), None, "there was none then");
    assert_eq!(store.record(Account(1)).map(|record| record.home), Some(home.clone()));
    store.restore_homes_to(&dump);
    assert_eq!(store.record(Account(1)).map(|record| record.home), None);
    let moved = store.set_home(Account(1), Some(&home), &Home::first(forest));
    assert!(matches!(moved, Err(StoreError::Corrupt(_))), "{moved:?}");
}

#[test]
fn data_set_is_as_incomplete_after_a_restart_as_before() {
    let meadow = zone("meadow");
    let (mut store, mut history) = store_with(&meadow, 3);
    store.forget_everything();
    store.create(&first(&meadow), Origin::Memory).unwrap();
    let dump = store.dump();
    put_checkpoint(&mut store, &first(&meadow), history.last(), CheckpointKind::Base);
    assert!(store.read_zone(&meadow).is_ok());
    store.restore_to(&dump);
    assert!(matches!(store.read_zone(&meadow), Err(StoreError::Lost)));
    assert!(matches!(store.fence(&tenure(&meadow, 2, 2)), Err(StoreError::Lost)));
    let owner = store.append(&first(&meadow), &history.records_to(Tick(4)));
    assert!(
        matches!(owner, Ok(AppendAnswer::Gap { last: Tick(0) })),
        "an heir that has nothing does not shut it out: {owner:?}"
    );
}

#[test]
fn full_store_is_read_and_writes_nothing() {
    let meadow = zone("meadow");
    let (mut store, mut history) = store_with(&meadow, 2);
    let before = store.dump();
    let next = history.records_to(Tick(3));
    let head = CheckpointHead {
        position: history.last(),
        kind: CheckpointKind::Base,
        parts: 0,
        bytes: 0,
    };
    store.set_full(true);
    let outcomes = [
        store.fence(&tenure(&meadow, 2, 2)),
        store.fence(&first(&zone("forest"))),
        store.create(&first(&zone("forest")), Origin::Memory),
        store.append(&first(&meadow), &next).map(drop),
        store.put_part(&first(&meadow), head.position, 0, "a part".into()),
        store.move_head(&first(&meadow), head),
        store.quarantine(&first(&meadow), Tick(1), EntityId(1), 1),
        store.set_home(Account(1), None, &Home::first(meadow.clone())).map(drop),
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    }
    assert_eq!(store.dump(), before);
    assert_eq!(store.read_zone(&meadow).unwrap().records.len(), 2);
    store.set_full(false);
    assert_eq!(store.append(&first(&meadow), &next).unwrap(), AppendAnswer::Ok);
}

/// A suspended owner that claims its zone again may have less than another wrote meanwhile.
#[test]
fn records_beyond_a_hole_do_not_follow_a_head_below_it() {
    let meadow = zone("meadow");
    let (mut store, mut history) = store_with(&meadow, 10);
    let (heir, epoch) = (tenure(&meadow, 2, 2), Epoch(2));
    let (tenth, mut truth) = (history.last(), SuiteHistory::after(2, history.last()));
    history.records_to(Tick(15));
    put_checkpoint(&mut store, &first(&meadow), history.last(), CheckpointKind::Base);
    store.append(&first(&meadow), &history.records_to(Tick(17))).unwrap();
    let base = Position { epoch, ..tenth };
    put_checkpoint(&mut store, &heir, base, CheckpointKind::Base);
    assert_eq!(store.read_zone(&meadow).unwrap().records, []);
    let next = truth.records_to(Tick(11));
    assert_eq!(store.append(&heir, &next).unwrap(), AppendAnswer::Ok);
    assert_eq!(store.read_zone(&meadow).unwrap().records, next);
}

#[test]
fn head_that_is_refused_leaves_the_fence() {
    let meadow = zone("meadow");
    let (mut store, history) = store_with(&meadow, 3);
    let head = CheckpointHead {
        position: history.last(),
        kind: CheckpointKind::Base,
        parts: 1,
        bytes: 9,
    };
    let moved = store.move_head(&tenure(&meadow, 2, 2), head);
    assert!(
        matches!(moved, Err(StoreError::Corrupt(_))),
        "no part was written: {moved:?}"
    );
    assert_eq!(store.summary(&meadow).unwrap().fence_epoch, Epoch(1));
    assert_eq!(store.read_zone(&meadow).unwrap().chain, []);
}
