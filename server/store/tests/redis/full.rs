//! A Redis at its memory limit: what frees memory is done there, and what was given up frees it.

use bytes::Bytes;
use everhold_core::durability::store::{AppendAnswer, CheckpointHead, CheckpointKind, Position, ZoneStore};
use everhold_core::limits::PART_BYTES_MAX;
use everhold_core::ownership::Tenure;
use everhold_protocol::Tick;
use everhold_store::conformance::{SuiteHistory, position, tenure};
use everhold_store::redis::RedisStore;
use everhold_testing::redis::{Persistence, RedisServer};

use crate::{Unknown, store, zone};

/// A zone whose journal has 20 records, on a Redis without a limit yet.
async fn zone_of_twenty(redis: &RedisServer) -> (RedisStore, Tenure, SuiteHistory, Vec<Position>) {
    let store = store(&redis.url()).await;
    let held = tenure(&zone(), 1, 100);
    store.fence(&held).await.unwrap();
    let mut history = SuiteHistory::new(1);
    let records = history.records_to(Tick(20));
    store.append(&held, &records).await.unwrap();
    let positions = records.iter().map(|record| position(held.epoch(), record)).collect();
    (store, held, history, positions)
}

fn part() -> Bytes {
    Bytes::from(vec![7; PART_BYTES_MAX])
}

/// Writes parts and returns the head that they wait for.
async fn parts(store: &RedisStore, held: &Tenure, position: Position, parts: u32) -> CheckpointHead {
    for index in 0..parts {
        store.put_part(held, position, index, part()).await.unwrap();
    }
    CheckpointHead {
        position,
        kind: CheckpointKind::Base,
        parts,
        bytes: u64::from(parts) * PART_BYTES_MAX as u64,
    }
}

fn used(redis: &RedisServer) -> u64 {
    let info = redis.command(&["INFO", "memory"]);
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    used.unwrap().trim().parse().unwrap()
}

/// Sets the limit to so many parts more than are in use, or to fewer.
fn limit_to(redis: &RedisServer, parts: i64) {
    let more = parts * PART_BYTES_MAX.cast_signed() as i64;
    let limit = used(redis).saturating_add_signed(more).to_string();
    assert_eq!(redis.command(&["CONFIG", "SET", "maxmemory", &limit]), "OK");
}

#[tokio::test]
async fn full_redis_takes_appends_again_when_a_base_that_does_not_fit_is_given_up() {
    let redis = RedisServer::start(Persistence::None);
    let (store, held, mut history, positions) = zone_of_twenty(&redis).await;
    limit_to(&redis, 40);
    let mut written = 0;
    let refused = loop {
        match store.put_part(&held, positions[9], written, part()).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1_000, "it takes everything");
    };
    assert!(refused.is_unknown() && refused.to_string().contains("OOM"), "{refused}");
    // What was refused was in memory, too, and left a little room.
    limit_to(&redis, -2);
    let next = history.records_to(Tick(21));
    assert!(store.append(&held, &next).await.unwrap_err().is_unknown());
    store.drop_parts(&held, positions[9], written + 1).await.unwrap();
    assert_eq!(store.append(&held, &next).await.unwrap(), AppendAnswer::Ok);
}

#[tokio::test]
async fn full_redis_moves_the_head_to_a_base_whose_parts_are_there_and_frees_what_it_replaces() {
    let redis = RedisServer::start(Persistence::None);
    let (store, held, mut history, positions) = zone_of_twenty(&redis).await;
    for tick in [5, 10] {
        let head = parts(&store, &held, positions[tick - 1], 30).await;
        store.move_head(&held, head).await.unwrap();
    }
    let head = parts(&store, &held, positions[14], 2).await;
    limit_to(&redis, -2);
    let next = history.records_to(Tick(21));
    assert!(store.append(&held, &next).await.unwrap_err().is_unknown(), "it is full");
    let before = used(&redis);
    store.move_head(&held, head).await.unwrap();
    assert!(used(&redis) + 20 * (PART_BYTES_MAX as u64) < before);
    assert_eq!(store.append(&held, &next).await.unwrap(), AppendAnswer::Ok);
    let data = store.read_zone(&held.zone).await.unwrap();
    assert_eq!((data.chain.len(), data.records.len()), (1, 6));
}
