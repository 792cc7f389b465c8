//! A whole tick on one thread, without network and store: record, step, scene, interest, snapshots. And its stages one by one.

use std::cell::RefCell;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use everhold_benches::run::Run;
use everhold_benches::{Crowding, PLAYERS, WORLDS, brief};

fn full_tick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("full_tick");
    for (players, crowding) in WORLDS {
        group.throughput(Throughput::Elements(players as u64));
        let run = RefCell::new(Run::new(players, crowding));
        group.bench_function(format!("{players}_{}", crowding.name()), |bencher| {
            let inputs = || run.borrow_mut().inputs();
            bencher.iter_batched(inputs, |inputs| run.borrow_mut().tick(inputs), BatchSize::PerIteration);
        });
    }
}

fn stages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick_stage");
    for players in PLAYERS {
        group.throughput(Throughput::Elements(players as u64));
        let run = RefCell::new(Run::new(players, Crowding::Spread));
        let inputs = || run.borrow_mut().inputs();
        group.bench_function(format!("record_{players}"), |bencher| {
            bencher.iter_batched(
                inputs,
                |inputs| run.borrow_mut().freeze(inputs),
                BatchSize::PerIteration,
            );
        });
        let run = RefCell::new(Run::new(players, Crowding::Spread));
        let inputs = || run.borrow_mut().inputs();
        group.bench_function(format!("step_{players}"), |bencher| {
            let step = |inputs: Vec<_>| (run.borrow_mut().zone.step(&inputs), inputs);
            bencher.iter_batched(inputs, step, BatchSize::PerIteration);
        });
        group.bench_function(format!("scene_{players}"), |bencher| {
            let run = &mut *run.borrow_mut();
            bencher.iter(|| run.zone.scene(&mut run.scene));
        });
        group.bench_function(format!("digest_{players}"), |bencher| {
            let run = &mut *run.borrow_mut();
            bencher.iter(|| run.zone.digest());
        });
    }
}

criterion_group! { name = benches; config = brief(); targets = full_tick, stages }
criterion_main!(benches);
