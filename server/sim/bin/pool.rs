//! Many runs, a seed each, on all cores: what they broke, and how often each path was taken. Each run stays in one
//! thread, and nothing is kept of one but its first breach.

use std::collections::BTreeMap;
use std::panic::{catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Instant;

use everhold_sim::cluster::{Options, Outcome, POISON, SimCluster};
use everhold_sim::mutant::Mutant;

/// The finding of a run that did not come to its end.
pub(crate) const PANICKED: &str = "a machine panicked";
/// The name of the threads that run clusters.
const THREAD: &str = "cluster";
/// Seeds that are named of those that broke one invariant.
pub(crate) const NAMED_MAX: usize = 12;

/// The outcome of many runs.
#[derive(Default)]
pub(crate) struct Tally {
    /// The number of times that each path was taken.
    pub(crate) paths: BTreeMap<&'static str, u64>,
    /// By the invariant that broke first: how many seeds broke it, and the lowest of them, each with its breach.
    pub(crate) broken: BTreeMap<&'static str, (u64, BTreeMap<u64, String>)>,
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: Option<Outcome>) {
        let mut breach = outcome.is_none().then(|| (PANICKED, String::new()));
        for (path, count) in outcome.iter().flat_map(|outcome| &outcome.paths) {
            *self.paths.entry(path).or_default() += count;
        }
        let first = outcome.as_ref().and_then(|outcome| outcome.breaches.first());
        breach = breach.or_else(|| first.map(|first| (first.invariant, first.detail.clone())));
        if let Some((invariant, detail)) = breach {
            let (count, named) = self.broken.entry(invariant).or_default();
            *count += 1;
            named.insert(seed, detail);
            if named.len() > NAMED_MAX {
                named.pop_last();
            }
        }
    }
}

/// Makes a rule fail at the poisoned line, as it does in many runs, and keeps those failures off standard error.
pub(crate) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        everhold_core::game::chat_fault::set(format!("panic-on-chat={POISON}").parse().expect("a fault"));
        let loud = take_hook();
        set_hook(Box::new(move |panic| {
            let is_planted = panic.payload_as_str().is_some_and(|text| text.starts_with("planted: "));
            if !is_planted && std::thread::current().name() != Some(THREAD) {
                loud(panic);
            }
        }));
    });
}

/// Returns the options of a seed's run, without its story.
pub(crate) fn options(seed: u64, mutant: Option<Mutant>) -> Options {
    Options {
        seed,
        plan: None,
        origin: Instant::now(),
        tells_story: false,
        mutant,
    }
}

/// Runs so many seeds on all cores.
pub(crate) fn run(from: u64, seeds: u64, mutant: Option<Mutant>) -> Tally {
    prepare();
    let (next, tally) = (AtomicU64::new(from), Mutex::new(Tally::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from.saturating_add(seeds) {
                return;
            }
            // A client's machine may panic.
            let outcome = catch_unwind(|| SimCluster::run(&options(seed, mutant))).ok();
            tally.lock().unwrap_or_else(PoisonError::into_inner).add(seed, outcome);
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for _ in 0..cores {
            let thread = std::thread::Builder::new().name(THREAD.to_owned());
            thread.spawn_scoped(scope, work).expect("a thread starts");
        }
    });
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the commands that repeat a finding, and that make it smaller.
pub(crate) fn commands(seed: u64, mutant: Option<Mutant>) -> String {
    let planted = mutant.map_or_else(String::new, |mutant| format!(" --mutant {}", mutant.name()));
    format!(
        "target/release/everhold-sim --seed {seed}{planted}, or its least plan: target/release/everhold-sim --shrink \
         {seed}{planted}"
    )
}
