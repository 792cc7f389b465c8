//! Interest alone: sorting the scene, and every viewer's search.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use everhold_benches::{RADIUS_CM, Turning, WORLDS, Walkers, brief, scene};
use everhold_core::interest::{Approach, Interest, Reach, Viewers, Viewpoint, VisibleEntities};
use everhold_core::zone::Scene;
use everhold_protocol::Tick;

/// Entities shown to a viewer, about as many as a datagram has room for.
const BUDGET: usize = 50;

fn interest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("interest");
    for (players, crowding) in WORLDS {
        group.throughput(Throughput::Elements(players as u64));
        let mut world = (
            scene(players, crowding),
            Walkers::new(players, Turning::Always),
            Tick(0),
        );
        let mut interest = Interest::new(Reach {
            radius_cm: RADIUS_CM,
            budget: BUDGET,
        });
        let mut viewers = Viewers::new(RADIUS_CM);
        let mut visible = VisibleEntities::default();
        group.bench_function(
            BenchmarkId::from_parameter(format!("{players}_{}", crowding.name())),
            |bencher| {
                let next = || {
                    world.1.walk(&mut world.0);
                    world.2 += 1;
                    (world.0.clone(), world.2)
                };
                let look = |(scene, tick): (Scene, Tick)| {
                    let points: Vec<_> = scene.sessions.iter().map(|s| Viewpoint { x: s.x, y: s.y }).collect();
                    interest.rebuild(&points, BUDGET);
                    viewers.regroup(&points);
                    let mut seen = 0;
                    for group in viewers.groups() {
                        let approach = interest.approach(&group);
                        for &member in &viewers.order()[group.seats.clone()] {
                            let from = points[member as usize];
                            match approach {
                                Approach::Nobody => continue,
                                Approach::Few => interest.look_at_few(from, &mut visible),
                                Approach::Many | Approach::Crowd => interest.look(from, tick, &mut visible),
                            }
                            seen += visible.places().len();
                        }
                    }
                    (scene, seen)
                };
                bencher.iter_batched(next, look, BatchSize::PerIteration);
            },
        );
    }
}

criterion_group! { name = benches; config = brief(); targets = interest }
criterion_main!(benches);
