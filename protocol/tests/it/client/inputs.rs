//! Intents: numbered, repeated until confirmed, confirmed once.

use everhold_protocol::client::{Busy, Notice};
use everhold_protocol::limits::{FRAME_INTENTS_MAX, UNCONFIRMED_INTENTS_MAX};
use everhold_protocol::{Epoch, Heading, Intent, SnapshotHeader, Tick};

use super::script::{Attach, Script, header};

fn step() -> Intent {
    Intent::Move(Heading::new(127, 0).unwrap())
}

fn push(script: &mut Script, count: u32) -> Vec<u64> {
    (0..count)
        .map(|_| script.client.push_intent(script.now, step()).unwrap())
        .collect()
}

fn confirmed(notices: &[Notice]) -> Vec<u64> {
    let seq = |notice: &Notice| {
        if let Notice::Confirmed { seq } = notice {
            Some(*seq)
        } else {
            None
        }
    };
    notices.iter().filter_map(seq).collect()
}

fn applied(tick: Tick, last_input_seq: u64) -> SnapshotHeader {
    SnapshotHeader {
        last_input_seq,
        ..header(1, tick)
    }
}

#[test]
fn client_that_wants_nothing_new_tells_its_state_with_every_fourth_frame() {
    let (mut script, conn) = Script::attached();
    script.advance(0);
    assert_eq!(script.take_frames().len(), 1, "the first frame on a connection");
    script.snapshot(conn, header(1, Tick(107)));
    script.advance(199);
    assert_eq!(script.take_frames(), []);
    script.advance(1);
    let frames = script.take_frames();
    assert_eq!(frames.len(), 1);
    assert_eq!(
        (frames[0].epoch, frames[0].snapshot_tick, frames[0].intents.len()),
        (Epoch(1), Tick(107), 0)
    );
}

#[test]
fn intent_is_sent_with_the_next_frame_and_repeated_with_every_second_one_until_it_is_confirmed() {
    let (mut script, conn) = Script::attached();
    script.advance(0);
    script.take_frames();
    push(&mut script, 1);
    let mut sent_at = Vec::new();
    for ms in (50..=350).step_by(50) {
        script.advance(50);
        sent_at.extend(script.take_frames().iter().map(|frame| (ms, frame.intents.len())));
    }
    assert_eq!(sent_at, [(50, 1), (150, 1), (250, 1), (350, 1)]);
    script.snapshot(conn, applied(Tick(101), 1));
    push(&mut script, 1);
    script.advance(50);
    assert_eq!(script.take_frames()[0].intents[0].seq, 2, "what is new does not wait");
    script.snapshot(conn, applied(Tick(102), 2));
    script.advance(150);
    assert_eq!(script.take_frames(), []);
}

#[test]
fn intents_of_one_period_share_a_frame() {
    let (mut script, _) = Script::attached();
    script.advance(10);
    script.take_frames();
    assert_eq!(push(&mut script, 3), [1, 2, 3]);
    assert!(script.take_frames().is_empty());
    script.advance(40);
    let seqs: Vec<_> = script.take_frames()[0]
        .intents
        .iter()
        .map(|intent| intent.seq)
        .collect();
    assert_eq!(seqs, [1, 2, 3]);
}

#[test]
fn oldest_intents_are_repeated_until_confirmed() {
    let (mut script, conn) = Script::attached();
    push(&mut script, 12);
    script.advance(100);
    let frames = script.take_frames();
    assert_eq!(frames.len(), 2);
    for frame in frames {
        assert_eq!((frame.intents[0].seq, frame.intents.len()), (1, FRAME_INTENTS_MAX));
    }
    script.snapshot(conn, applied(Tick(101), 10));
    script.advance(50);
    let seqs: Vec<_> = script.take_frames()[0]
        .intents
        .iter()
        .map(|intent| intent.seq)
        .collect();
    assert_eq!(seqs, [11, 12]);
}

#[test]
fn input_is_confirmed_exactly_once_and_in_order() {
    let (mut script, conn) = Script::attached();
    push(&mut script, 5);
    for (tick, last) in [(101, 2), (102, 2), (103, 4), (103, 5), (102, 5), (104, 5)] {
        script.snapshot(conn, applied(Tick(tick), last));
    }
    assert_eq!(confirmed(&script.take_notices()), [1, 2, 3, 4, 5]);
    assert_eq!(script.client.mirror().last_confirmed, 5);
}

#[test]
fn inputs_that_the_next_owner_has_are_confirmed_and_the_others_repeated() {
    let (mut script, conn) = Script::attached();
    push(&mut script, 4);
    script.snapshot(conn, applied(Tick(101), 1));
    script.disconnected(conn, None);
    assert_eq!(push(&mut script, 1), [5], "a player may go on while between owners");
    let (next, _) = script.connect();
    script.connected(next);
    script.control(
        next,
        Attach {
            last_input_seq: 3,
            ..Attach::epoch(2)
        }
        .message(),
    );
    assert_eq!(confirmed(&script.take_notices()), [1, 2, 3]);
    script.take_frames();
    script.advance(0);
    let frame = &script.take_frames()[0];
    assert_eq!(
        (frame.epoch, frame.intents.iter().map(|intent| intent.seq).collect()),
        (Epoch(2), vec![4, 5])
    );
}

#[test]
fn inputs_confirmed_before_and_unknown_after_are_told_as_lost() {
    let (mut script, conn) = Script::attached();
    push(&mut script, 6);
    script.snapshot(conn, applied(Tick(101), 4));
    script.disconnected(conn, None);
    let (next, _) = script.connect();
    script.connected(next);
    script.take_notices();
    script.control(
        next,
        Attach {
            last_input_seq: 1,
            ..Attach::epoch(2)
        }
        .message(),
    );
    assert!(matches!(script.notices[0], Notice::Attached { lost_inputs: 3, .. }));
    script.advance(0);
    let seqs: Vec<_> = script.take_frames()[0]
        .intents
        .iter()
        .map(|intent| intent.seq)
        .collect();
    assert_eq!(seqs, [2, 3], "what is left follows what the zone has");
}

#[test]
fn counting_starts_at_what_the_session_has() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    script.control(
        conn,
        Attach {
            last_input_seq: 40,
            ..Attach::epoch(1)
        }
        .message(),
    );
    assert_eq!(push(&mut script, 2), [41, 42]);
}

#[test]
fn too_many_unconfirmed_intents_make_the_client_busy() {
    let (mut script, conn) = Script::attached();
    push(&mut script, UNCONFIRMED_INTENTS_MAX as u32);
    assert_eq!(script.client.push_intent(script.now, step()), Err(Busy));
    script.snapshot(conn, applied(Tick(101), 1));
    assert_eq!(push(&mut script, 1), [UNCONFIRMED_INTENTS_MAX as u64 + 1]);
}

#[test]
fn driver_that_comes_late_sends_one_frame() {
    let (mut script, conn) = Script::attached();
    script.snapshot(conn, header(1, Tick(101)));
    script.oversleep(240);
    script.advance(49);
    assert_eq!(script.take_frames().len(), 1);
}

#[test]
#[should_panic(expected = "an intent that no server takes")]
fn malformed_intent_is_the_callers_error() {
    let (mut script, _) = Script::attached();
    let _ = script.client.push_intent(script.now, Intent::Say(String::new()));
}
