//! The pool of seeds: whole clusters under faults, of which none may break anything, and which together take every
//! path that there is to take. More seeds: `make sim SEEDS=10000`.

#[path = "../bin/pool.rs"]
mod pool;

use std::collections::BTreeSet;

use everhold_sim::paths::PATHS;

/// Seeds of the pool, from 1 on.
const SEEDS: u64 = 300;

/// Seeds beyond, for a path that few take: a memory that outlived its adoption.
const RARE: [u64; 1] = [886];

#[test]
fn no_seed_of_the_pool_breaks_anything_and_every_path_is_taken() {
    let mut tallies = vec![pool::run(1, SEEDS, None)];
    tallies.extend(RARE.map(|seed| pool::run(seed, 1, None)));
    let mut report = String::new();
    for (invariant, (count, named)) in tallies.iter().flat_map(|tally| &tally.broken) {
        report += &format!("{count} seeds break: {invariant}\n");
        for (seed, detail) in named {
            report += &format!("  seed {seed}: {detail}\n    {}\n", pool::commands(*seed, None));
        }
    }
    let taken: BTreeSet<&str> = tallies.iter().flat_map(|tally| tally.paths.keys().copied()).collect();
    let known = BTreeSet::from(PATHS);
    for path in known.difference(&taken) {
        report += &format!("{path:?} was never taken: have a fault be drawn that leads there, or strike it out\n");
    }
    for path in taken.difference(&known) {
        report += &format!("{path:?} is not in the table of paths (server/sim/src/paths.rs)\n");
    }
    assert!(report.is_empty(), "of {SEEDS} seeds\n{report}");
}
