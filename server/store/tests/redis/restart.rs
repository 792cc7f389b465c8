//! Redis itself stops, wakes up, is killed, and comes back with or without what it knew.

use everhold_core::durability::store::{AppendAnswer, StoreError, ZoneStore};
use everhold_core::ownership::{Authority, AuthorityError};
use everhold_protocol::Tick;
use everhold_store::conformance::{SuiteHistory, reinstate, renew, tenure};
use everhold_testing::redis::{Persistence, RedisServer};
use rustix::process::Signal;

use crate::{Unknown, authority, claimed, store, terms, until_answered, zone};

#[tokio::test]
async fn scripts_are_known_again_after_they_were_flushed() {
    let redis = RedisServer::start(Persistence::None);
    let store = store(&redis.url()).await;
    let (held, mut history) = (tenure(&zone(), 1, 1), SuiteHistory::new(1));
    store.fence(&held).await.unwrap();
    store.append(&held, &history.records_to(Tick(1))).await.unwrap();
    assert_eq!(redis.command(&["SCRIPT", "FLUSH"]), "OK");
    let answer = store.append(&held, &history.records_to(Tick(2))).await.unwrap();
    assert_eq!(answer, AppendAnswer::Ok, "at once, not only when it is sent again");
}

#[tokio::test]
async fn redis_that_restarts_with_its_data_goes_on_where_it_was() {
    let mut redis = RedisServer::start(Persistence::Aof);
    let (store, authority) = (store(&redis.url()).await, authority(&redis.url()).await);
    let held = claimed(&authority).await;
    let records = SuiteHistory::new(1).records_to(Tick(3));
    store.fence(&held).await.unwrap();
    store.append(&held, &records[..2]).await.unwrap();
    redis.kill();
    let answer = store.append(&held, &records[2..]).await;
    assert!(answer.is_err_and(|error| error.is_unknown()), "nobody is there");
    redis.start_again();
    let answer = until_answered(async || store.append(&held, &records).await).await;
    assert_eq!(answer.unwrap(), AppendAnswer::Ok);
    let data = until_answered(async || store.read_zone(&zone()).await).await;
    assert_eq!(data.unwrap().records, records);
    let renewed = until_answered(async || renew(&authority, &held, 3).await).await;
    renewed.unwrap();
}

#[tokio::test]
async fn redis_that_restarts_empty_has_lost_the_zone_and_says_so() {
    let mut redis = RedisServer::start(Persistence::None);
    let (store, authority) = (store(&redis.url()).await, authority(&redis.url()).await);
    let held = claimed(&authority).await;
    let records = SuiteHistory::new(1).records_to(Tick(3));
    store.fence(&held).await.unwrap();
    store.append(&held, &records[..2]).await.unwrap();
    redis.kill();
    redis.start_again();
    let answer = until_answered(async || store.append(&held, &records[2..]).await).await;
    assert!(matches!(answer, Err(StoreError::Lost)), "{answer:?}");
    let fenced = until_answered(async || store.fence(&tenure(&zone(), 2, 2)).await).await;
    assert!(matches!(fenced, Err(StoreError::Lost)), "{fenced:?}");
    let renewed = until_answered(async || renew(&authority, &held, 3).await).await;
    assert!(matches!(renewed, Err(AuthorityError::ZoneUnknown(_))), "{renewed:?}");
    reinstate(&authority, &held, terms(), 3).await.unwrap();
    assert_eq!(authority.leases().await.unwrap().views[0].epoch, held.epoch());
}

/// A request to a Redis that does not answer takes effect when it wakes up. Its late answers reach no later request.
#[tokio::test]
async fn write_whose_answer_was_given_up_is_found_when_it_is_sent_again() {
    let redis = RedisServer::start(Persistence::None);
    let (store, authority) = (store(&redis.url()).await, authority(&redis.url()).await);
    let held = claimed(&authority).await;
    let records = SuiteHistory::new(1).records_to(Tick(3));
    store.fence(&held).await.unwrap();
    // From here on the script is known: an EVALSHA is enough.
    store.append(&held, &records[..1]).await.unwrap();
    redis.signal(Signal::STOP);
    let (appended, renewed) = tokio::join!(store.append(&held, &records[1..2]), renew(&authority, &held, 1));
    assert!(appended.is_err_and(|error| error.is_unknown()), "nobody answers");
    assert!(renewed.is_err_and(|error| error.is_unknown()), "nobody answers");
    redis.signal(Signal::CONT);
    redis.wait_until("the write has taken effect", |redis| {
        redis.command(&["HLEN", "test:{meadow}:journal"]) == "2"
    });
    let answer = until_answered(async || store.append(&held, &records[1..2]).await).await;
    assert_eq!(answer.unwrap(), AppendAnswer::Duplicate);
    let answer = until_answered(async || store.append(&held, &records).await).await;
    assert_eq!(answer.unwrap(), AppendAnswer::Ok);
    let data = until_answered(async || store.read_zone(&zone()).await).await;
    assert_eq!(data.unwrap().records, records);
    let renewed = until_answered(async || renew(&authority, &held, 1).await).await;
    renewed.unwrap();
}
