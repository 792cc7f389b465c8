//! Refusals at the start, and their words. No password is ever among them.

use everhold_core::durability::store::{AppendAnswer, ZoneStore};
use everhold_core::ownership::{Authority, KeyFingerprints, Membership};
use everhold_protocol::Tick;
use everhold_store::conformance::{SuiteHistory, tenure};
use everhold_store::redis::{RedisAuthority, RedisError, RedisStore, RedisTarget};
use everhold_testing::redis::{Persistence, RedisServer};

use crate::{ANSWER_MAX, NONCE, authority, claimed, target, zone};

const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/config/redis.conf");

#[tokio::test]
async fn redis_that_may_evict_is_refused_with_the_command_that_mends_it() {
    let redis = RedisServer::start(Persistence::None);
    assert_eq!(
        redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]),
        "OK"
    );
    let Err(error) = RedisStore::open(&target(&redis.url())).await else {
        panic!("it opened")
    };
    assert!(matches!(error, RedisError::Evicts { .. }), "{error}");
    let message = error.to_string();
    let mend = message
        .split('`')
        .find_map(|part| part.strip_prefix("redis-cli "))
        .unwrap();
    let words: Vec<&str> = mend.split(' ').collect();
    assert_eq!(redis.command(&words), "OK", "{mend}");
    RedisStore::open(&target(&redis.url())).await.unwrap();
}

#[tokio::test]
async fn url_that_cannot_be_used_is_refused_without_its_password() {
    for url in [
        "postgres://shard:s3cret@127.0.0.1/",
        "redis://shard:s3cret@127.0.0.1:port",
        "redis://shard:s3cret@127.0.0.1:99999",
        "shard:s3cret@127.0.0.1",
        "redis-sentinel://shard:s3cret@127.0.0.1:26379",
        "s3cret",
        "",
    ] {
        let Err(error) = RedisTarget::new(url, "test") else {
            panic!("{url} was taken")
        };
        let message = format!("{error} {error:?}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}

#[tokio::test]
async fn url_that_would_be_misread_is_refused_with_what_is_meant() {
    let says = |url: &str, words: &str| {
        let Err(error) = RedisTarget::new(url, "test") else {
            panic!("{url} was taken")
        };
        let message = error.to_string();
        assert!(message.contains(words), "{url}: {message}");
        assert!(!message.contains("s3cret"), "{message}");
    };
    says("redis://127.0.0.1:1?db=2", "redis://HOST:PORT/2");
    says("redis://127.0.0.1:1?node=127.0.0.1:2", "has no keys, not `node` either");
    says("redis-cluster://127.0.0.1:1?nodes=127.0.0.1:2", "did you mean `node`?");
    says("redis-cluster://127.0.0.1:1/2", "no database but 0");
    says("redis-cluster://127.0.0.1:1?node=127.0.0.1:port", "a port is no number");
    let sentinel = "redis-sentinel://127.0.0.1:1?sentinelServiceName=world";
    says(
        &format!("{sentinel}&sentinelpasword=s3cret"),
        "did you mean `sentinelPassword`?",
    );
    says(
        &format!("{sentinel}&serviceName=world"),
        "did you mean `sentinelServiceName`?",
    );
    says("redis://:s3cret/odd@127.0.0.1:1", "/ is %2F");
    says("redis://:s3cret?odd@127.0.0.1:1", "? is %3F");
    says("redis://:s3cret#odd@127.0.0.1:1", "# is %23");
    says("redis://:s3cret@odd@127.0.0.1:1", "@ is %40");
    says("redis://127.0.0.1:1/two", "a database's number");
    says("postgres://127.0.0.1:1", "redis-sentinel://");
    for url in [
        "redis://127.0.0.1:1",
        "redis://127.0.0.1:1/2",
        "redis://shard:s3cret%2Fodd@127.0.0.1:1/",
        "redis-cluster://127.0.0.1:1?node=127.0.0.1:2&node=127.0.0.1:3",
        "rediss-sentinel://127.0.0.1:1/3?sentinelServiceName=world&sentinelUsername=a&sentinelPassword=b&\
         node=127.0.0.1:2",
    ] {
        assert!(RedisTarget::new(url, "test").is_ok(), "{url}");
    }
}

#[tokio::test]
async fn password_may_be_handed_in_beside_the_url_and_only_once() {
    let redis = RedisServer::start(Persistence::None);
    assert_eq!(redis.command(&["CONFIG", "SET", "requirepass", "s3cret/odd"]), "OK");
    let beside = target(&redis.url()).with_password("s3cret/odd".to_owned()).unwrap();
    RedisStore::open(&beside).await.unwrap();
    let encoded = redis.url().replace("redis://", "redis://:s3cret%2Fodd@");
    RedisStore::open(&target(&encoded)).await.unwrap();
    let Err(error) = target(&encoded).with_password("other".to_owned()) else {
        panic!("which one is it?")
    };
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn redis_that_refuses_the_password_is_an_error_at_once_and_without_it() {
    let redis = RedisServer::start(Persistence::None);
    assert_eq!(redis.command(&["CONFIG", "SET", "requirepass", "right"]), "OK");
    let url = redis.url().replace("redis://", "redis://:s3cret@");
    let Err(error) = RedisStore::open(&target(&url)).await else {
        panic!("it opened")
    };
    let message = format!("{error} {error:?}");
    assert!(
        matches!(error, RedisError::Connect(_)) && !message.contains("s3cret"),
        "{message}"
    );
    assert!(RedisAuthority::open(&target(&url), ANSWER_MAX).await.is_err());
}

#[tokio::test]
async fn redis_that_is_not_there_is_an_error_at_once() {
    let mut redis = RedisServer::start(Persistence::None);
    let url = redis.url();
    redis.kill();
    let Err(error) = RedisStore::open(&target(&url)).await else {
        panic!("it opened")
    };
    assert!(matches!(error, RedisError::Connect(_)), "{error}");
}

#[tokio::test]
async fn two_worlds_share_one_redis_and_see_nothing_of_each_other() {
    let redis = RedisServer::start(Persistence::None);
    let one = RedisStore::open(&target(&redis.url())).await.unwrap();
    let other = RedisTarget::new(&redis.url(), "other").unwrap();
    let two = RedisStore::open(&other).await.unwrap();
    one.fence(&tenure(&zone(), 1, 1)).await.unwrap();
    assert_eq!(two.summary(&zone()).await.unwrap(), None);
    claimed(&RedisAuthority::open(&target(&redis.url()), ANSWER_MAX).await.unwrap()).await;
    let leases = RedisAuthority::open(&other, ANSWER_MAX).await.unwrap().leases().await;
    assert!(leases.unwrap().views.is_empty());
}

#[tokio::test]
async fn entries_that_cannot_be_read_hide_no_other_shard() {
    let redis = RedisServer::start(Persistence::None);
    let authority = authority(&redis.url()).await;
    let keys: KeyFingerprints = "1;2;3".parse().unwrap();
    let (addr, ttl) = (([127, 0, 0, 1], 1).into(), ANSWER_MAX);
    authority.announce(NONCE, addr, &keys, ttl).await.unwrap();
    for (hash, field, text) in [
        ("shards", "7", "1 127.0.0.1:7"),
        ("shard_keys", "7", "1;2;3;4;5 2000 and what else a later build says"),
        ("shards", "8", "1 127.0.0.1:8"),
        ("shard_keys", "8", "no fingerprints"),
        ("shards", "9", "nowhere"),
        ("shards", "no nonce", "1 127.0.0.1:9"),
    ] {
        assert_eq!(redis.command(&["HSET", &format!("test:{hash}"), field, text]), "1");
    }
    let shards = authority.shards().await.unwrap();
    let seen: Vec<_> = shards.iter().map(|shard| (shard.nonce.0, shard.keys == keys)).collect();
    assert_eq!(seen, [(7, true), (8, false), (NONCE.0, true)]);
    assert_eq!(shards[0].ttl, std::time::Duration::from_secs(2));
    assert_eq!(shards[1].keys, KeyFingerprints::default(), "it counts as not said");
}

/// Returns the words that make the user that the profile recommends.
pub(crate) fn recommended_user() -> Vec<String> {
    let profile = std::fs::read_to_string(PROFILE).unwrap();
    let user = profile
        .lines()
        .find_map(|line| line.strip_prefix("# user shard "))
        .unwrap();
    let words = ["ACL", "SETUSER", "shard"].into_iter().chain(user.split(' '));
    words.map(str::to_owned).collect()
}

/// The profile that we recommend, and the user in it that may do no more than a shard does.
#[tokio::test]
async fn recommended_profile_and_its_user_are_enough_for_a_shard() {
    let redis = RedisServer::start_with(&[PROFILE]);
    let words = recommended_user();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(redis.command(&words), "OK");
    let url = redis.url().replace("redis://", "redis://shard:PASSWORD@");
    let target = RedisTarget::new(&url, "everhold").unwrap();
    let (store, authority) = (
        RedisStore::open(&target).await.unwrap(),
        RedisAuthority::open(&target, ANSWER_MAX).await.unwrap(),
    );
    let held = claimed(&authority).await;
    store.fence(&held).await.unwrap();
    let answer = store.append(&held, &SuiteHistory::new(1).records_to(Tick(1))).await;
    assert_eq!(answer.unwrap(), AppendAnswer::Ok);
    authority.release(&held).await.unwrap();
    let elsewhere = RedisTarget::new(&url, "other").unwrap();
    let elsewhere = RedisStore::open(&elsewhere).await.unwrap();
    assert!(elsewhere.fence(&held).await.is_err(), "these keys are not the user's");
}

/// A user that may not ask for the policy is warned, and goes on.
#[tokio::test]
async fn user_who_may_not_read_the_configuration_is_let_in() {
    let redis = RedisServer::start(Persistence::None);
    let words = [
        "ACL", "SETUSER", "shard", "on", ">secret", "~*", "&*", "+@all", "-config",
    ];
    assert_eq!(redis.command(&words), "OK");
    let url = redis.url().replace("redis://", "redis://shard:secret@");
    let store = RedisStore::open(&target(&url)).await.unwrap();
    store.fence(&tenure(&zone(), 1, 1)).await.unwrap();
}
