//! A Sentinel group whose primary changes: it dies and comes back, and it is replaced on purpose.

use std::num::NonZeroU32;

use everhold_core::durability::store::{AppendAnswer, ZoneStore};
use everhold_protocol::Tick;
use everhold_store::conformance::{SuiteHistory, renew, tenure};
use everhold_store::redis::{RedisAuthority, RedisStore, RedisTarget};
use everhold_testing::redis::SentinelGroup;

use crate::refusal::recommended_user;
use crate::{ANSWER_MAX, authority, claimed, store, until_answered, zone};

#[tokio::test]
async fn links_follow_three_sentinels_to_whomever_they_promote() {
    let mut redis = SentinelGroup::start();
    let (store, authority) = (store(&redis.url()).await, authority(&redis.url()).await);
    let lease = claimed(&authority).await;
    let (held, mut history) = (tenure(&zone(), 1, 100), SuiteHistory::new(1));
    store.fence(&held).await.unwrap();
    let goes_on = async |history: &mut SuiteHistory, tick| {
        let records = history.records_to(tick);
        let answer = until_answered(async || store.append(&held, &records).await).await;
        assert!(
            matches!(answer, Ok(AppendAnswer::Ok | AppendAnswer::Duplicate)),
            "{answer:?}"
        );
        until_answered(async || renew(&authority, &lease, 1).await)
            .await
            .unwrap();
    };
    goes_on(&mut history, Tick(3)).await;
    redis.wait_until_whole();

    let first = redis.primary();
    redis.kill(first);
    goes_on(&mut history, Tick(4)).await;
    redis.wait_until_primary_is_not(first);
    redis.start_again(first);
    redis.wait_until_whole();
    goes_on(&mut history, Tick(5)).await;

    redis.failover();
    // Until then the old primary may take a write that it forgets as a replica; living shards send such a one again.
    redis.wait_until_whole();
    goes_on(&mut history, Tick(6)).await;
    let last = redis
        .server(redis.primary())
        .command(&["HGET", "test:{meadow}:meta", "last"]);
    assert_eq!(last, "6", "at the newest primary");
}

#[tokio::test]
async fn recommended_user_is_enough_for_a_shard_at_a_sentinel_group() {
    let redis = SentinelGroup::start_with(&["--min-replicas-to-write", "2"]);
    let words = recommended_user();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for server in 0..3 {
        assert_eq!(redis.server(server).command(&words), "OK");
    }
    let url = redis
        .url()
        .replace("redis-sentinel://", "redis-sentinel://shard:PASSWORD@");
    let target = RedisTarget::new(&url, "everhold").unwrap();
    let store = RedisStore::open(&target).await.unwrap();
    let held = claimed(&RedisAuthority::open(&target, ANSWER_MAX).await.unwrap()).await;
    store.fence(&held).await.unwrap();
    // At level `replica` as well.
    let store = RedisStore::open_confirmed(&target, NonZeroU32::new(2).unwrap())
        .await
        .unwrap();
    store.fence(&held).await.unwrap();
}
