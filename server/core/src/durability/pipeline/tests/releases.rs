//! Release of outputs and snapshots: order, moment, and what is left out.

use super::*;

#[test]
fn burst_of_released_ticks_is_told_whole_and_only_its_end_is_shown() {
    for (ticks, shown_from) in [(1, 101), (4, 101), (5, 102), (30, 127)] {
        let mut host = Host::quiet();
        host.tick(ticks);
        let last = 100 + ticks;
        assert_eq!(host.turn(), [format!("append 101..={last}")], "nothing leaves before");
        host.append(Ok(AppendAnswer::Ok));
        let expected = [
            each("acknowledged", last..=last),
            each("tell", 101..=last),
            each("show", shown_from..=last),
        ];
        assert_eq!(host.turn(), expected.concat(), "{ticks} ticks at once");
    }
}

#[test]
fn at_async_what_is_shown_leaves_at_once_and_what_is_told_waits() {
    let mut host = Host::new(Durability::Async, 50_000);
    host.tick(1);
    assert_eq!(host.turn(), ["append 101..=101", "show 101"]);
    host.append(Ok(AppendAnswer::Ok));
    assert_eq!(host.turn(), ["acknowledged 101", "tell 101"]);
}

#[test]
fn at_async_too_a_gate_that_was_closed_for_long_shows_only_the_end() {
    let mut host = Host::new(Durability::Async, 50_000);
    host.lease = PAUSED;
    host.tick(9);
    assert_eq!(host.turn(), ["append 101..=109"]);
    host.lease = HELD;
    assert_eq!(host.turn(), each("show", 106..=109));
}

#[test]
fn nothing_leaves_while_the_gate_is_closed_and_the_records_go_on_to_the_store() {
    for level in [Durability::Async, Durability::Store] {
        let mut host = Host::new(level, 50_000);
        host.lease = PAUSED;
        assert_eq!(host.turn(), [""; 0], "{level}: the pause is noticed");
        host.tick(1);
        assert_eq!(host.turn(), ["append 101..=101"], "{level}");
        host.append(Ok(AppendAnswer::Ok));
        assert_eq!(host.turn(), ["acknowledged 101"], "{level}");
        assert_eq!(host.pipeline.released_tick(), Tick(100), "{level}");
        host.tick(1);
        assert_eq!(host.turn(), ["append 102..=102"], "{level}");
        host.append(Ok(AppendAnswer::Ok));
        host.lease = HELD;
        let expected = [
            each("acknowledged", 102..=102),
            each("tell", 101..=102),
            each("show", 101..=102),
        ];
        assert_eq!(host.turn(), expected.concat(), "{level}: nothing is lost");
    }
}

#[test]
fn pause_that_is_noticed_between_two_sendings_stops_the_second() {
    let mut host = Host::quiet();
    host.tick(2);
    host.turn();
    host.append(Ok(AppendAnswer::Ok));
    let sent = [HELD, HELD, PAUSED, HELD, HELD, PAUSED, HELD].map(|lease| host.poll_once(lease));
    let expected = [
        Some("acknowledged 102"),
        Some("tell 101"),
        None,
        Some("tell 102"),
        Some("show 101"),
        None,
        Some("show 102"),
    ];
    assert_eq!(sent.each_ref().map(Option::as_deref), expected);
}

#[test]
fn no_part_of_a_tick_is_written_while_the_gate_is_closed() {
    let mut host = Host::new(Durability::Store, 1);
    host.lease = PAUSED;
    host.tick(1);
    assert_eq!(host.turn(), ["append 101..=101", "cut delta"]);
    host.tick_with(Some(frozen(Tick(102))));
    host.turn();
    host.append(Ok(AppendAnswer::Ok));
    host.turn();
    host.append(Ok(AppendAnswer::Ok));
    host.capture(Tick(102), Cut::Delta);
    assert_eq!(host.turn(), ["acknowledged 102"]);
    host.lease = HELD;
    assert_eq!(host.turn()[0], "part 0 of 102");
}

#[test]
fn zone_that_holds_because_of_its_store_is_alive_at_every_turn() {
    let mut host = Host::quiet();
    host.tick(UNACKNOWLEDGED_TICKS_MAX - 1);
    assert_eq!(host.turn(), ["append 101..=139"]);
    host.tick(1);
    assert_eq!(host.turn(), ["alive"]);
    assert_eq!(host.turn_after(20), ["alive"]);
    host.append(Ok(AppendAnswer::Ok));
    host.turn();
    assert_eq!(host.turn_after(20), [""; 0], "one tick waits, and the zone ticks");
}

#[test]
fn zone_whose_tick_thread_owes_a_cut_does_not_hold_because_of_its_store() {
    let mut host = Host::quiet();
    host.tick(UNACKNOWLEDGED_TICKS_MAX);
    host.turn();
    host.append(Ok(AppendAnswer::Gap { last: Tick(50) }));
    assert_eq!(host.turn(), ["log Reseeding", "alive", "cut base"]);
    assert_eq!(
        host.turn_after(20),
        [""; 0],
        "a tick that does not end is to be noticed"
    );
    host.tick_with(Some(frozen(Tick(141))));
    assert_eq!(host.turn(), ["encode 141", "alive"]);
}
