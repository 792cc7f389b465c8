//! Interest and replication: from a scene to every player's datagram.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use everhold::replication::{Replicator, ViewConfig};
use everhold_benches::{Crowding, Random, WORLDS, brief, scene, walk};

fn snapshots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshots");
    for (players, crowding) in WORLDS {
        group.throughput(Throughput::Elements(players as u64));
        let mut world = (scene(players, crowding), Random::new(11), 0);
        let mut replicator = Replicator::new(ViewConfig::default());
        group.bench_function(
            BenchmarkId::from_parameter(format!("{players}_{}", crowding.name())),
            |bencher| {
                let next = || {
                    if crowding != Crowding::Stacked {
                        walk(&mut world.0, &mut world.1);
                    }
                    world.2 += 1;
                    (world.0.clone(), world.2)
                };
                let told = |(scene, tick)| {
                    let datagrams = replicator.snapshots(&scene, 1, tick, 255);
                    (scene, datagrams)
                };
                bencher.iter_batched(next, told, BatchSize::PerIteration);
            },
        );
    }
}

criterion_group! { name = benches; config = brief(); targets = snapshots }
criterion_main!(benches);
