//! Shards that are asked to stop while store and authority are away, which come back without anything: what is in
//! memory alone is put back and stored before the processes end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use everhold_sim::cluster::{Options, SimCluster};
use everhold_sim::fault::{Fault, Plan};
use everhold_sim::links::Party;

/// The first fault may strike.
const BEGIN: Duration = Duration::from_secs(5);
/// Well above a lease (1 s), and below the time of a stop (10 s).
const AWAY: Duration = Duration::from_secs(4);

/// Both services are away for a while, and empty then; two shards are asked to stop after `wait`, and started again
/// when they have had time to.
fn stop_after(wait: Duration) -> Plan {
    let seconds = Duration::from_secs;
    Plan(vec![
        (BEGIN, Fault::Down(Party::Store, AWAY)),
        (BEGIN, Fault::Down(Party::Authority, AWAY)),
        (BEGIN + wait, Fault::Stop(0)),
        (BEGIN + wait, Fault::Stop(1)),
        (BEGIN + AWAY / 2, Fault::StoreForgets),
        (BEGIN + AWAY / 2, Fault::AuthorityForgets),
        (BEGIN + seconds(7), Fault::Restart(0)),
        (BEGIN + seconds(7), Fault::Restart(1)),
    ])
}

#[test]
fn stop_while_store_and_authority_are_away_and_come_back_empty_stores_what_is_in_memory() {
    // Before the leases run out, and long after.
    for wait in [Duration::from_millis(300), Duration::from_millis(3_000)] {
        let mut paths = BTreeMap::<&str, u64>::new();
        for seed in 1..=12 {
            let outcome = SimCluster::run(&Options {
                seed,
                plan: Some(stop_after(wait)),
                origin: Instant::now(),
                tells_story: false,
                mutant: None,
            });
            assert_eq!(outcome.breaches, [], "seed {seed}, asked to stop after {wait:?}");
            for (path, count) in outcome.paths {
                *paths.entry(path).or_default() += count;
            }
        }
        let sealed = paths.get("a suspended zone that was sealed by a stop");
        assert!(sealed.is_some_and(|sealed| *sealed >= 12), "{paths:?}");
    }
}
