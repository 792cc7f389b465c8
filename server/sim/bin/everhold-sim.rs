//! Runs simulated clusters, each from a seed, and prints what they found.
//!
//! `everhold-sim [--from N] [--seeds N]` runs a range of seeds; `everhold-sim --seed N` tells the story of one, and
//! `everhold-sim --shrink N` the story of its smallest plan of faults that breaks the same invariant. `everhold-sim
//! --table N [--from N]` sorts the findings of N seeds by invariant and by the kinds of faults that they need.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use everhold_sim::cluster::{Options, Outcome, POISON, SimCluster};
use everhold_sim::shrink::shrink;

/// The finding of a run that did not come to its end.
const PANICKED: &str = "a machine panicked";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1)?.parse::<u64>().ok()
    };
    everhold_core::game::chat_fault::set(format!("panic-on-chat={POISON}").parse().expect("a fault"));
    let out = &mut std::io::stdout().lock();
    let is_sound = match (number("--seed"), number("--shrink"), number("--table")) {
        (Some(seed), ..) => tell(out, &options(seed)),
        (_, Some(seed), _) => tell_least(out, seed),
        (.., Some(seeds)) => table(out, number("--from").unwrap_or(1), seeds),
        _ => sweep(out, number("--from").unwrap_or(1), number("--seeds").unwrap_or(100)),
    };
    match is_sound {
        Ok(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn options(seed: u64) -> Options {
    Options {
        seed,
        plan: None,
        origin: Instant::now(),
        tells_story: true,
    }
}

fn tell(out: &mut impl Write, options: &Options) -> std::io::Result<bool> {
    let outcome = SimCluster::run(options);
    for line in &outcome.story {
        writeln!(out, "{line}")?;
    }
    for breach in &outcome.breaches {
        let at = breach.at.as_secs_f64() * 1e3;
        writeln!(out, "{at:>10.3} BROKEN: {}: {}", breach.invariant, breach.detail)?;
    }
    Ok(outcome.breaches.is_empty())
}

fn tell_least(out: &mut impl Write, seed: u64) -> std::io::Result<bool> {
    let Outcome { breaches, plan, .. } = SimCluster::run(&options(seed));
    let Some(first) = breaches.first() else {
        writeln!(out, "seed {seed} breaks nothing")?;
        return Ok(true);
    };
    let plan = Some(shrink(&options(seed), &plan, first.invariant));
    let least = Options { plan, ..options(seed) };
    tell(out, &least)
}

/// Runs a range of seeds, without their stories. `None`: a client's machine panicked.
fn outcomes(from: u64, seeds: u64) -> impl Iterator<Item = (u64, Option<Outcome>)> {
    // A rule that fails is part of many runs.
    std::panic::set_hook(Box::new(|_| {}));
    (from..from + seeds).map(|seed| {
        let options = Options {
            tells_story: false,
            ..options(seed)
        };
        (seed, std::panic::catch_unwind(|| SimCluster::run(&options)).ok())
    })
}

/// Prints for each invariant, and each set of faults that breaks it, how many seeds found it, and the first of them.
fn table(out: &mut impl Write, from: u64, seeds: u64) -> std::io::Result<bool> {
    let mut rows = BTreeMap::<(&str, String), Vec<u64>>::new();
    for (seed, outcome) in outcomes(from, seeds) {
        let Some(Outcome { breaches, plan, .. }) = outcome else {
            rows.entry((PANICKED, String::new())).or_default().push(seed);
            continue;
        };
        if let Some(first) = breaches.first() {
            let least = shrink(&options(seed), &plan, first.invariant);
            let kinds: BTreeSet<&str> = least.0.iter().filter_map(|(_, fault)| fault.kind()).collect();
            let kinds: Vec<&str> = kinds.into_iter().collect();
            rows.entry((first.invariant, kinds.join(" + "))).or_default().push(seed);
        }
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|((invariant, _), seeds)| (*invariant, std::cmp::Reverse(seeds.len())));
    for ((invariant, kinds), seeds) in &rows {
        writeln!(
            out,
            "{:>4} seeds, first {:>5}: {invariant} | {kinds}",
            seeds.len(),
            seeds[0]
        )?;
    }
    Ok(rows.is_empty())
}

fn sweep(out: &mut impl Write, from: u64, seeds: u64) -> std::io::Result<bool> {
    let began = Instant::now();
    let (mut paths, mut found) = (BTreeMap::new(), BTreeMap::<&str, Vec<u64>>::new());
    for (seed, outcome) in outcomes(from, seeds) {
        let Some(outcome) = outcome else {
            found.entry(PANICKED).or_default().push(seed);
            continue;
        };
        for (path, count) in outcome.paths {
            *paths.entry(path).or_insert(0) += count;
        }
        if let Some(first) = outcome.breaches.first() {
            found.entry(first.invariant).or_default().push(seed);
        }
    }
    writeln!(out, "{seeds} seeds in {:.1} s", began.elapsed().as_secs_f64())?;
    for (path, count) in &paths {
        writeln!(out, "  {count:>8} × {path}")?;
    }
    for (invariant, seeds) in &found {
        let first = &seeds[..seeds.len().min(12)];
        writeln!(out, "{} seeds break: {invariant}: {first:?}", seeds.len())?;
    }
    Ok(found.is_empty())
}
