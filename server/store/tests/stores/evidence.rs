//! Evidence whose mark is damaged, on real back ends: it is told of, it is in the way of no zone, and it can be
//! deleted.

use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceMark, EvidenceWhy};
use everhold_core::durability::store::{StoreError, ZoneStore};
use everhold_protocol::{Epoch, Tick};
use everhold_store::conformance::tenure;
use everhold_store::sqlite::SqliteStore;
use everhold_testing::redis::{Persistence, RedisServer};

use crate::{directory, redis_stores, zone};

/// Keeps a piece of one part under an epoch.
async fn keep(store: &impl ZoneStore, epoch: u32) -> Result<EvidenceAnswer, StoreError> {
    let held = tenure(&zone(), epoch, 1);
    store.put_evidence(&held, 0, vec![7; 10].into()).await?;
    let mark = EvidenceMark {
        epoch: Epoch(epoch),
        tick: Tick(40),
        why: EvidenceWhy::Divergent,
        parts: 1,
        bytes: 10,
    };
    store.seal_evidence(&held, mark).await
}

/// Keeps evidence, has its mark damaged, and asks what is left.
async fn assert_deletable(store: &impl ZoneStore, damage: impl Fn()) {
    store.fence(&tenure(&zone(), 1, 1)).await.unwrap();
    assert_eq!(keep(store, 1).await, Ok(EvidenceAnswer::Kept));
    damage();
    let read = store.evidence(&zone()).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    store.fence(&tenure(&zone(), 2, 1)).await.unwrap();
    let read = store.evidence(&zone()).await;
    assert!(
        matches!(read, Err(StoreError::Corrupt(_))),
        "a new owner takes nothing away: {read:?}"
    );
    store.discard_evidence(&zone()).await.unwrap();
    assert_eq!(store.evidence(&zone()).await, Ok(None));
    assert_eq!(keep(store, 2).await, Ok(EvidenceAnswer::Kept), "the next is kept again");
}

#[tokio::test]
async fn evidence_with_a_damaged_mark_is_deleted_from_a_file() {
    let directory = directory();
    let store = SqliteStore::open(directory.path()).unwrap();
    let path = store.zone_path(&zone());
    assert_deletable(&store, || {
        let file = rusqlite::Connection::open(&path).unwrap();
        assert_eq!(file.execute("UPDATE evidence SET why = 9", []), Ok(1));
    })
    .await;
}

#[tokio::test]
async fn evidence_with_a_damaged_mark_is_deleted_from_redis() {
    let redis = RedisServer::start(Persistence::None);
    let open = redis_stores(&redis, 1).await;
    let store = open();
    let key = format!("test:{{{}}}:evidence", zone());
    assert_deletable(&store, || {
        let _zero = redis.command(&["HSET", &key, "mark", "nonsense"]);
    })
    .await;
}
