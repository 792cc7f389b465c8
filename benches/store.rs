//! The store's part of a tick's delay: one record appended, by every state store, on the same machine in the same run;
//! and one of each of many zones at once. Redis is a process of its own on loopback, with its append-only file; at
//! level `replica` another one confirms.

use std::num::NonZeroU32;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use everhold_benches::brief;
use everhold_core::durability::store::{AppendAnswer, RecordHash, StoredRecord, ZoneStore};
use everhold_core::ownership::Tenure;
use everhold_protocol::{Tick, ZoneName};
use everhold_store::conformance::tenure;
use everhold_store::redis::{RedisStore, RedisTarget};
use everhold_store::sqlite::SqliteStore;
use everhold_testing::redis::{Persistence, RedisServer};
use tokio::runtime::Runtime;

/// Bodies, bytes: a tick without inputs, one of a hundred players, and one of ten thousand.
const BODY_BYTES: [usize; 3] = [4, 1_000, 20_000];

/// Zones whose ticks fall together: one, as many as a shard has by default, and as many as a large world.
const ZONES: [u64; 3] = [1, 8, 100];

/// A zone that is held, and its journal's end.
struct Zone {
    held: Tenure,
    tick: Tick,
    body: Bytes,
}

impl Zone {
    async fn new(store: &impl ZoneStore, bytes: usize) -> Self {
        Self::named(store, &format!("bench-{bytes}"), bytes).await
    }

    async fn named(store: &impl ZoneStore, name: &str, bytes: usize) -> Self {
        let name: ZoneName = name.parse().expect("a zone's name");
        let held = tenure(&name, 1, 1);
        store.fence(&held).await.expect("a new zone");
        Self {
            held,
            tick: Tick(0),
            body: Bytes::from(vec![0x5a; bytes]),
        }
    }

    /// Returns the next record. A store compares hashes and never computes one, so the tick's number serves as one.
    fn next(&mut self) -> [StoredRecord; 1] {
        let hash = |tick: Tick| {
            let mut hash = RecordHash::GENESIS;
            hash.0[..8].copy_from_slice(&tick.0.to_le_bytes());
            hash
        };
        self.tick += 1;
        [StoredRecord {
            tick: self.tick,
            prev_hash: hash(self.tick - 1),
            hash: hash(self.tick),
            body: self.body.clone(),
        }]
    }
}

fn append(criterion: &mut Criterion, runtime: &Runtime, store: &impl ZoneStore, name: &str) {
    let mut group = criterion.benchmark_group("append");
    for bytes in BODY_BYTES {
        let mut zone = runtime.block_on(Zone::new(store, bytes));
        let held = zone.held.clone();
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{name}_{bytes}"), |bencher| {
            bencher.iter_batched(
                || zone.next(),
                |record| {
                    let answer = runtime.block_on(store.append(&held, &record));
                    assert_eq!(answer.expect("appended"), AppendAnswer::Ok);
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// Appends a record of each of many zones at once, as when their ticks fall together, and waits for all.
fn append_at_once(criterion: &mut Criterion, runtime: &Runtime, store: &RedisStore, name: &str) {
    let mut group = criterion.benchmark_group("append_at_once");
    for count in ZONES {
        let zone = async |number| Zone::named(store, &format!("at-once-{count}-{number}"), 1_000).await;
        let mut zones: Vec<Zone> = (0..count).map(|number| runtime.block_on(zone(number))).collect();
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{name}_{count}"), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let mut appends = tokio::task::JoinSet::new();
                    for zone in &mut zones {
                        let (store, held, record) = (store.clone(), zone.held.clone(), zone.next());
                        appends.spawn(async move { store.append(&held, &record).await });
                    }
                    while let Some(answer) = appends.join_next().await {
                        let answer = answer.expect("no append panics");
                        assert_eq!(answer.expect("appended"), AppendAnswer::Ok);
                    }
                });
            });
        });
    }
    group.finish();
}

/// Starts a server that follows another one, and waits until it does.
fn replica(primary: &RedisServer) -> RedisServer {
    let port = primary.addr().port().to_string();
    let replica = RedisServer::start_with(&["--appendonly", "yes", "--replicaof", "127.0.0.1", &port]);
    let follows = |primary: &RedisServer| primary.command(&["INFO", "replication"]).contains("state=online");
    primary.wait_until("the replica follows", follows);
    replica
}

fn store(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sqlite = SqliteStore::open(directory.path()).expect("a store");
    append(criterion, &runtime, &sqlite, "sqlite");
    let redis = RedisServer::start(Persistence::Aof);
    let target = RedisTarget::new(&redis.url(), "bench").expect("a URL");
    let store = runtime.block_on(RedisStore::open(&target)).expect("a store");
    append(criterion, &runtime, &store, "redis");
    append_at_once(criterion, &runtime, &store, "redis");
    let guarded = ["CONFIG", "SET", "min-replicas-to-write", "1"];
    let _replica = replica(&redis);
    assert_eq!(redis.command(&guarded), "OK");
    let target = RedisTarget::new(&redis.url(), "bench-replica").expect("a URL");
    let store = RedisStore::open_confirmed(&target, NonZeroU32::MIN);
    let store = runtime.block_on(store).expect("a store");
    append(criterion, &runtime, &store, "redis_replica");
    append_at_once(criterion, &runtime, &store, "redis_replica");
}

criterion_group! { name = benches; config = brief(); targets = store }
criterion_main!(benches);
