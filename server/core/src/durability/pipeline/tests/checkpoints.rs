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
fn write_that_fails_is_tried_again_from_a_new_cut_and_its_outage_is_said_once() {
    let mut host = Host::cut();
    for news in [&["log WriteFailed"][..], &[]] {
        let cut_at = host.pipeline.cut_at.unwrap().tick;
        host.capture(cut_at, Cut::Delta);
        assert_eq!(host.turn(), [format!("part 0 of {cut_at}")]);
        host.write(Err(unavailable()));
        assert_eq!(host.turn(), news);
        assert_eq!(host.turn_after(99), [""; 0]);
        assert_eq!(host.turn_after(1), ["capture failed"]);
        host.tick(3);
        assert_eq!(host.turn().last().unwrap(), "cut delta");
        host.append(Ok(AppendAnswer::Ok));
        host.turn();
        host.tick_with(Some(frozen(cut_at + 4)));
        host.turn();
        host.append(Ok(AppendAnswer::Ok));
        host.turn();
    }
    let cut_at = host.pipeline.cut_at.unwrap().tick;
    host.capture(cut_at, Cut::Delta);
    host.turn();
    host.write(Ok(()));
    assert_eq!(host.turn(), [format!("head {cut_at}")], "a part alone does not end it");
    host.write(Ok(()));
    assert_eq!(host.turn(), ["log WritesConfirmed", "capture confirmed"]);
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
