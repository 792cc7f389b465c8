//! Whole runs, from the login to the verdict.

use client_sim::{Behavior, Control, SwarmConfig, SwarmError, SwarmPhase, SwarmReport};
use everhold_protocol::Epoch;

use super::world::{Lie, World};

const PLAYERS: usize = 20;

fn config(world: &World, keys: &tempfile::TempDir) -> SwarmConfig {
    SwarmConfig {
        connect: vec![world.addrs[0]],
        players: PLAYERS,
        // The observer ends the play.
        seconds: 600.0,
        zones: vec!["meadow".parse().unwrap()],
        behavior: Behavior::Trade,
        keys: keys.path().to_owned(),
        ..SwarmConfig::default()
    }
}

/// Plays until every player has given a few times; with `fail_over`, the owner changes half way.
fn play(lie: Lie, fail_over: bool) -> SwarmReport {
    let keys = tempfile::tempdir().unwrap();
    let world = World::start(lie, keys.path());
    let mut failed = !fail_over;
    let config = SwarmConfig {
        settle_deadline_s: if lie == Lie::SwallowsEvents { 1.0 } else { 30.0 },
        ..config(&world, &keys)
    };
    client_sim::run(config, &mut |progress| {
        if !failed && progress.running_for_s > 1.5 {
            world.fail_over();
            failed = true;
        }
        let resumed = !fail_over || (progress.failovers == 1 && progress.silent == 0 && progress.running_for_s > 2.5);
        let done = progress.phase == SwarmPhase::Running && progress.running_for_s > 2.0 && failed && resumed;
        if done { Control::Stop } else { Control::Continue }
    })
    .unwrap()
}

#[test]
fn honest_world_gets_a_clean_report() {
    let report = play(Lie::None, false);
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!((report.gold_expected, report.gold_found), (2_000, 2_000));
    assert!(report.intents > PLAYERS as u64 && report.failovers.is_empty());
    assert!(
        (20.0..200.0).contains(&report.update_latency_ms.p50),
        "{:?}",
        report.update_latency_ms
    );
    // Snapshots come with every tick, frames at least with every fourth.
    assert!(report.bytes_down_per_player_s > 20.0 * 60.0 && report.bytes_up_per_player_s > 5.0 * 40.0);
}

#[test]
fn players_go_on_to_the_next_address_if_one_cannot_be_reached() {
    let keys = tempfile::tempdir().unwrap();
    let world = World::start(Lie::None, keys.path());
    let config = SwarmConfig {
        // For examples in documents: at most hosts there is no way to it, elsewhere nobody answers.
        connect: vec!["[2001:db8::1]:9".parse().unwrap(), world.addrs[0]],
        seconds: 1.0,
        ..config(&world, &keys)
    };
    let report = client_sim::run(config, &mut |_| Control::Continue).unwrap();
    assert!(report.is_clean(), "{report:#?}");
}

#[test]
fn change_of_owner_is_measured_and_clean() {
    let report = play(Lie::None, true);
    assert!(report.is_clean(), "{report:#?}");
    let [failover] = &report.failovers[..] else {
        panic!("{:?}", report.failovers)
    };
    assert_eq!(
        (
            failover.from_epoch,
            failover.to_epoch,
            failover.players,
            failover.resumed
        ),
        (Epoch(1), Epoch(2), PLAYERS, PLAYERS)
    );
    // Nobody looks elsewhere before a quarter of a second of silence.
    assert!(
        failover.gap_ms.p50 >= 250.0 && failover.gap_ms.max < 10_000.0,
        "{:?}",
        failover.gap_ms
    );
    assert_eq!(
        (failover.silent_at_ms.len(), failover.first_snapshot_at_ms.len()),
        (PLAYERS, PLAYERS)
    );
}

#[test]
fn players_outlive_owner_after_owner() {
    const OWNERS: u32 = 5;
    let keys = tempfile::tempdir().unwrap();
    let world = World::start(Lie::None, keys.path());
    let mut owner = 1;
    let report = client_sim::run(config(&world, &keys), &mut |progress| {
        let settled = progress.phase == SwarmPhase::Running
            && progress.silent == 0
            && progress.zones[0].attached == PLAYERS
            && progress.zones[0].epochs == [Epoch(owner)];
        if settled && owner < OWNERS {
            world.fail_over();
            owner += 1;
        }
        // Everybody has been shown the last owner's world.
        if settled && progress.failovers == OWNERS as usize - 1 {
            Control::Stop
        } else {
            Control::Continue
        }
    })
    .unwrap();
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!((report.gold_expected, report.gold_found), (2_000, 2_000));
    let seen: Vec<_> = report
        .failovers
        .iter()
        .map(|one| (one.from_epoch, one.to_epoch, one.players, one.resumed))
        .collect();
    let wanted: Vec<_> = (2..=OWNERS)
        .map(|to| (Epoch(to - 1), Epoch(to), PLAYERS, PLAYERS))
        .collect();
    assert_eq!(seen, wanted);
    assert!(
        report
            .failovers
            .iter()
            .all(|one| one.first_snapshot_at_ms.len() == PLAYERS)
    );
}

#[test]
fn world_that_mints_gold_is_found_out() {
    let report = play(Lie::MintsGold, false);
    assert!(
        report.gold_found > report.gold_expected && report.duplicated > 0 && !report.is_clean(),
        "{report:#?}"
    );
}

#[test]
fn world_that_swallows_events_is_found_out() {
    let report = play(Lie::SwallowsEvents, false);
    assert!(report.lost_acknowledged > 0, "{report:#?}");
    assert!(
        report.errors.iter().any(|error| error.contains("event 3 was due")),
        "{:#?}",
        report.errors
    );
}

#[test]
fn world_that_applies_inputs_twice_is_found_out() {
    let report = play(Lie::AppliesTwice, false);
    assert!(
        report.duplicated > 0 && report.gold_found == report.gold_expected,
        "{report:#?}"
    );
}

#[test]
fn successor_that_forgot_inputs_is_found_out() {
    let report = play(Lie::ForgetsInputs, true);
    assert!(
        report
            .errors
            .iter()
            .any(|error| error.contains("was confirmed, now only")),
        "{:#?}",
        report.errors
    );
    assert!(report.lost_acknowledged > 0);
}

#[test]
fn successor_that_forgot_gold_is_found_out() {
    let report = play(Lie::ForgetsGold, true);
    assert!(
        report.gold_found < report.gold_expected && report.lost_acknowledged > 0,
        "{report:#?}"
    );
}

#[test]
fn world_that_nobody_serves_is_an_error_that_says_what_was_heard() {
    let keys = tempfile::tempdir().unwrap();
    let world = World::start(Lie::None, keys.path());
    world.fail_over();
    let config = SwarmConfig {
        join_deadline_s: 1.0,
        ..config(&world, &keys)
    };
    let error = client_sim::run(config, &mut |_| Control::Continue).unwrap_err();
    assert!(
        matches!(
            error,
            SwarmError::JoinDeadline {
                attached: 0,
                players: PLAYERS,
                ..
            }
        ),
        "{error}"
    );
}
