//! The store's part of a tick's delay: one record appended, by every state store, on the same machine in the same run.
//! Redis is a process of its own on loopback, with its append-only file.

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

/// A zone that is held, and its journal's end.
struct Zone {
    held: Tenure,
    tick: Tick,
    body: Bytes,
}

impl Zone {
    async fn new(store: &impl ZoneStore, bytes: usize) -> Self {
        let name: ZoneName = format!("bench-{bytes}").parse().expect("a zone's name");
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

fn store(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sqlite = SqliteStore::open(directory.path()).expect("a store");
    append(criterion, &runtime, &sqlite, "sqlite");
    let redis = RedisServer::start(Persistence::Aof);
    let target = RedisTarget::new(&redis.url(), "bench").expect("a URL");
    let store = runtime.block_on(RedisStore::open(&target)).expect("a store");
    append(criterion, &runtime, &store, "redis");
}

criterion_group! { name = benches; config = brief(); targets = store }
criterion_main!(benches);
