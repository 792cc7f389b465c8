//! The pipeline's checkpoints: parts, heads, and bases.

use super::*;
use crate::durability::lag::LagConfig;

#[test]
fn checkpoint_is_written_part_by_part_and_then_made_the_head() {
    let mut host = Host::cut();
    host.capture(Tick(103), Cut::Delta);
    assert_eq!(host.turn(), ["part 0 of 103"]);
    assert_eq!(host.turn_after(1_000), [""; 0], "one write is in flight");
    host.write(Ok(()));
    assert_eq!(host.turn(), ["head 103"]);
    host.write(Ok(()));
    assert_eq!(host.turn(), ["capture confirmed"]);
}

#[test]
fn part_that_is_not_answered_is_written_again_and_its_outage_is_said_once() {
    let mut host = Host::cut();
    host.capture(Tick(103), Cut::Delta);
    assert_eq!(host.turn(), ["part 0 of 103"]);
    for news in [&["log WriteFailed"][..], &[]] {
        host.write(Err(unavailable()));
        assert_eq!(host.turn(), news);
        assert_eq!(host.turn_after(99), [""; 0]);
        assert_eq!(host.turn_after(1), ["part 0 of 103"]);
    }
    host.write(Ok(()));
    assert_eq!(host.turn(), ["head 103"], "a part alone does not end it");
    host.write(Ok(()));
    assert_eq!(host.turn(), ["log WritesConfirmed", "capture confirmed"]);
}

#[test]
fn checkpoint_that_is_given_up_is_deleted_before_another_is_cut() {
    let mut host = Host::cut();
    host.capture(Tick(103), Cut::Delta);
    host.turn();
    host.write(Err(StoreError::Corrupt("a part".to_owned())));
    assert_eq!(host.turn(), ["log WriteFailed"]);
    assert_eq!(host.turn_after(100), ["capture failed", "drop 1 parts of 103"]);
    host.tick(3);
    assert_eq!(host.turn(), ["append 104..=106"]);
    host.write(Ok(()));
    host.append(Ok(AppendAnswer::Ok));
    host.tick(1);
    assert!(host.turn().contains(&"cut delta".to_owned()));
}

#[test]
fn cut_that_cannot_be_made_bytes_is_given_back_to_the_zone_which_goes_on() {
    let mut host = Host::cut();
    host.pipeline.handle_capture_lost(host.now, "a panic".to_owned());
    assert_eq!(host.turn(), ["log CaptureLost"]);
    assert_eq!(host.turn_after(99), [""; 0]);
    assert_eq!(host.turn_after(1), ["capture failed"]);
    host.tick(2);
    assert_eq!(host.turn(), ["append 104..=105"]);
    host.tick(1);
    assert!(
        host.turn().contains(&"cut delta".to_owned()),
        "three ticks after the failure"
    );
}

#[test]
fn base_that_is_to_bridge_a_gap_is_cut_again_until_it_is_bytes() {
    let mut host = Host::quiet();
    host.tick(1);
    host.turn();
    host.append(Err(StoreError::Lost));
    host.turn();
    host.create(Ok(()));
    assert_eq!(host.turn(), ["roster"]);
    host.tick(1);
    assert_eq!(host.turn(), ["cut base"]);
    for wait in [100, 200, 400] {
        host.tick_with(Some(frozen(Tick(host.pipeline.journal.last().tick.0 + 1))));
        host.turn();
        host.pipeline.handle_capture_lost(host.now, "a panic".to_owned());
        host.turn();
        assert!(!host.turn_after(wait - 1).contains(&"cut base".to_owned()));
        assert!(host.turn_after(1).contains(&"capture failed".to_owned()));
        host.tick(1);
        assert!(host.turn().contains(&"cut base".to_owned()), "{wait} ms");
    }
}

#[test]
fn base_frees_the_records_that_it_covers() {
    let mut host = Host::quiet();
    host.pipeline.checkpointer.handle_base_wanted();
    host.tick(1);
    host.turn();
    host.tick_with(Some(frozen(Tick(102))));
    for _ in 0..2 {
        host.append(Ok(AppendAnswer::Ok));
        host.turn();
    }
    host.capture(Tick(102), Cut::Base);
    for _ in 0..2 {
        host.turn();
        host.write(Ok(()));
    }
    assert_eq!(host.turn(), ["capture confirmed"]);
    host.tick(1);
    assert_eq!(host.turn(), ["append 103..=103"]);
    host.append(Ok(AppendAnswer::Gap { last: Tick(100) }));
    assert_eq!(
        host.turn(),
        ["log Reseeding"],
        "memory does not reach to tick 101 any more"
    );
}

/// A zone whose lag is an alarm from 1,000 ticks on, and holds it from 2,000 on.
fn bounded() -> Host {
    let mut host = Host::quiet();
    host.pipeline.lag = Lag::new(LagConfig {
        alarm_ticks: 1_000,
        hold_ticks: 2_000,
    });
    host
}

/// Ticks and is answered by a store that takes records and no checkpoint. Returns the changes of the lag's state.
fn tick_stored(host: &mut Host, count: u64) -> Vec<String> {
    let mut said = Vec::new();
    for _ in 0..count {
        host.tick(1);
        said.extend(host.turn());
        host.append(Ok(AppendAnswer::Ok));
    }
    said.retain(|word| word.contains(" by "));
    said
}

#[test]
fn checkpoints_that_fail_for_long_are_an_alarm_and_then_hold_the_zone_until_a_base_is_stored() {
    let mut host = bounded();
    assert_eq!(tick_stored(&mut host, 999), [""; 0]);
    assert_eq!(tick_stored(&mut host, 999), ["Behind by 1000"]);
    host.turn();
    host.tick(1);
    assert_eq!(host.turn(), ["append 2099..=2099"]);
    host.tick(1);
    assert_eq!(host.turn(), ["Held by 2000"], "what is in flight is answered first");
    host.append(Ok(AppendAnswer::Ok));
    assert_eq!(host.turn(), ["acknowledged 2099", "tell 2099", "show 2099"]);
    host.tick(3);
    assert_eq!(host.turn(), ["cut base"], "nothing is appended");
    host.tick_with(Some(frozen(Tick(2_104))));
    assert_eq!(host.turn(), ["encode 2104"]);
    host.capture(Tick(2_104), Cut::Base);
    assert_eq!(host.turn(), ["part 0 of 2104"], "and the base waits for no append");
    host.write(Ok(()));
    assert_eq!(host.turn(), ["head 2104"]);
    host.write(Ok(()));
    let said = host.turn();
    assert_eq!(said[..3], ["Fine by 0", "capture confirmed", "acknowledged 2104"]);
    host.tick(1);
    assert_eq!(host.turn(), ["append 2105..=2105"]);
}

#[test]
fn zone_that_is_held_by_its_checkpoints_is_alive_and_tries_on() {
    let mut host = bounded();
    tick_stored(&mut host, 1_999);
    host.turn();
    host.tick(UNACKNOWLEDGED_TICKS_MAX);
    assert_eq!(host.turn(), ["Held by 2039", "alive", "cut base"]);
    assert_eq!(host.turn(), [""; 0], "a tick is awaited, which is no store's fault");
    host.tick_with(Some(frozen(Tick(2_140))));
    host.turn();
    host.capture(Tick(2_140), Cut::Base);
    host.turn();
    host.write(Err(StoreError::Corrupt("a part".to_owned())));
    host.turn();
    let next = ["alive", "capture failed", "drop 1 parts of 2140"];
    assert_eq!(host.turn_after(100), next);
    host.write(Ok(()));
    assert_eq!(host.turn(), ["alive", "cut base"]);
}
