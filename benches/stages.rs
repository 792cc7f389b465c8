//! The stages of a tick before anybody is told anything, one by one: what came in, the record, the step, the scene, the
//! digest.

use std::cell::RefCell;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use everhold_benches::run::BenchRun;
use everhold_benches::{Crowding, PLAYERS, Turning, brief};
use everhold_core::durability::record::Record;

/// Turns entries of connections into inputs.
fn inbox(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inbox");
    for players in PLAYERS {
        group.throughput(Throughput::Elements(players as u64));
        let run = RefCell::new(BenchRun::new(players, Crowding::Spread, Turning::Always));
        group.bench_function(format!("{players}"), |bencher| {
            let entries = || run.borrow_mut().entries();
            bencher.iter_batched(
                entries,
                |entries| run.borrow_mut().drain(entries),
                BatchSize::PerIteration,
            );
        });
    }
}

/// Turns inputs into a record with its hash, and back.
fn record(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    for players in PLAYERS {
        group.throughput(Throughput::Elements(players as u64));
        let run = RefCell::new(BenchRun::new(players, Crowding::Spread, Turning::Always));
        let inputs = || run.borrow_mut().inputs();
        group.bench_function(format!("encode_{players}"), |bencher| {
            let freeze = |inputs| run.borrow_mut().freeze(inputs);
            bencher.iter_batched(inputs, freeze, BatchSize::PerIteration);
        });
        let taken = inputs();
        let (stored, _) = run.borrow_mut().freeze(taken);
        group.bench_function(format!("decode_{players}"), |bencher| {
            bencher.iter(|| Record::decode(&stored));
        });
    }
}

fn step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    for players in PLAYERS {
        for crowding in [Crowding::Spread, Crowding::Stacked] {
            group.throughput(Throughput::Elements(players as u64));
            let run = RefCell::new(BenchRun::new(players, crowding, Turning::Always));
            let inputs = || run.borrow_mut().inputs();
            group.bench_function(format!("{players}_{}", crowding.name()), |bencher| {
                let step = |inputs: Vec<_>| (run.borrow_mut().zone().step(&inputs), inputs);
                bencher.iter_batched(inputs, step, BatchSize::PerIteration);
            });
        }
    }
}

/// Reads the World between two ticks.
fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for players in PLAYERS {
        group.throughput(Throughput::Elements(players as u64));
        let mut run = BenchRun::new(players, Crowding::Spread, Turning::Always);
        group.bench_function(format!("scene_{players}"), |bencher| {
            bencher.iter(|| run.scene());
        });
        group.bench_function(format!("digest_{players}"), |bencher| {
            bencher.iter(|| run.zone().digest())
        });
    }
}

criterion_group! { name = benches; config = brief(); targets = inbox, record, step, read }
criterion_main!(benches);
