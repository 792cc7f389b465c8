//! The suite of a world's rules against real files and a real Redis.

use everhold_store::conformance::rules_store_conformance;
use everhold_store::sqlite::SqliteStore;
use everhold_testing::redis::{Persistence, RedisServer};

use super::{directory, redis_stores};

#[tokio::test]
async fn sqlite_rules_conform() {
    let directory = directory();
    rules_store_conformance(|| SqliteStore::open(directory.path()).unwrap()).await;
}

#[tokio::test]
async fn redis_rules_conform() {
    let redis = RedisServer::start(Persistence::None);
    rules_store_conformance(redis_stores(&redis, 2).await).await;
}
