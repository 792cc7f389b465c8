//! Events: once each, in order, across owners.

use everhold_protocol::Credential;
use everhold_protocol::client::Notice;

use super::script::{Attach, Script, gold, own};

/// Returns the events and the complaints about them.
fn told(script: &mut Script) -> Vec<Notice> {
    let of_events = |notice: &Notice| {
        matches!(
            notice,
            Notice::Event(_) | Notice::EventGap { .. } | Notice::EventsForgotten { .. } | Notice::EventRepeated { .. }
        )
    };
    script.take_notices().into_iter().filter(of_events).collect()
}

fn reattach(script: &mut Script, attach: Attach) -> everhold_protocol::client::ConnId {
    let (next, _) = script.connect();
    script.connected(next);
    script.control(next, attach.message());
    next
}

#[test]
fn events_are_told_once_and_acknowledged() {
    let (mut script, conn) = Script::attached();
    script.event(conn, gold(1, 60));
    script.event(conn, gold(2, 70));
    assert_eq!(
        told(&mut script),
        [Notice::Event(gold(1, 60)), Notice::Event(gold(2, 70))]
    );
    script.advance(0);
    assert_eq!(script.take_frames()[0].event_ack, 2);
    assert_eq!(script.client.mirror().own.gold, 70);
}

#[test]
fn missing_event_is_told() {
    let (mut script, conn) = Script::attached();
    script.event(conn, gold(1, 60));
    script.event(conn, gold(4, 90));
    let gap = Notice::EventGap { expected: 2, got: 4 };
    assert_eq!(
        told(&mut script),
        [Notice::Event(gold(1, 60)), gap, Notice::Event(gold(4, 90))]
    );
}

#[test]
fn repeat_in_the_middle_of_an_attach_is_told() {
    let (mut script, conn) = Script::attached();
    script.event(conn, gold(1, 60));
    script.event(conn, gold(1, 60));
    script.event(conn, gold(1, 61));
    let repeated = |same| Notice::EventRepeated { seq: 1, same };
    assert_eq!(
        told(&mut script),
        [Notice::Event(gold(1, 60)), repeated(true), repeated(false)]
    );
    assert_eq!(script.client.mirror().own.gold, 60);
}

#[test]
fn repeat_right_after_an_attach_is_dropped_if_it_says_the_same() {
    let (mut script, conn) = Script::attached();
    script.event(conn, gold(1, 60));
    script.event(conn, gold(2, 70));
    script.disconnected(conn, None);
    told(&mut script);
    let next = reattach(
        &mut script,
        Attach {
            event_seq: 3,
            ..Attach::epoch(2)
        },
    );
    script.event(next, gold(1, 60));
    script.event(next, gold(2, 71));
    script.event(next, gold(3, 80));
    script.event(next, gold(3, 80));
    let repeated = |seq, same| Notice::EventRepeated { seq, same };
    assert_eq!(
        told(&mut script),
        [repeated(2, false), Notice::Event(gold(3, 80)), repeated(3, true)]
    );
}

#[test]
fn resume_names_the_last_event_and_gets_the_missed_ones() {
    let (mut script, conn) = Script::attached();
    script.event(conn, gold(1, 60));
    script.disconnected(conn, None);
    let next = reattach(
        &mut script,
        Attach {
            event_seq: 3,
            ..Attach::epoch(2)
        },
    );
    assert!(matches!(script.hello(next), Credential::Resume { event_seq: 1, .. }));
    told(&mut script);
    script.event(next, gold(2, 70));
    script.event(next, gold(3, 80));
    assert_eq!(
        told(&mut script),
        [Notice::Event(gold(2, 70)), Notice::Event(gold(3, 80))]
    );
}

#[test]
fn session_that_has_fewer_events_than_before_is_told() {
    let (mut script, conn) = Script::attached();
    for seq in 1..=3 {
        script.event(conn, gold(seq, 50));
    }
    script.disconnected(conn, None);
    told(&mut script);
    let next = reattach(
        &mut script,
        Attach {
            event_seq: 1,
            ..Attach::epoch(2)
        },
    );
    script.event(next, gold(2, 65));
    script.event(next, gold(2, 50));
    let gap = Notice::EventGap { expected: 4, got: 2 };
    let repeated = Notice::EventRepeated { seq: 2, same: false };
    assert_eq!(told(&mut script), [gap, Notice::Event(gold(2, 65)), repeated]);
}

#[test]
fn login_into_a_session_with_a_past_has_no_gap() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    script.control(
        conn,
        Attach {
            event_seq: 40,
            events_forgotten: 38,
            ..Attach::epoch(1)
        }
        .message(),
    );
    for seq in 39..=41 {
        script.event(conn, gold(seq, 60));
    }
    assert_eq!(told(&mut script), [39, 40, 41].map(|seq| Notice::Event(gold(seq, 60))));
}

#[test]
fn login_into_a_session_that_has_forgotten_its_past_waits_for_nothing_of_it() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    script.control(
        conn,
        Attach {
            event_seq: 40,
            events_forgotten: 40,
            ..Attach::epoch(1)
        }
        .message(),
    );
    assert_eq!(script.client.mirror().event_seq, 40);
    script.advance(0);
    assert_eq!(script.take_frames()[0].event_ack, 40);
    script.event(conn, gold(42, 60));
    let gap = Notice::EventGap { expected: 41, got: 42 };
    assert_eq!(told(&mut script), [gap, Notice::Event(gold(42, 60))]);
}

#[test]
fn forgotten_events_are_told_as_such_and_the_purse_is_what_the_attach_says() {
    let (mut script, conn) = Script::attached();
    script.event(conn, gold(1, 60));
    script.disconnected(conn, None);
    told(&mut script);
    let mut own = own();
    own.gold = 500;
    let next = reattach(
        &mut script,
        Attach {
            event_seq: 9,
            events_forgotten: 8,
            own,
            ..Attach::epoch(2)
        },
    );
    script.event(next, gold(9, 500));
    let forgotten = Notice::EventsForgotten { from: 2, to: 8 };
    assert_eq!(told(&mut script), [forgotten, Notice::Event(gold(9, 500))]);
    let mirror = script.client.mirror();
    assert_eq!((mirror.own.gold, mirror.event_seq), (500, 9));
}

#[test]
fn session_that_forgot_only_what_was_heard_goes_on_without_a_word() {
    let (mut script, conn) = Script::attached();
    script.event(conn, gold(1, 60));
    script.event(conn, gold(2, 70));
    script.disconnected(conn, None);
    told(&mut script);
    let next = reattach(
        &mut script,
        Attach {
            event_seq: 3,
            events_forgotten: 1,
            ..Attach::epoch(2)
        },
    );
    script.event(next, gold(2, 70));
    script.event(next, gold(3, 80));
    assert_eq!(told(&mut script), [Notice::Event(gold(3, 80))]);
}

#[test]
fn login_that_brings_the_first_events_along_tells_them() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    script.control(
        conn,
        Attach {
            event_seq: 2,
            ..Attach::epoch(1)
        }
        .message(),
    );
    script.advance(0);
    assert_eq!(script.take_frames()[0].event_ack, 0, "they may still be under way");
    script.event(conn, gold(1, 30));
    script.event(conn, gold(2, 50));
    assert_eq!(
        told(&mut script),
        [Notice::Event(gold(1, 30)), Notice::Event(gold(2, 50))]
    );
    assert_eq!(
        (script.client.mirror().own.gold, script.client.mirror().event_seq),
        (50, 2)
    );
}

#[test]
fn event_on_a_connection_that_is_not_attached_is_not_taken() {
    let (mut script, _, [(first, _), _]) = Script::parked();
    script.event(first, gold(1, 60));
    assert_eq!(told(&mut script), []);
}
