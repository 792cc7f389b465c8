//! Garbage and handshakes that never finish, at a shard that serves two hundred players. They notice nothing.

use client_sim::{Behavior, Control, SwarmConfig, SwarmReport};
use everhold_net::keys;
use everhold_testing::flood::{Flood, FloodRates};

use crate::world::{World, all_zones};

/// The flooder shares two cores with the server and the players: at these rates it takes about a quarter of one for
/// itself.
const RATES: FloodRates = FloodRates {
    garbage_per_s: 20_000,
    half_open_per_s: 500,
};

/// Quiet and flooded plays follow each other so often, so that a machine that changes its speed favours neither.
const ROUNDS: usize = 2;

/// Two hundred players in a world of their own: what somebody gives to players of an earlier play would be missed.
fn play(flooded: bool) -> SwarmReport {
    // A machine that is busy with other work may hold the shard up for longer than a short lease, which no flood does.
    let mut world = World::with_endless_leases().alone();
    let shard = world.shard(&all_zones());
    let addr = world.cluster.all[shard].addr;
    let flood = flooded.then(|| {
        let client = keys::client_config(world.keys.certificates()).expect("a certificate");
        Flood::start(addr, RATES, client)
    });
    let swarm = SwarmConfig {
        connect: vec![addr],
        players: 200,
        seconds: 5.0,
        zones: all_zones(),
        behavior: Behavior::Trade,
        keys: world.cluster.keys(),
        ..SwarmConfig::default()
    };
    let report = client_sim::run(swarm, &mut |_| Control::Continue).expect("the swarm runs");
    if let Some(flood) = flood {
        assert!(flood.sent() > 20_000, "the flood was one: {} packets", flood.sent());
    }
    report
}

fn assert_undisturbed(report: &SwarmReport) {
    assert_eq!(report.errors, [] as [String; 0]);
    assert_eq!((report.lost_acknowledged, report.duplicated), (0, 0));
    assert!(
        report.failovers.is_empty(),
        "nobody lost sight of the owner: {:?}",
        report.failovers
    );
    let attached: usize = report.zones.iter().map(|zone| zone.players).sum();
    assert_eq!(attached, 200, "nobody was refused");
}

#[test]
fn players_do_not_notice_a_flood_of_garbage_and_of_half_open_handshakes() {
    let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (is_flooded, p99s) in [(false, &mut quiet), (true, &mut flooded)] {
            let report = play(is_flooded);
            assert_undisturbed(&report);
            p99s.push(report.update_latency_ms.p99);
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    println!(
        "update latency p99, ms: quiet {quiet:.1?}, flooded {flooded:.1?}, ratio {:.2}",
        mean(&flooded) / mean(&quiet)
    );
}
