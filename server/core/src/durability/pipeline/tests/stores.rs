//! Stores that do not answer, have less than they had, or lost everything.

use super::*;
use crate::durability::pipeline::creating::REFUSED_MAX;

#[test]
fn answer_that_was_lost_is_asked_for_with_the_same_records_after_a_while() {
    let mut host = Host::quiet();
    host.tick(2);
    assert_eq!(host.turn(), ["append 101..=102"]);
    // Each wait is twice as long as the one before it.
    for (ms, news) in [(10, &["log AppendFailed"][..]), (20, &[]), (40, &[])] {
        host.append(Err(unavailable()));
        assert_eq!(host.turn(), news, "an outage is said once");
        assert_eq!(host.turn_after(ms - 1), [""; 0]);
        assert_eq!(host.turn_after(1), ["append 101..=102"]);
    }
    host.append(Ok(AppendAnswer::Duplicate));
    let expected = [
        vec!["log AppendsConfirmed".to_owned(), "acknowledged 102".to_owned()],
        each("tell", 101..=102),
        each("show", 101..=102),
    ];
    assert_eq!(host.turn(), expected.concat());
}

#[test]
fn outage_is_said_again_after_half_a_minute_and_at_its_end() {
    let mut host = Host::quiet();
    host.tick(1);
    host.turn();
    let mut said = Vec::new();
    for _ in 0..31 {
        host.append(Err(unavailable()));
        said.extend(host.turn().into_iter().filter(|word| word.starts_with("log")));
        host.turn_after(1_000);
    }
    assert_eq!(said, ["log AppendFailed", "log AppendFailed"]);
    host.append(Ok(AppendAnswer::Ok));
    assert_eq!(host.turn()[0], "log AppendsConfirmed");
}

/// A zone of which ticks 101 to 110 are acknowledged, and the append of tick 111 is in flight.
fn ten_stored() -> Host {
    let mut host = Host::quiet();
    host.tick(10);
    host.turn();
    host.append(Ok(AppendAnswer::Ok));
    host.turn();
    host.tick(1);
    assert_eq!(host.turn(), ["append 111..=111"]);
    host
}

#[test]
fn gap_that_memory_reaches_over_is_sent_again() {
    let mut host = ten_stored();
    host.append(Ok(AppendAnswer::Gap { last: Tick(103) }));
    assert_eq!(host.turn(), ["log Resending", "append 104..=111"]);
    host.append(Ok(AppendAnswer::Ok));
    assert_eq!(host.turn(), ["acknowledged 111", "tell 111", "show 111"]);
}

#[test]
fn gap_beyond_the_ring_is_bridged_by_a_base_that_waits_for_no_release() {
    let mut host = ten_stored();
    host.append(Ok(AppendAnswer::Gap { last: Tick(50) }));
    assert_eq!(host.turn(), ["log Reseeding"]);
    host.tick(1);
    assert_eq!(host.turn(), ["cut base"]);
    host.tick_with(Some(frozen(Tick(113))));
    assert_eq!(host.turn(), ["encode 113"]);
    host.capture(Tick(113), Cut::Base);
    assert_eq!(host.turn(), ["part 0 of 113"], "nothing of it is acknowledged");
    host.write(Ok(()));
    assert_eq!(host.turn(), ["head 113"]);
    host.tick(1);
    host.write(Ok(()));
    let expected = [
        vec!["capture confirmed".to_owned(), "acknowledged 113".to_owned()],
        vec!["append 114..=114".to_owned()],
        each("tell", 111..=113),
        each("show", 111..=113),
    ];
    assert_eq!(
        host.turn(),
        expected.concat(),
        "the base stands for what the store lacks"
    );
}

#[test]
fn base_that_was_under_way_before_a_gap_does_not_bridge_it() {
    let mut host = Host::quiet();
    host.pipeline.checkpointer.handle_base_wanted();
    host.tick(1);
    assert_eq!(host.turn(), ["append 101..=101", "cut base"]);
    host.tick_with(Some(frozen(Tick(102))));
    host.append(Ok(AppendAnswer::Ok));
    host.turn();
    host.tick(1);
    host.append(Ok(AppendAnswer::Ok));
    host.turn();
    host.capture(Tick(102), Cut::Base);
    assert_eq!(host.turn(), ["part 0 of 102"]);
    host.append(Ok(AppendAnswer::Ok));
    host.write(Ok(()));
    host.tick(1);
    let words = host.turn();
    assert!(words.contains(&"head 102".to_owned()) && words.contains(&"append 104..=104".to_owned()));
    host.append(Ok(AppendAnswer::Gap { last: Tick(50) }));
    host.turn();
    host.write(Ok(()));
    assert_eq!(
        host.turn(),
        ["capture confirmed"],
        "tick 103 is acknowledged, and not in it"
    );
    host.tick(1);
    assert_eq!(host.turn(), ["cut base"], "another one follows at once");
}

#[test]
fn zone_that_stands_still_is_cut_all_the_same() {
    let mut host = Host::quiet();
    host.tick(UNACKNOWLEDGED_TICKS_MAX);
    host.turn();
    host.append(Ok(AppendAnswer::Gap { last: Tick(50) }));
    assert_eq!(host.turn(), ["log Reseeding", "alive", "cut base"]);
}

#[test]
fn zone_whose_records_were_lost_with_their_task_is_bridged_by_a_base_even_if_it_may_not_tick() {
    for missing in [1, 5, UNACKNOWLEDGED_TICKS_MAX] {
        let last = Position {
            tick: START.tick + missing,
            ..START
        };
        let mut host = Host::quiet();
        let journal = Journal::orphaned(Epoch(2), START, last);
        host.pipeline = Pipeline::new(config(Durability::Store, 50_000), journal, &[]);
        if missing < UNACKNOWLEDGED_TICKS_MAX {
            host.tick(1);
        }
        let turn = host.turn();
        assert!(turn.contains(&"cut base".to_owned()), "{missing} are missing: {turn:?}");
    }
}

#[test]
fn lost_data_set_is_made_anew_and_a_base_and_the_homes_follow() {
    let mut host = ten_stored();
    host.append(Err(StoreError::Lost));
    assert_eq!(host.turn(), ["log AppendFailed", "log DataSetLost", "create"]);
    host.tick(1);
    assert_eq!(
        host.turn_after(5_000),
        [""; 0],
        "one creation is in flight, and nothing is appended"
    );
    host.create(Err(unavailable()));
    assert_eq!(host.turn(), ["log CreateFailed"]);
    assert_eq!(host.turn_after(99), [""; 0]);
    assert_eq!(host.turn_after(1), ["create"]);
    host.create(Ok(()));
    assert_eq!(host.turn(), ["log Created", "roster"]);
    host.tick(1);
    assert_eq!(host.turn(), ["cut base"]);
}

#[test]
fn data_set_that_is_lost_for_a_checkpoint_is_made_anew_before_anything_else_is_written() {
    let mut host = Host::cut();
    host.capture(Tick(103), Cut::Delta);
    assert_eq!(host.turn(), ["part 0 of 103"]);
    host.write(Err(StoreError::Lost));
    assert_eq!(host.turn(), ["log WriteFailed", "log DataSetLost", "create"]);
    host.tick(2);
    assert_eq!(
        host.turn_after(1_000),
        ["append 104..=105"],
        "not even that the capture failed is said yet"
    );
    host.append(Err(StoreError::Lost));
    assert_eq!(host.turn(), ["log AppendFailed"], "it is being made anew already");
    host.create(Ok(()));
    host.tick(1);
    assert_eq!(host.turn(), ["capture failed", "cut base", "roster"]);
}

#[test]
fn base_that_is_refused_for_good_has_the_zone_go_on_from_memory_under_another_epoch() {
    let corrupt = || Err(StoreError::Corrupt("another record".to_owned()));
    let mut host = ten_stored();
    host.append(Err(StoreError::Lost));
    host.turn();
    host.create(Ok(()));
    host.turn();
    let began = host.now;
    let mut words = Vec::new();
    while !words.contains(&"end Refused".to_owned()) {
        let tick = host.pipeline.journal.last().tick.next();
        host.tick_with(Some(frozen(tick)));
        host.turn();
        host.capture(tick, Cut::Base);
        host.turn();
        host.write(Ok(()));
        let mut said = host.turn();
        // The zone, which ticks on, stands still for its store in the end.
        said.retain(|word| word != "alive");
        assert_eq!(said, [format!("head {tick}")]);
        host.write(corrupt());
        words = host.turn();
        while !words.iter().any(|word| word == "cut base" || word == "end Refused") {
            assert!(host.now - began <= 2 * REFUSED_MAX, "{words:?}");
            // What is given up is dropped first, and the next base is cut after a tick.
            host.tick(1);
            let said = host.turn_after(100);
            if said.iter().any(|word| word.starts_with("drop")) {
                host.write(Ok(()));
            }
            words.extend(said);
        }
    }
    assert!(host.now - began >= REFUSED_MAX, "once may be a race");
}

#[test]
fn creation_that_is_refused_for_good_has_the_zone_go_on_from_memory_under_another_epoch() {
    let mut host = ten_stored();
    host.append(Err(StoreError::Lost));
    host.turn();
    let began = host.now;
    loop {
        host.create(Err(StoreError::Corrupt("a hole".to_owned())));
        if host.turn().contains(&"end Refused".to_owned()) {
            break;
        }
        assert_eq!(host.turn_after(100).last().unwrap(), "create");
        assert!(host.now - began <= 2 * REFUSED_MAX);
    }
    assert!(host.now - began >= REFUSED_MAX);
}

#[test]
fn store_that_never_takes_what_it_asks_for_fills_the_ring() {
    let mut host = Host::quiet();
    host.tick(crate::limits::RING_RECORDS_MAX as u64);
    assert_eq!(host.turn(), ["alive", "append 101..=164"]);
    host.tick(1);
    assert_eq!(host.turn(), ["end RingFull"]);
}
