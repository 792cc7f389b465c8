//! What a checkpoint costs the tick thread: a base, and the delta of a second in which everybody moved.

use std::cell::RefCell;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use everhold::zone::Cut;
use everhold_benches::run::Run;
use everhold_benches::{Crowding, PLAYERS, brief};

fn capture(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("capture");
    for players in PLAYERS {
        group.throughput(Throughput::Elements(players as u64));
        let run = RefCell::new(Run::new(players, Crowding::Spread));
        let moved = || {
            let run = &mut *run.borrow_mut();
            run.zone.capture_confirmed();
            for _ in 0..20 {
                let inputs = run.inputs();
                run.zone.step(&inputs);
            }
        };
        for (name, cut) in [("base", Cut::Base), ("delta", Cut::Delta)] {
            group.bench_function(format!("{name}_{players}"), |bencher| {
                bencher.iter_batched(moved, |()| run.borrow_mut().zone.capture(cut), BatchSize::PerIteration);
            });
        }
    }
}

criterion_group! { name = benches; config = brief().sample_size(10); targets = capture }
criterion_main!(benches);
