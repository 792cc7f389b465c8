//! Whole clusters: without faults nothing is broken and everybody plays, and a seed tells the same history again.

use std::time::Instant;

use everhold_sim::cluster::{Options, Outcome, SimCluster};
use everhold_sim::fault::Plan;

fn run(seed: u64, plan: Option<Plan>) -> Outcome {
    SimCluster::run(&Options {
        seed,
        plan,
        origin: Instant::now(),
        tells_story: false,
    })
}

#[test]
fn calm_clusters_break_nothing() {
    for seed in 1..=20 {
        let outcome = run(seed, Some(Plan::default()));
        assert_eq!(outcome.breaches, [], "seed {seed}");
    }
}

#[test]
fn seed_has_one_history() {
    for seed in [3, 4, 5, 6] {
        let (once, again) = (run(seed, None), run(seed, None));
        assert_eq!((once.history, once.paths), (again.history, again.paths), "seed {seed}");
    }
    assert_ne!(run(3, None).history, run(4, None).history);
}
