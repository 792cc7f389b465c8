//! Whole clusters: without faults nothing is broken and everybody plays, and a seed tells the same history again.

use std::time::{Duration, Instant};

use everhold_sim::cluster::{Options, Outcome, POISON, SimCluster};
use everhold_sim::fault::{Fault, Plan};
use everhold_sim::links::Party;
use everhold_sim::services::Breach;

fn run(seed: u64, plan: Option<Plan>) -> Outcome {
    SimCluster::run(&Options {
        seed,
        plan,
        origin: Instant::now(),
        tells_story: false,
        mutant: None,
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
fn poison_on_every_shard_costs_pauses_and_no_zone() {
    everhold_core::game::chat_fault::set(format!("panic-on-chat={POISON}").parse().unwrap());
    let poisoned = |time: u64| (Duration::from_millis(4_500 + 1_500 * time), Fault::Poison(0));
    let plan = Plan((0..5).map(poisoned).collect());
    let mut failures = 0;
    for seed in 1..=10 {
        let outcome = run(seed, Some(plan.clone()));
        failures += outcome.paths.get("a rule that failed").copied().unwrap_or_default();
        let gone = |breach: &&Breach| ["every zone has an owner", "every player plays"].contains(&breach.invariant);
        assert_eq!(outcome.breaches.iter().find(gone), None, "seed {seed}");
    }
    assert!(failures >= 40, "each shard of each cluster fails: {failures}");
}

#[test]
fn seed_has_one_history() {
    for seed in [3, 4, 5, 6] {
        let (once, again) = (run(seed, None), run(seed, None));
        assert_eq!((once.history, once.paths), (again.history, again.paths), "seed {seed}");
    }
    assert_ne!(run(3, None).history, run(4, None).history);
}

#[test]
fn ticks_and_gate_wait_for_no_archive() {
    let away = Plan(vec![(
        Duration::ZERO,
        Fault::Down(Party::Archive, Duration::from_secs(3_600)),
    )]);
    let (mut compared, mut held_there, mut held_gone) = (0, 0, 0);
    for seed in 1..=30 {
        let (there, gone) = (run(seed, Some(Plan::default())), run(seed, Some(away.clone())));
        assert_eq!(gone.breaches, [], "seed {seed}");
        if !there.paths.contains_key("a commit to the archive") {
            continue;
        }
        compared += 1;
        let held = |outcome: &Outcome| outcome.paths.get("a tick that was held").copied().unwrap_or_default();
        (held_there, held_gone) = (held_there + held(&there), held_gone + held(&gone));
        for (zone, (tick, told, lasted)) in &gone.ticks {
            // A run of leases of a minute and a half is long, and its ticks are slow.
            let hz = if *lasted > Duration::from_secs(300) { 5 } else { 20 };
            let due = lasted.as_secs() * hz;
            assert!(tick.0 + 2 + held(&gone) >= due, "seed {seed}, {zone}: {tick} of {due}");
            // A store that is far away confirms a tick two seconds later.
            assert!(told.0 + 60 >= tick.0, "seed {seed}, {zone}: {told} of {tick}");
        }
    }
    assert!(compared > 8, "half of the runs have an archive: {compared}");
    // Other players come in while there is no archive, and a far store holds other ticks; but not more of them.
    assert!(
        held_gone <= 2 * held_there + 100,
        "{held_gone} ticks were held, {held_there} with an archive"
    );
}
