//! Interest and replication: from a scene to every player's datagram.

use std::cell::{LazyCell, RefCell};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use everhold_benches::{Crowding, SETTLING_TICKS, Turning, WORLDS, Walkers, brief, scene};
use everhold_core::replication::{Datagrams, Replicator, ViewConfig};
use everhold_core::zone::Scene;
use everhold_protocol::{Epoch, Tick, TickHeader};

fn snapshots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshots");
    for (players, crowding) in WORLDS {
        for turning in [Turning::Seldom, Turning::Always] {
            group.throughput(Throughput::Elements(players as u64));
            // Made only if the bench is asked for.
            let world = LazyCell::new(|| RefCell::new(World::settled(players, crowding, turning)));
            let id = BenchmarkId::from_parameter(format!("{players}_{}{}", crowding.name(), turning.suffix()));
            group.bench_function(id, |bencher| {
                let next = || world.borrow_mut().next();
                bencher.iter_batched(next, |scene| world.borrow_mut().show(scene), BatchSize::PerIteration);
            });
        }
    }
}

/// A scene in which all players walk, and its replicator.
struct World {
    scene: Scene,
    walkers: Walkers,
    replicator: Replicator,
    tick: Tick,
}

impl World {
    fn settled(players: usize, crowding: Crowding, turning: Turning) -> Self {
        let mut world = Self {
            scene: scene(players, crowding),
            walkers: Walkers::new(players, turning),
            replicator: Replicator::new(ViewConfig::default()),
            tick: Tick(0),
        };
        for _ in 0..SETTLING_TICKS {
            let scene = world.next();
            world.show(scene);
        }
        world
    }

    fn next(&mut self) -> Scene {
        self.walkers.walk(&mut self.scene);
        self.tick += 1;
        self.scene.clone()
    }

    /// Makes the scene's datagrams. Returns both, so that neither is dropped while the clock runs.
    fn show(&mut self, scene: Scene) -> (Scene, Datagrams) {
        let datagrams = self
            .replicator
            .snapshots(&scene, TickHeader::stored(Epoch(1), self.tick));
        (scene, datagrams)
    }
}

criterion_group! { name = benches; config = brief(); targets = snapshots }
criterion_main!(benches);
