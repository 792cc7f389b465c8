//! Swarms beside each other, and after each other: each judges only what its own players were told.

use client_sim::checker::Strangers;
use client_sim::{Behavior, Control, SwarmConfig, SwarmPhase, SwarmReport};

use crate::world::{World, meadow};

const PLAYERS: usize = 20;

fn orders(world: &World, first_account: u64) -> SwarmConfig {
    SwarmConfig {
        connect: world.cluster.all.iter().map(|process| process.addr).collect(),
        players: PLAYERS,
        seconds: 4.0,
        zones: vec![meadow()],
        behavior: Behavior::Trade,
        keys: world.cluster.keys(),
        first_account,
        ..SwarmConfig::default()
    }
}

#[track_caller]
fn assert_clean(report: &SwarmReport) {
    assert!(report.is_clean(), "{report:#?}");
    // They loot monsters, too.
    assert!(report.gold_found >= 100 * PLAYERS as u64);
    assert_eq!(report.strangers, Strangers::default(), "they trade among themselves");
}

#[test]
fn swarm_among_the_bodies_of_an_earlier_one_is_clean() {
    let mut world = World::new().alone();
    world.shard(&[meadow()]);
    for first_account in [1_000, 2_000] {
        let report = client_sim::run(orders(&world, first_account), &mut |_| Control::Continue);
        assert_clean(&report.expect("a run"));
    }
}

#[test]
fn two_swarms_at_once_are_clean_and_so_are_those_who_join_late() {
    let mut world = World::new().alone();
    world.shard(&[meadow()]);
    let late = SwarmConfig {
        // Three seconds until the last is in, while the first ones trade.
        joins_per_s: 7,
        ..orders(&world, 2_000)
    };
    let other = std::thread::spawn(move || client_sim::run(late, &mut |_| Control::Continue));
    let first = SwarmConfig {
        // The observer ends the play.
        seconds: 120.0,
        ..orders(&world, 1_000)
    };
    let report = client_sim::run(first, &mut |progress| {
        let over = progress.phase == SwarmPhase::Running && other.is_finished();
        if over { Control::Stop } else { Control::Continue }
    });
    assert_clean(&report.expect("a run"));
    assert_clean(&other.join().expect("no panic").expect("a run"));
}
