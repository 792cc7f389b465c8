//! The suite of bans against files and Redis, and what becomes of bans whose store is lost.

use everhold_core::durability::bans::{Ban, BanStore, WHOLE};
use everhold_protocol::Account;
use everhold_store::conformance::ban_store_conformance;
use everhold_store::sqlite::SqliteStore;
use everhold_testing::redis::{Persistence, RedisServer};

use super::{directory, redis_stores};

#[tokio::test]
async fn sqlite_bans_conform() {
    let directory = directory();
    ban_store_conformance(|| SqliteStore::open(directory.path()).unwrap()).await;
}

#[tokio::test]
async fn redis_bans_conform() {
    let redis = RedisServer::start(Persistence::None);
    ban_store_conformance(redis_stores(&redis, 2).await).await;
}

#[tokio::test]
async fn bans_and_their_marker_are_lost_together() {
    let redis = RedisServer::start(Persistence::None);
    let open = redis_stores(&redis, 1).await;
    let store = open();
    assert!(store.mark_bans("", WHOLE).await.unwrap());
    let ban = Ban {
        account: Account(7),
        revision: 1,
        until_ms: None,
        is_lifted: false,
        by: "anne".to_owned(),
        reason: String::new(),
    };
    assert_eq!(store.put_ban(&ban).await.unwrap(), None);
    assert_eq!(
        redis.command(&["KEYS", "*bans*"]).lines().count(),
        1,
        "one key has them all"
    );
    assert_eq!(redis.command(&["FLUSHALL"]).trim(), "OK");
    let stored = store.ban(Account(7)).await.unwrap();
    assert!(stored.ban.is_none() && !stored.is_whole);
}
