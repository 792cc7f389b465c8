//! The network between players and a lone shard goes away, or the shard itself, for longer than connections live.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use client_sim::{Behavior, Control, SwarmConfig, SwarmPhase, SwarmProgress, SwarmReport};
use everhold_protocol::Epoch;
use everhold_testing::proxy::{Faults, Proxy};

use crate::world::{World, meadow};

pub(crate) const PLAYERS: usize = 20;

/// Longer than a connection may be idle, which is 10 s.
const SHORT_OUTAGE: Duration = Duration::from_secs(12);

/// Longer than the body of somebody who is away stays in the world that comes with the server, which is 30 s.
const LONG_OUTAGE: Duration = Duration::from_secs(45);

/// Players that trade at the shard that `addr` leads to.
pub(crate) fn orders(world: &World, addr: SocketAddr) -> SwarmConfig {
    SwarmConfig {
        connect: vec![addr],
        players: PLAYERS,
        // The observer ends the play, unless players stay out.
        seconds: 120.0,
        zones: vec![meadow()],
        behavior: Behavior::Trade,
        keys: world.cluster.keys(),
        ..SwarmConfig::default()
    }
}

/// Whether everybody plays, and has for so many seconds.
pub(crate) fn all_play(progress: &SwarmProgress, for_s: f64) -> bool {
    progress.phase == SwarmPhase::Running
        && progress.running_for_s > for_s
        && progress.attached == PLAYERS
        && progress.silent == 0
}

/// Plays, is cut off for a while, and plays on.
fn play_through(outage: Duration) -> SwarmReport {
    let mut world = World::with_default_leases();
    let shard = world.shard(&[meadow()]);
    let network = Proxy::udp(world.cluster.all[shard].addr, 1);
    let mut cut_at = None;
    let report = client_sim::run(orders(&world, network.addr()), &mut |progress| {
        match cut_at {
            None if all_play(progress, 2.0) => {
                network.set(Faults::CUT);
                cut_at = Some(Instant::now());
            }
            Some(at) if at.elapsed() > outage => {
                network.heal();
                if all_play(progress, 0.0) {
                    return Control::Stop;
                }
            }
            _ => {}
        }
        Control::Continue
    });
    report.expect("a run")
}

#[track_caller]
fn assert_clean(report: &SwarmReport) {
    assert!(report.is_clean(), "{report:#?}");
    // They loot monsters, too.
    assert!(report.gold_found >= 100 * PLAYERS as u64);
    assert!(
        report.lost_connections >= PLAYERS as u64,
        "each lost its connection: {report:#?}"
    );
}

#[test]
fn players_come_back_after_an_outage_that_ended_their_connections() {
    let report = play_through(SHORT_OUTAGE);
    assert_clean(&report);
    assert_eq!(report.unheard, 0, "gold and things are audited: {report:#?}");
}

#[test]
fn players_come_back_after_an_outage_in_which_their_characters_went_to_rest() {
    // What happened to them before that may have been forgotten; then nobody can audit it.
    assert_clean(&play_through(LONG_OUTAGE));
}

#[test]
fn players_come_back_to_a_lone_shard_that_crashed_and_was_started_again() {
    let mut world = World::with_default_leases();
    let first = world.shard(&[meadow()]);
    let network = Proxy::udp(world.cluster.all[first].addr, 1);
    let mut second = None;
    let orders = orders(&world, network.addr());
    let report = client_sim::run(orders, &mut |progress| {
        if second.is_none() && all_play(progress, 2.0) {
            world.cluster.kill(first).expect("a kill");
            let again = world.shard(&[meadow()]);
            network.lead_to(world.cluster.all[again].addr);
            second = Some(again);
        }
        let owners = &progress.zones[0].epochs;
        if second.is_some() && all_play(progress, 0.0) && *owners == [Epoch(2)] {
            Control::Stop
        } else {
            Control::Continue
        }
    });
    let report = report.expect("a run");
    assert_clean(&report);
    assert_eq!(report.unheard, 0, "gold and things are audited: {report:#?}");
    let resumed: Vec<_> = report.failovers.iter().map(|one| (one.to_epoch, one.resumed)).collect();
    assert_eq!(resumed, [(Epoch(2), PLAYERS)]);
}
