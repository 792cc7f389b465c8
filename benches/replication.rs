//! Interest and replication: from a scene to every player's datagram.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use everhold::replication::{Replicator, ViewConfig};
use everhold_benches::{Turning, WORLDS, Walkers, brief, scene};

fn snapshots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshots");
    for (players, crowding) in WORLDS {
        for turning in [Turning::Seldom, Turning::Always] {
            group.throughput(Throughput::Elements(players as u64));
            let mut world = (scene(players, crowding), Walkers::new(players, turning), 0);
            let mut replicator = Replicator::new(ViewConfig::default());
            let mut next = || {
                world.1.walk(&mut world.0);
                world.2 += 1;
                (world.0.clone(), world.2)
            };
            let mut told = |(scene, tick)| {
                let datagrams = replicator.snapshots(&scene, 1, tick, 255);
                (scene, datagrams)
            };
            for _ in 0..40 {
                told(next());
            }
            let id = BenchmarkId::from_parameter(format!("{players}_{}{}", crowding.name(), turning.suffix()));
            group.bench_function(id, |bencher| {
                bencher.iter_batched(&mut next, &mut told, BatchSize::PerIteration);
            });
        }
    }
}

criterion_group! { name = benches; config = brief(); targets = snapshots }
criterion_main!(benches);
