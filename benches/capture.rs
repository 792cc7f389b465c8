//! The cost of a checkpoint: the cut, which the tick thread makes, and its bytes, which another thread makes. A base,
//! and the delta of a second in which everybody moved.

use std::cell::RefCell;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use everhold_benches::run::BenchRun;
use everhold_benches::{Crowding, PLAYERS, Turning, brief};
use everhold_core::zone::Cut;

fn capture(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("capture");
    for players in PLAYERS {
        group.throughput(Throughput::Elements(players as u64));
        let run = RefCell::new(BenchRun::new(players, Crowding::Spread, Turning::Always));
        run.borrow_mut().zone().freeze(Cut::Base);
        let moved = || run.borrow_mut().second_since_a_cut();
        for (name, cut) in [("base", Cut::Base), ("delta", Cut::Delta)] {
            let freeze = || run.borrow_mut().zone().freeze(cut);
            group.bench_function(format!("freeze_{name}_{players}"), |bencher| {
                bencher.iter_batched(moved, |()| freeze(), BatchSize::PerIteration);
            });
            let moved_and_frozen = || {
                moved();
                freeze()
            };
            group.bench_function(format!("encode_{name}_{players}"), |bencher| {
                bencher.iter_batched(moved_and_frozen, |frozen| frozen.encode(), BatchSize::PerIteration);
            });
        }
    }
}

criterion_group! { name = benches; config = brief().sample_size(10); targets = capture }
criterion_main!(benches);
