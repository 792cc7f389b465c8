//! A Redis that begins to evict keys while shards live, or that takes over and does: an alarm, said once.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};

use everhold_testing::redis::{Persistence, RedisServer, SentinelGroup};

use crate::{PATIENCE, store};

/// The log of all tests of this process.
static LOG: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(|| {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = Writer(Arc::clone(&log));
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    log
});

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lines that say of this server what `what` says.
fn lines(redis: &RedisServer, what: &str) -> usize {
    let server = format!("server=\"{}\"", redis.addr());
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    let says = |line: &&str| line.contains(&server) && line.contains(what);
    log.lines().filter(says).count()
}

async fn until_said(redis: &RedisServer, what: &str) {
    let said = async {
        while lines(redis, what) == 0 {
            tokio::time::sleep(crate::AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, said).await.expect(what);
}

fn set_policy(redis: &RedisServer, policy: &str) {
    let words = ["CONFIG", "SET", "maxmemory-policy", policy];
    assert_eq!(redis.command(&words), "OK");
}

/// Returns how often a client has asked for a setting.
fn times_asked(redis: &RedisServer) -> u32 {
    let stats = redis.command(&["INFO", "commandstats"]);
    let calls = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_config|get:calls="));
    calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn policy_is_asked_for_again_with_every_new_connection_and_a_wrong_one_is_said_once() {
    LazyLock::force(&LOG);
    let redis = RedisServer::start(Persistence::None);
    let _store = store(&redis.url()).await;
    let ask_again = |redis: &RedisServer| {
        let before = times_asked(redis);
        let _count = redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        redis.wait_until("it is asked again", |redis| times_asked(redis) > before);
    };
    set_policy(&redis, "allkeys-lru");
    ask_again(&redis);
    until_said(&redis, "may evict").await;
    ask_again(&redis);
    ask_again(&redis);
    set_policy(&redis, "noeviction");
    ask_again(&redis);
    until_said(&redis, "keeps all keys again").await;
    assert_eq!(lines(&redis, "may evict"), 1, "a state is said once");
}

#[tokio::test]
async fn promoted_replica_that_evicts_is_an_alarm() {
    LazyLock::force(&LOG);
    let redis = SentinelGroup::start();
    let _store = store(&redis.url()).await;
    let first = redis.primary();
    for other in (0..3).filter(|other| *other != first) {
        set_policy(redis.server(other), "volatile-ttl");
    }
    redis.failover();
    let promoted = redis.server(redis.primary());
    until_said(promoted, "may evict").await;
}
