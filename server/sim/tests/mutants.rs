//! Planted faults: each is found within the seeds that it is said to be found within, and by an invariant that it is
//! said to break.

#[path = "../bin/pool.rs"]
mod pool;

use everhold_sim::mutant::Mutant;

/// Seeds that are run at once.
const PIECE: u64 = 8;

/// Runs a mutant from seed 1 on. Returns its row of the table, or what is wrong. A seed that breaks something without
/// the mutant finds nothing.
fn find(mutant: Mutant) -> Result<String, String> {
    let (name, finding) = (mutant.name(), mutant.finding());
    let mut from = 1;
    while from <= finding.seeds {
        let broken = pool::run(from, PIECE.min(finding.seeds + 1 - from), Some(mutant)).broken;
        let firsts = broken.iter().filter_map(|(invariant, (_, named))| {
            let (seed, _) = named.first_key_value()?;
            Some((*seed, *invariant))
        });
        let own = firsts.filter(|(seed, _)| pool::run(*seed, 1, None).broken.is_empty());
        if let Some((seed, invariant)) = own.min() {
            let row = format!("{name:<24} seed {seed:>3} of {:>3}  {invariant}", finding.seeds);
            return if finding.invariants.contains(&invariant) {
                Ok(row)
            } else {
                let commands = pool::commands(seed, Some(mutant));
                Err(format!(
                    "{row}, and not one of {:?}\n    {commands}",
                    finding.invariants
                ))
            };
        }
        from += PIECE;
    }
    Err(format!("{name} is not found within {} seeds", finding.seeds))
}

#[test]
fn every_mutant_is_found() {
    let (mut found, mut missed) = (Vec::new(), Vec::new());
    for mutant in Mutant::ALL {
        match find(mutant) {
            Ok(row) => found.push(row),
            Err(why) => missed.push(why),
        }
    }
    println!("{}", found.join("\n"));
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn mutant_has_the_name_that_the_command_line_takes() {
    for mutant in Mutant::ALL {
        assert_eq!(mutant.name().parse(), Ok(mutant));
    }
    assert!("no-mutant".parse::<Mutant>().is_err());
}
