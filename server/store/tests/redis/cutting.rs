//! Redis lives, and connections to it are cut.

use std::time::Duration;

use everhold_core::durability::store::{AppendAnswer, ZoneStore};
use everhold_core::ownership::Authority;
use everhold_protocol::Tick;
use everhold_store::conformance::{SuiteHistory, tenure};
use everhold_testing::redis::{Persistence, RedisServer};

use crate::{PATIENCE, QUIET, Unknown, authority, claimed, store, until_answered, zone};

/// Holds back every write until [`release_writes`], so that one is under way for as long as a test needs.
fn hold_writes(redis: &RedisServer) {
    let longer_than_any_test = "600000";
    assert_eq!(redis.command(&["CLIENT", "PAUSE", longer_than_any_test, "WRITE"]), "OK");
}

fn release_writes(redis: &RedisServer) {
    assert_eq!(redis.command(&["CLIENT", "UNPAUSE"]), "OK");
}

#[tokio::test]
async fn append_whose_connection_is_cut_is_unknown_and_stored_once_when_sent_again() {
    let redis = RedisServer::start(Persistence::None);
    let store = store(&redis.url()).await;
    let (held, mut history) = (tenure(&zone(), 1, 1), SuiteHistory::new(1));
    store.fence(&held).await.unwrap();
    let mut all = history.records_to(Tick(1));
    // From here on the script is known: an EVALSHA is enough.
    store.append(&held, &all).await.unwrap();
    let records = history.records_to(Tick(2));
    hold_writes(&redis);
    let cut = async {
        let is_held = || redis.command(&["INFO", "clients"]).contains("blocked_clients:1");
        while !is_held() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
    };
    let (append, cut) = tokio::join!(store.append(&held, &records), cut);
    assert_ne!(cut, "0", "connections were cut");
    assert!(append.is_err_and(|error| error.is_unknown()));
    release_writes(&redis);
    let answer = until_answered(async || store.append(&held, &records).await).await;
    // The new connection may still count as replaced when the first of these is answered; then it is the second that is
    // heard.
    assert!(
        matches!(answer, Ok(AppendAnswer::Ok | AppendAnswer::Duplicate)),
        "{answer:?}"
    );
    all.extend(records);
    let data = until_answered(async || store.read_zone(&zone()).await).await;
    assert_eq!(data.unwrap().records, all);
}

#[tokio::test]
async fn connections_that_are_cut_again_and_again_cost_no_record_and_store_none_twice() {
    let redis = RedisServer::start(Persistence::None);
    let store = store(&redis.url()).await;
    let (held, mut history) = (tenure(&zone(), 1, 1), SuiteHistory::new(1));
    store.fence(&held).await.unwrap();
    let mut all = Vec::new();
    for tick in 1..=200 {
        if tick % 20 == 0 {
            let _count = redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        }
        let records = history.records_to(Tick(tick));
        let answer = until_answered(async || store.append(&held, &records).await).await;
        assert!(
            matches!(answer, Ok(AppendAnswer::Ok | AppendAnswer::Duplicate)),
            "{tick}: {answer:?}"
        );
        all.extend(records);
    }
    let data = until_answered(async || store.read_zone(&zone()).await).await;
    assert_eq!(data.unwrap().records, all, "in pages, in order, each once");
}

#[tokio::test]
async fn listener_whose_connection_is_cut_wakes_up_and_listens_again() {
    let redis = RedisServer::start(Persistence::None);
    let (owner, spare) = (authority(&redis.url()).await, authority(&redis.url()).await);
    let held = claimed(&owner).await;
    let listeners = |redis: &RedisServer| {
        let answer = redis.command(&["PUBSUB", "NUMSUB", "test:released"]);
        answer.lines().last().unwrap().to_owned()
    };
    redis.wait_until("both listen", |redis| listeners(redis) == "2");
    assert_eq!(redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), "2");
    let woken = tokio::time::timeout(PATIENCE, spare.wait_for_release()).await;
    woken.expect("a release may have been missed meanwhile");
    redis.wait_until("both listen again", |redis| listeners(redis) == "2");
    while tokio::time::timeout(QUIET, spare.wait_for_release()).await.is_ok() {}
    owner.release(&held).await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, spare.wait_for_release()).await;
    heard.expect("it listens again");
}
