//! The suites of accounts' records against files and Redis.

use everhold_store::conformance::{expiring_home_store_conformance, home_store_conformance};
use everhold_store::sqlite::SqliteStore;
use everhold_testing::redis::{Persistence, RedisServer};

use super::{directory, redis_stores};

#[tokio::test]
async fn sqlite_homes_conform() {
    let directory = directory();
    let open = || SqliteStore::open(directory.path()).unwrap();
    home_store_conformance(open).await;
    expiring_home_store_conformance(open).await;
}

#[tokio::test]
async fn redis_homes_conform() {
    let redis = RedisServer::start(Persistence::None);
    home_store_conformance(redis_stores(&redis, 2).await).await;
    expiring_home_store_conformance(redis_stores(&redis, 2).await).await;
}
