//! The computation of an adoption: decode and restore a base, then decode and step five seconds of journal.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use everhold_benches::run::BenchRun;
use everhold_benches::{Crowding, Turning, brief};
use everhold_core::durability::record::Record;
use everhold_core::zone::{Cut, Zone};

/// Players of the zones. Larger zones take as much longer as they are larger.
const PLAYERS: [usize; 3] = [1_000, 5_000, 10_000];

/// Ticks replayed: five seconds at 20 Hz.
const TICKS: usize = 100;

fn replay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay");
    for players in PLAYERS {
        let mut run = BenchRun::new(players, Crowding::Spread, Turning::Always);
        let base = run.zone().capture(Cut::Base);
        let mut journal = Vec::new();
        for _ in 0..TICKS {
            let inputs = run.inputs();
            let (stored, inputs) = run.freeze(inputs);
            run.zone().step(&inputs);
            journal.push(stored);
        }
        let restore = || Zone::restore(run.config.clone(), &[&base.body]).expect("a base restores");
        group.throughput(Throughput::Elements(players as u64));
        group.bench_function(format!("restore_{players}"), |bencher| {
            bencher.iter_batched(|| (), |()| restore(), BatchSize::PerIteration);
        });
        group.throughput(Throughput::Elements((players * TICKS) as u64));
        group.bench_function(format!("{TICKS}_ticks_{players}"), |bencher| {
            let step = |mut zone: Zone| {
                for stored in &journal {
                    let record = Record::decode(stored).expect("the journal reads back");
                    zone.step(&record.inputs);
                }
                zone
            };
            bencher.iter_batched(restore, step, BatchSize::PerIteration);
        });
        let mut replayed = restore();
        for stored in &journal {
            replayed.step(&Record::decode(stored).expect("the journal reads back").inputs);
        }
        assert_eq!(
            replayed.digest(),
            run.zone().digest(),
            "a replay ends where the zone is"
        );
    }
}

criterion_group! { name = benches; config = brief().sample_size(10); targets = replay }
criterion_main!(benches);
