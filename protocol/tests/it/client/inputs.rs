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

/// A snapshot whose last ticks are not stored yet.
fn unconfirmed(tick: Tick, unconfirmed_ticks: u16, last_input_seq: u64) -> SnapshotHeader {
    SnapshotHeader {
        unconfirmed_ticks,
        ..applied(tick, last_input_seq)
    }
}

fn next_seqs(script: &mut Script) -> Vec<u64> {
    script.take_frames();
    script.advance(100);
    let intents = script.take_frames().into_iter().next().map(|frame| frame.intents);
    let seqs = intents.iter().flatten().map(|intent| intent.seq);
    seqs.collect()
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
fn input_is_confirmed_when_the_tick_is_stored_that_had_it_applied() {
    let (mut script, conn) = Script::attached();
    push(&mut script, 3);
    for (tick, unconfirmed_ticks, last, expected) in [
        (101, 1, 1, vec![]),
        (102, 2, 1, vec![]),
        (103, 3, 3, vec![]),
        // Tick 101 is stored, and so is the input that it had applied, but not those of tick 103.
        (104, 3, 3, vec![1]),
        (105, 3, 3, vec![]),
        (106, 3, 3, vec![2, 3]),
        (107, 0, 3, vec![]),
    ] {
        script.snapshot(conn, unconfirmed(Tick(tick), unconfirmed_ticks, last));
        assert_eq!(confirmed(&script.take_notices()), expected, "tick {tick}");
    }
    assert_eq!(script.client.mirror().last_confirmed, 3);
}

#[test]
fn owner_is_not_sent_again_what_it_has_applied_and_not_stored() {
    let (mut script, conn) = Script::attached();
    push(&mut script, 3);
    assert_eq!(next_seqs(&mut script), [1, 2, 3]);
    script.snapshot(conn, unconfirmed(Tick(101), 1, 2));
    assert_eq!(next_seqs(&mut script), [3]);
    script.snapshot(conn, unconfirmed(Tick(102), 2, 3));
    assert_eq!(next_seqs(&mut script), [0; 0]);
    push(&mut script, 1);
    assert_eq!(next_seqs(&mut script), [4]);
    assert_eq!(confirmed(&script.take_notices()), [0; 0]);
}

#[test]
fn input_that_was_shown_and_lost_with_its_owner_is_sent_to_the_next_one_under_its_number() {
    let (mut script, conn) = Script::attached();
    push(&mut script, 4);
    script.snapshot(conn, unconfirmed(Tick(101), 1, 1));
    script.snapshot(conn, unconfirmed(Tick(102), 1, 3));
    assert_eq!(confirmed(&script.take_notices()), [1]);
    script.disconnected(conn, None);
    let (next, _) = script.connect();
    script.connected(next);
    script.take_notices();
    let attach = Attach {
        last_input_seq: 2,
        ..Attach::epoch(2)
    };
    script.control(next, attach.message());
    let notices = script.take_notices();
    assert!(matches!(notices[0], Notice::Attached { lost_inputs: 0, .. }));
    assert_eq!(confirmed(&notices), [2], "an attach is told when it is stored");
    assert_eq!(next_seqs(&mut script), [3, 4]);
    // Ticks of the earlier owner confirm nothing of the next one.
    script.snapshot(
        next,
        SnapshotHeader {
            epoch: Epoch(2),
            ..unconfirmed(Tick(201), 1, 3)
        },
    );
    assert_eq!(confirmed(&script.take_notices()), [0; 0]);
    script.snapshot(
        next,
        SnapshotHeader {
            epoch: Epoch(2),
            ..unconfirmed(Tick(202), 1, 4)
        },
    );
    assert_eq!(confirmed(&script.take_notices()), [3]);
}

#[test]
fn client_whose_owner_stores_nothing_is_busy_after_as_many_intents_as_ever() {
    let (mut script, conn) = Script::attached();
    let count = u16::try_from(UNCONFIRMED_INTENTS_MAX).unwrap();
    for at in 1..=count {
        push(&mut script, 1);
        script.snapshot(conn, unconfirmed(Tick(100 + u64::from(at)), at, at.into()));
    }
    assert_eq!(script.client.push_intent(script.now, step()), Err(Busy));
    script.snapshot(conn, unconfirmed(Tick(101 + u64::from(count)), count, count.into()));
    assert_eq!(confirmed(&script.take_notices()), [1]);
    push(&mut script, 1);
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
