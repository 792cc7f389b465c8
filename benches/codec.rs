//! The hand-packed bytes: snapshots and input frames.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use everhold_benches::{Crowding, brief, scene};
use everhold_protocol::{
    EntityUpdate, Epoch, Heading, InputFrame, Intent, SeqIntent, Snapshot, SnapshotHeader, Tick, Velocity,
};

fn snapshot(criterion: &mut Criterion) {
    let walks = |view| EntityUpdate::Seen(view, Velocity { dx: 25, dy: 0 });
    let updates: Vec<_> = scene(50, Crowding::Spread).entities.into_iter().map(walks).collect();
    let header = SnapshotHeader {
        epoch: Epoch(1),
        tick: Tick(1_000),
        unconfirmed_ticks: 0,
        dilation: 255,
        last_input_seq: 900,
        event_seq: 17,
        x: 1,
        y: 2,
        hp: 100,
        value_digest: 3,
    };
    let snapshot = Snapshot {
        header,
        id_range: 1,
        updates,
    };
    let mut bytes = Vec::new();
    let mut group = criterion.benchmark_group("codec/snapshot_of_50");
    group.throughput(Throughput::Elements(50));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            black_box(&snapshot).encode(&mut bytes);
        });
    });
    group.bench_function("decode", |bencher| bencher.iter(|| Snapshot::decode(black_box(&bytes))));
}

fn input(criterion: &mut Criterion) {
    let intent = |seq: u64| SeqIntent {
        seq,
        intent: Intent::Move(Heading::STILL),
    };
    let frame = InputFrame {
        epoch: Epoch(1),
        snapshot_tick: Tick(1_000),
        event_ack: 17,
        intents: (901..=904).map(intent).collect(),
    };
    let mut bytes = Vec::new();
    let mut group = criterion.benchmark_group("codec/input_of_4");
    group.throughput(Throughput::Elements(4));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            black_box(&frame).encode(&mut bytes);
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| InputFrame::decode(black_box(&bytes)))
    });
}

criterion_group! { name = benches; config = brief(); targets = snapshot, input }
criterion_main!(benches);
