//! A whole tick on one thread, without network and store: inbox, record, step, scene, interest, snapshots; and the same
//! up to the scene.

use std::cell::{LazyCell, RefCell};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use everhold_benches::run::BenchRun;
use everhold_benches::{Crowding, PLAYERS, Turning, WORLDS, brief};

fn full_tick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("full_tick");
    for (players, crowding) in WORLDS {
        for turning in [Turning::Seldom, Turning::Always] {
            group.throughput(Throughput::Elements(players as u64));
            // Made only if the bench is asked for.
            let run = LazyCell::new(|| RefCell::new(BenchRun::settled(players, crowding, turning)));
            group.bench_function(
                format!("{players}_{}{}", crowding.name(), turning.suffix()),
                |bencher| {
                    let entries = || run.borrow_mut().entries();
                    bencher.iter_batched(
                        entries,
                        |entries| run.borrow_mut().tick(entries),
                        BatchSize::PerIteration,
                    );
                },
            );
        }
    }
}

/// Runs all of a tick but interest and snapshots.
fn untold_tick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("untold_tick");
    for players in PLAYERS {
        group.throughput(Throughput::Elements(players as u64));
        for turning in [Turning::Seldom, Turning::Always] {
            // Made only if the bench is asked for.
            let run = LazyCell::new(|| RefCell::new(BenchRun::settled(players, Crowding::Spread, turning)));
            group.bench_function(format!("{players}_spread{}", turning.suffix()), |bencher| {
                let entries = || run.borrow_mut().entries();
                bencher.iter_batched(
                    entries,
                    |entries| run.borrow_mut().untold_tick(entries),
                    BatchSize::PerIteration,
                );
            });
        }
    }
}

criterion_group! { name = benches; config = brief(); targets = full_tick, untold_tick }
criterion_main!(benches);
