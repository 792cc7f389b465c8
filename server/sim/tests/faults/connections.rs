//! Links between players and shards that are blocked one way while connections open and end: a message is sent again
//! until it passes, and the end of a connection, whose notice is lost, is noticed by its silence.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use everhold_sim::cluster::{Options, SimCluster};
use everhold_sim::fault::{Fault, Plan};
use everhold_sim::links::Party;

/// More parties than any run has.
const PLAYERS: usize = 6;
const SHARDS: usize = 4;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs some seeds with this plan, none of which may break anything. Returns how often each path was taken.
fn run(plan: &Plan) -> BTreeMap<&'static str, u64> {
    let mut paths = BTreeMap::<&str, u64>::new();
    for seed in 1..=12 {
        let outcome = SimCluster::run(&Options {
            seed,
            plan: Some(plan.clone()),
            origin: Instant::now(),
            tells_story: false,
            mutant: None,
        });
        assert_eq!(outcome.breaches, [], "seed {seed}");
        for (path, count) in outcome.paths {
            *paths.entry(path).or_default() += count;
        }
    }
    paths
}

fn pairs() -> impl Iterator<Item = (Party, Party)> {
    let shards = |player| (0..SHARDS).map(move |shard| (Party::Player(player), Party::Shard(shard)));
    (0..PLAYERS).flat_map(shards)
}

#[test]
fn hello_that_a_blocked_link_loses_is_sent_again() {
    let mut plan = Plan(Vec::new());
    // All players begin in this half second: some are connected while the link is open, and say hello when it is not.
    for at in (1_500..2_100).step_by(50) {
        let blocks = pairs().map(|(player, shard)| (millis(at), Fault::Block(player, shard, millis(25))));
        plan.0.extend(blocks);
    }
    let sent_again = run(&plan).remove("a message that was sent again");
    assert!(sent_again.is_some_and(|count| count >= 12), "{sent_again:?}");
}

#[test]
fn end_of_a_connection_that_a_blocked_link_loses_is_noticed() {
    // The store is so slow that players are on their way into their zones when the leases run out.
    let mut plan = Plan(vec![
        (millis(1_450), Fault::Slow(Party::Store, millis(200), millis(5_000))),
        (millis(2_600), Fault::Down(Party::Authority, millis(4_000))),
    ]);
    let blocks = pairs().map(|(player, shard)| (millis(2_900), Fault::Block(shard, player, millis(2_500))));
    plan.0.extend(blocks);
    let ended = run(&plan).remove("a connection that fell silent for good");
    assert!(ended.is_some_and(|count| count >= 3), "{ended:?}");
}
