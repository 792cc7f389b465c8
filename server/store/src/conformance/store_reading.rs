//! The duties of every state store towards an adopter: pages that belong together, and a history that ends where it
//! goes on.

use bytes::Bytes;
use everhold_core::durability::store::{
    AppendAnswer, CheckpointHead, CheckpointKind, Position, Rewind, StoreError, StoredRecord, ZoneStore,
};
use everhold_core::limits::PART_BYTES_MAX;
use everhold_core::ownership::Tenure;
use everhold_protocol::{EntityId, Epoch, Tick};

use super::history::{SuiteHistory, assert_fenced, body, fenced, position, put_checkpoint, put_parts, tenure};

pub(super) async fn run(a: &impl ZoneStore, b: &impl ZoneStore) {
    outline_names_the_previous_base_and_all_that_follows(a, b).await;
    pages_hold_what_is_there_in_order(a, b).await;
    page_is_given_only_while_the_reader_holds_the_fence(a, b).await;
    quarantine_is_listed_in_order_of_session(a).await;
    rewound_history_goes_on_from_its_new_end(a, b).await;
    rewind_without_a_head_leaves_the_journal(a, b).await;
    rewind_that_comes_late_does_no_harm(a, b).await;
    fenced_owner_rewinds_nothing(a, b).await;
}

/// A zone of epoch 1 with a base at 3, a delta at 5, a base at 8, a delta at 10, and records up to 12.
struct TwoChains {
    held: Tenure,
    records: Vec<StoredRecord>,
    chain: Vec<CheckpointHead>,
}

impl TwoChains {
    async fn stored(store: &impl ZoneStore, name: &str) -> Self {
        let held = fenced(store, name).await;
        let records = SuiteHistory::new(1).records_to(Tick(12));
        store.append(&held, &records).await.expect("appended");
        let mut zone = Self {
            held,
            records,
            chain: Vec::new(),
        };
        for (tick, is_base) in [(3, true), (5, false), (8, true), (10, false)] {
            let kind = match zone.chain.last() {
                Some(parent) if !is_base => CheckpointKind::Delta {
                    parent: parent.position,
                },
                _ => CheckpointKind::Base,
            };
            let body = body(PART_BYTES_MAX + 7, tick as u8);
            let head = put_checkpoint(store, &zone.held, zone.at(tick), kind, &body)
                .await
                .expect("written");
            zone.chain.push(head);
        }
        zone
    }

    fn at(&self, tick: u64) -> Position {
        position(Epoch(1), &self.records[tick as usize - 1])
    }

    /// Returns the owner of the next epoch, which has fenced the zone.
    async fn heir(&self, store: &impl ZoneStore) -> Tenure {
        let heir = tenure(&self.held.zone, 2, 200);
        store.fence(&heir).await.expect("a higher epoch");
        heir
    }
}

async fn chain_of(store: &impl ZoneStore, tenure: &Tenure) -> Vec<CheckpointHead> {
    let outline = store.outline(&tenure.zone, Some(tenure.grant)).await;
    outline.expect("readable").chain
}

async fn records_of(store: &impl ZoneStore, tenure: &Tenure) -> Vec<StoredRecord> {
    let read = store.read_records(&tenure.zone, Some(tenure.grant), Tick(1), 50).await;
    read.expect("readable")
}

async fn outline_names_the_previous_base_and_all_that_follows(a: &impl ZoneStore, b: &impl ZoneStore) {
    let zone = TwoChains::stored(a, "outline").await;
    let grant = zone.held.grant;
    let outline = b.outline(&zone.held.zone, Some(grant)).await.expect("readable");
    assert_eq!(outline.chain, zone.chain);
    assert_eq!(outline.fence, (grant.epoch(), grant.nonce()));
    assert_eq!((outline.journal, outline.end()), (Some((Tick(4), Tick(12))), Tick(12)));
    let kept = outline.chain.len();
    assert_eq!((outline.base_of(kept), outline.base_of(2)), (Some(2), Some(0)));
}

async fn pages_hold_what_is_there_in_order(a: &impl ZoneStore, b: &impl ZoneStore) {
    let zone = TwoChains::stored(a, "pages").await;
    let (name, reader) = (&zone.held.zone, Some(zone.held.grant));
    let asked = [(zone.at(8), 1), (zone.at(3), 0), (zone.at(8), 2), (zone.at(4), 0)];
    let parts = b.read_parts(name, reader, &asked).await.expect("readable");
    let expected = [
        Some(body(PART_BYTES_MAX + 7, 8).slice(PART_BYTES_MAX..)),
        Some(body(PART_BYTES_MAX + 7, 3).slice(..PART_BYTES_MAX)),
        None,
        None,
    ];
    assert!(
        parts == expected,
        "parts in the order of the question, and none for what is not there"
    );
    for (from, ticks, expected) in [(1, 6, 3..6), (9, 2, 8..10), (11, 40, 10..12), (13, 9, 12..12)] {
        let read = b.read_records(name, reader, Tick(from), ticks).await.expect("readable");
        assert_eq!(read, zone.records[expected]);
    }
}

/// A page that is read under a grant after another was granted may be of another history.
async fn page_is_given_only_while_the_reader_holds_the_fence(a: &impl ZoneStore, b: &impl ZoneStore) {
    let zone = TwoChains::stored(a, "reader").await;
    zone.heir(b).await;
    let (name, part) = (&zone.held.zone, [(zone.at(8), 0)]);
    for reader in [zone.held.grant, tenure(name, 2, 999).grant] {
        assert_fenced(a.outline(name, Some(reader)).await, 2);
        assert_fenced(a.read_parts(name, Some(reader), &part).await, 2);
        assert_fenced(a.read_records(name, Some(reader), Tick(11), 2).await, 2);
    }
    // A store that went back to what it was before the fence does not give its pages to who raised it.
    let ahead = Some(tenure(name, 3, 300).grant);
    let read = a.read_records(name, ahead, Tick(11), 2).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    let read = a.outline(name, ahead).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    let read = a.read_records(name, None, Tick(11), 2).await.expect("anyone may look");
    assert_eq!(read, zone.records[10..]);
    assert_eq!(a.outline(name, None).await.expect("anyone may look").fence.0, Epoch(2));
}

async fn quarantine_is_listed_in_order_of_session(store: &impl ZoneStore) {
    let held = fenced(store, "listed").await;
    let ids = [EntityId(9), EntityId(1 << 63), EntityId(u64::MAX), EntityId(10)];
    for id in ids {
        store.quarantine(&held, Tick(1), id, u64::MAX).await.expect("written");
        store.quarantine(&held, Tick(1), id, 7).await.expect("written");
    }
    let mut expected: Vec<_> = ids.iter().flat_map(|id| [(*id, 7), (*id, u64::MAX)]).collect();
    expected.sort_unstable();
    let outline = store.outline(&held.zone, None).await.expect("readable");
    assert_eq!(outline.quarantine, expected);
}

async fn rewound_history_goes_on_from_its_new_end(a: &impl ZoneStore, b: &impl ZoneStore) {
    let zone = TwoChains::stored(a, "rewound").await;
    let heir = zone.heir(b).await;
    let to = Rewind {
        head: Some(zone.at(5)),
        last: Tick(6),
    };
    for _ in 0..2 {
        b.rewind(&heir, to).await.expect("done, and harmlessly repeated");
        assert_eq!(chain_of(a, &heir).await, zone.chain[..2]);
        assert_eq!(records_of(a, &heir).await, zone.records[3..6]);
    }
    let summary = a.summary(&heir.zone).await.expect("readable").expect("there");
    assert_eq!(
        (summary.journal, summary.head, summary.base),
        (Some((Tick(4), Tick(6))), Some(zone.at(5)), Some(zone.at(3)))
    );
    let dropped = [(zone.at(8), 0), (zone.at(10), 1)];
    let gone = a.read_parts(&heir.zone, Some(heir.grant), &dropped).await;
    assert_eq!(gone.expect("readable"), [None, None], "its parts are gone with it");

    let mut history = SuiteHistory::after(2, zone.at(6));
    let next = history.records_to(Tick(9));
    assert_eq!(b.append(&heir, &next).await.expect("appended"), AppendAnswer::Ok);
    put_checkpoint(b, &heir, history.last(), CheckpointKind::Base, &body(9, 1))
        .await
        .expect("written");
    let data = a.read_zone(&heir.zone).await.expect("readable");
    assert_eq!((data.chain.len(), data.records.len()), (1, 0));
    let outline = a.outline(&heir.zone, None).await.expect("readable");
    assert_eq!((outline.chain.len(), outline.journal), (3, Some((Tick(4), Tick(9)))));
}

/// The zone was replayed from its beginning, because its first base is damaged.
async fn rewind_without_a_head_leaves_the_journal(a: &impl ZoneStore, b: &impl ZoneStore) {
    let held = fenced(a, "beginning").await;
    let mut history = SuiteHistory::new(1);
    let records = history.records_to(Tick(6));
    a.append(&held, &records).await.expect("appended");
    let base = position(Epoch(1), &records[3]);
    put_checkpoint(a, &held, base, CheckpointKind::Base, &body(9, 1))
        .await
        .expect("written");
    let heir = tenure(&held.zone, 2, 200);
    b.fence(&heir).await.expect("a higher epoch");
    let to = Rewind {
        head: None,
        last: Tick(6),
    };
    b.rewind(&heir, to).await.expect("done");
    assert_eq!(chain_of(a, &heir).await, []);
    assert_eq!(records_of(a, &heir).await, records);
    let next = SuiteHistory::after(2, history.last()).records_to(Tick(7));
    assert_eq!(b.append(&heir, &next).await.expect("appended"), AppendAnswer::Ok);
    let all = Rewind {
        head: None,
        last: Tick(0),
    };
    let last = tenure(&held.zone, 3, 300);
    a.rewind(&last, all).await.expect("done");
    let summary = a.summary(&held.zone).await.expect("readable").expect("there");
    assert_eq!((summary.journal, summary.fence_epoch), (None, Epoch(3)));
    let first = SuiteHistory::new(3).records_to(Tick(1));
    assert_eq!(a.append(&last, &first).await.expect("appended"), AppendAnswer::Ok);
}

/// Its answer got lost, the owner asked again and went on, and then the first one arrives once more.
async fn rewind_that_comes_late_does_no_harm(a: &impl ZoneStore, b: &impl ZoneStore) {
    let zone = TwoChains::stored(a, "late-rewind").await;
    let heir = zone.heir(b).await;
    let to = Rewind {
        head: Some(zone.at(5)),
        last: Tick(6),
    };
    b.rewind(&heir, to).await.expect("done");
    let mut history = SuiteHistory::after(2, zone.at(6));
    b.append(&heir, &history.records_to(Tick(9))).await.expect("appended");
    let base = CheckpointKind::Base;
    put_checkpoint(b, &heir, history.last(), base, &body(9, 1))
        .await
        .expect("written");
    b.append(&heir, &history.records_to(Tick(11))).await.expect("appended");
    let under_way = put_parts(b, &heir, history.last(), base, &Bytes::from_static(b"a part"))
        .await
        .expect("written");
    let (chain, records) = (chain_of(a, &heir).await, records_of(a, &heir).await);
    b.rewind(&heir, to).await.expect("done, late");
    assert_eq!((chain_of(a, &heir).await, records_of(a, &heir).await), (chain, records));
    b.move_head(&heir, under_way).await.expect("its parts are there");
}

async fn fenced_owner_rewinds_nothing(a: &impl ZoneStore, b: &impl ZoneStore) {
    let zone = TwoChains::stored(a, "fenced-rewind").await;
    zone.heir(b).await;
    let all = Rewind {
        head: None,
        last: Tick(0),
    };
    assert_fenced(a.rewind(&zone.held, all).await, 2);
    let outline = b.outline(&zone.held.zone, None).await.expect("readable");
    assert_eq!((outline.end(), outline.chain), (Tick(12), zone.chain));
}
