//! Runs simulated clusters, each from a seed, and prints what they found.
//!
//! `everhold-sim [--from N] [--seeds N]` runs a range of seeds; `everhold-sim --seed N` tells the story of one, and
//! `everhold-sim --shrink N` the story of its smallest plan of faults that breaks the same invariant. `everhold-sim
//! --table N [--from N]` sorts the findings of N seeds by invariant and by the kinds of faults that they need. With
//! `--mutant NAME` each of them plants a fault first, which is to be found.

mod pool;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use everhold_sim::cluster::{Options, Outcome, SimCluster};
use everhold_sim::mutant::Mutant;
use everhold_sim::shrink::shrink;

/// Seeds of a range that are run before their findings are printed.
const PIECE: u64 = 500;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let text = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1)
    };
    let number = |name: &str| text(name)?.parse::<u64>().ok();
    let out = &mut std::io::stdout().lock();
    let mutant = match text("--mutant").map(|name| name.parse::<Mutant>()).transpose() {
        Ok(mutant) => mutant,
        Err(unknown) => {
            let _closed = writeln!(out, "{unknown}");
            return ExitCode::FAILURE;
        }
    };
    pool::prepare();
    let from = number("--from").unwrap_or(1);
    let is_sound = match (number("--seed"), number("--shrink"), number("--table")) {
        (Some(seed), ..) => tell(out, &options(seed, mutant)),
        (_, Some(seed), _) => tell_least(out, seed, mutant),
        (.., Some(seeds)) => table(out, (from, seeds), mutant),
        _ => sweep(out, (from, number("--seeds").unwrap_or(100)), mutant),
    };
    match is_sound {
        Ok(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn options(seed: u64, mutant: Option<Mutant>) -> Options {
    Options {
        tells_story: true,
        ..pool::options(seed, mutant)
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

fn tell_least(out: &mut impl Write, seed: u64, mutant: Option<Mutant>) -> std::io::Result<bool> {
    let options = options(seed, mutant);
    let Outcome { breaches, plan, .. } = SimCluster::run(&options);
    let Some(first) = breaches.first() else {
        writeln!(out, "seed {seed} breaks nothing")?;
        return Ok(true);
    };
    let plan = Some(shrink(&options, &plan, first.invariant));
    tell(out, &Options { plan, ..options })
}

/// Prints for each invariant, and each set of faults that breaks it, how many seeds found it, and the first of them.
fn table(out: &mut impl Write, (from, seeds): (u64, u64), mutant: Option<Mutant>) -> std::io::Result<bool> {
    let mut rows = BTreeMap::<(&str, String), Vec<u64>>::new();
    let mut begin = from;
    while begin < from + seeds {
        let piece = PIECE.min(from + seeds - begin);
        for (invariant, (_, named)) in pool::run(begin, piece, mutant).broken {
            for seed in named.into_keys() {
                let kinds = least_kinds(&options(seed, mutant), invariant);
                rows.entry((invariant, kinds)).or_default().push(seed);
            }
        }
        begin += piece;
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|((invariant, _), seeds)| (*invariant, std::cmp::Reverse(seeds.len())));
    for ((invariant, kinds), seeds) in &rows {
        let (count, first) = (seeds.len(), seeds[0]);
        writeln!(out, "{count:>4} seeds, first {first:>5}: {invariant} | {kinds}")?;
    }
    Ok(rows.is_empty())
}

/// Returns the kinds of faults that a finding needs.
fn least_kinds(options: &Options, invariant: &str) -> String {
    if invariant == pool::PANICKED {
        return String::new();
    }
    let plan = SimCluster::run(options).plan;
    let least = shrink(options, &plan, invariant);
    let kinds: BTreeSet<&str> = least.0.iter().filter_map(|(_, fault)| fault.kind()).collect();
    kinds.into_iter().collect::<Vec<_>>().join(" + ")
}

/// Runs a range of seeds in pieces, and prints what each broke, and how often each path was taken in all.
fn sweep(out: &mut impl Write, (from, seeds): (u64, u64), mutant: Option<Mutant>) -> std::io::Result<bool> {
    let began = Instant::now();
    let mut paths = BTreeMap::new();
    let (mut begin, mut broken) = (from, 0);
    while begin < from.saturating_add(seeds) {
        let piece = PIECE.min(from + seeds - begin);
        let tally = pool::run(begin, piece, mutant);
        let count: u64 = tally.broken.values().map(|(count, _)| count).sum();
        let (last, took) = (begin + piece - 1, began.elapsed().as_secs_f64());
        writeln!(out, "seeds {begin} to {last}: {count} break something, {took:.1} s")?;
        for (invariant, (count, named)) in &tally.broken {
            writeln!(out, "  {count} seeds break: {invariant}: {:?}", named.keys())?;
            for (seed, detail) in named.iter().take(1) {
                writeln!(out, "    {detail}; {}", pool::commands(*seed, mutant))?;
            }
        }
        for (path, count) in tally.paths {
            *paths.entry(path).or_insert(0) += count;
        }
        out.flush()?;
        (begin, broken) = (begin + piece, broken + count);
    }
    for (path, count) in &paths {
        writeln!(out, "  {count:>8} × {path}")?;
    }
    writeln!(out, "{broken} of {seeds} seeds break something")?;
    Ok(broken == 0)
}
