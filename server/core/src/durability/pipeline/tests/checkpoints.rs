//! The pipeline's checkpoints: parts, heads, and bases.

use super::*;

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
