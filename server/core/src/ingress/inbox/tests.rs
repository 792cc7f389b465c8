//! The inbox: entries that become inputs of a record, and entries that are dropped.

use everhold_protocol::{Account, Epoch, Heading, InputFrame, Intent, SeqIntent, Tick};

use super::*;
use crate::ingress::{Birth, Join};

const SESSION: SessionId = SessionId::new(1, 1);
const OTHER: SessionId = SessionId::new(1, 2);
const TOKEN: AttachToken = AttachToken(10);
const NEWER: AttachToken = AttachToken(11);

fn attached() -> Inbox {
    let mut inbox = Inbox::new();
    inbox.note_attached(SESSION, TOKEN, 0);
    assert_eq!(acks(&drain(&mut inbox, [ack(0)])), [0]);
    inbox
}

/// Returns a frame of `session` with the intents `seqs`.
fn frame_of(session: SessionId, token: AttachToken, seqs: impl Iterator<Item = u64>, event_ack: u64) -> InboxEntry {
    let intents = seqs
        .map(|seq| SeqIntent {
            seq,
            intent: Intent::Move(Heading::STILL),
        })
        .collect();
    InboxEntry::Frame {
        session,
        token,
        frame: InputFrame {
            epoch: Epoch(1),
            snapshot_tick: Tick(0),
            event_ack,
            intents,
        }
        .into(),
    }
}

fn frame(seqs: impl Iterator<Item = u64>) -> InboxEntry {
    frame_of(SESSION, TOKEN, seqs, 0)
}

fn ack(event_ack: u64) -> InboxEntry {
    frame_of(SESSION, TOKEN, 0..0, event_ack)
}

fn drain(inbox: &mut Inbox, entries: impl IntoIterator<Item = InboxEntry>) -> Vec<Input> {
    let mut out = Vec::new();
    inbox.drain(entries.into_iter(), &mut out);
    out
}

/// Returns the numbers of the intents among `inputs`.
fn seqs(inputs: &[Input]) -> Vec<u64> {
    inputs
        .iter()
        .filter_map(|input| {
            if let Input::Intent { seq, .. } = input {
                Some(*seq)
            } else {
                None
            }
        })
        .collect()
}

fn acks(inputs: &[Input]) -> Vec<u64> {
    let ack = |input: &Input| {
        if let Input::EventAck { event_seq, .. } = input {
            Some(*event_seq)
        } else {
            None
        }
    };
    inputs.iter().filter_map(ack).collect()
}

fn epoch_start() -> Input {
    Input::EpochStart {
        epoch: Epoch(2),
        nonce: 3,
        rules_id: [0; 32],
    }
}

fn join(ticket: u8) -> Input {
    Input::Join(Join {
        account: Account(1),
        ticket: [ticket; 16],
        ticket_forget_tick: Tick(9),
        secret: [0; 32],
        token: TOKEN,
        birth: Birth::Always,
    })
}

#[test]
fn repeated_intents_enter_one_record_only() {
    let mut inbox = attached();
    assert_eq!(seqs(&drain(&mut inbox, [frame(1..4), frame(1..5)])), [1, 2, 3, 4]);
    assert_eq!(seqs(&drain(&mut inbox, [frame(1..6)])), [5]);
    assert_eq!(inbox.counters().repeats, 3 + 4);
}

#[test]
fn intents_after_a_gap_wait_for_what_is_missing() {
    let mut inbox = attached();
    assert_eq!(seqs(&drain(&mut inbox, [frame(1..2), frame(3..5)])), [1]);
    assert_eq!(seqs(&drain(&mut inbox, [frame(2..5)])), [2, 3, 4]);
    assert_eq!(inbox.counters().gaps, 2);
}

#[test]
fn counting_goes_on_where_the_zone_stands() {
    let mut inbox = Inbox::new();
    inbox.note_attached(SESSION, TOKEN, 41);
    assert_eq!(seqs(&drain(&mut inbox, [frame(40..44)])), [42, 43]);
}

#[test]
fn frames_of_a_superseded_connection_are_dropped() {
    let mut inbox = attached();
    inbox.note_attached(SESSION, NEWER, 0);
    inbox.note_detached(SESSION, TOKEN);
    let inputs = drain(&mut inbox, [frame(1..3), frame_of(SESSION, NEWER, 1..2, 0)]);
    assert_eq!(seqs(&inputs), [1]);
    assert_eq!(inbox.counters().stale_frames, 1);
}

#[test]
fn frames_after_a_detach_are_dropped_in_the_same_tick() {
    let mut inbox = attached();
    let detach = InboxEntry::Input(Input::Detach {
        session: SESSION,
        token: TOKEN,
    });
    let inputs = drain(&mut inbox, [frame(1..2), detach, frame(2..3)]);
    assert_eq!(seqs(&inputs), [1]);
    assert_eq!(inputs.len(), 2, "the detach itself is an input");
}

#[test]
fn new_epoch_forgets_every_attach() {
    let mut inbox = attached();
    assert_eq!(
        drain(&mut inbox, [InboxEntry::Input(epoch_start()), frame(1..2)]),
        [epoch_start()]
    );
    inbox.note_attached(SESSION, TOKEN, 0);
    assert_eq!(seqs(&drain(&mut inbox, [frame(1..2)])), [1]);
}

#[test]
fn order_is_the_order_of_arrival() {
    let mut inbox = attached();
    inbox.note_attached(OTHER, NEWER, 0);
    let entries = [
        frame_of(OTHER, NEWER, 1..2, 0),
        InboxEntry::Input(join(1)),
        frame(1..2),
        InboxEntry::Input(join(2)),
        frame_of(OTHER, NEWER, 1..3, 0),
    ];
    let still = |session, seq| Input::Intent {
        session,
        seq,
        intent: Intent::Move(Heading::STILL),
    };
    let expected = [still(OTHER, 1), join(1), still(SESSION, 1), join(2), still(OTHER, 2)];
    assert_eq!(drain(&mut inbox, entries), expected);
}

#[test]
fn attach_that_was_withdrawn_before_its_turn_is_dropped() {
    let mut inbox = Inbox::new();
    let asked = [1, 2, 3].map(|_| Asked::default());
    let attaches = [0, 1, 2].map(|n| InboxEntry::Attach {
        input: join(n as u8 + 1),
        asked: asked[n].clone(),
    });
    asked[0].withdraw();
    asked[1].withdraw();
    assert_eq!(drain(&mut inbox, attaches), [join(3)]);
    assert_eq!(inbox.counters().withdrawn, 2);
}

#[test]
fn one_session_cannot_fill_a_tick() {
    let mut inbox = attached();
    let eager = |n: u64| frame(n * 8 + 1..n * 8 + 9);
    let limit = u64::try_from(TICK_SESSION_INTENTS_MAX).expect("a small limit");
    assert_eq!(
        seqs(&drain(&mut inbox, (0..4).map(eager))),
        (1..=limit).collect::<Vec<_>>()
    );
    assert_eq!(inbox.counters().over_session_limit, 32 - limit);
    assert_eq!(
        seqs(&drain(&mut inbox, [eager(2)])),
        (17..25).collect::<Vec<_>>(),
        "what was cut comes with a repeat"
    );
}

#[test]
fn full_tick_leaves_the_rest_to_the_next_in_order() {
    let mut inbox = Inbox::new();
    let mut waiting = (0..25_000).map(|n| {
        InboxEntry::Input(Input::EventAck {
            session: SESSION,
            event_seq: n,
        })
    });
    let mut first = Vec::new();
    inbox.drain(waiting.by_ref(), &mut first);
    let mut second = Vec::new();
    inbox.drain(waiting, &mut second);
    assert!(
        first.len() <= TICK_INPUTS_MAX && first.len() > TICK_INPUTS_MAX - FRAME_INTENTS_MAX - 2,
        "{}",
        first.len()
    );
    assert_eq!(acks(&[first, second].concat()), (0..25_000).collect::<Vec<_>>());
    assert_eq!(inbox.counters().full_drains, 1);
}

#[test]
fn flood_of_repeats_cannot_hold_a_tick() {
    let mut inbox = attached();
    let mut flood = std::iter::repeat_with(|| frame(0..1));
    assert_eq!(drain(&mut inbox, flood.by_ref()), []);
    assert_eq!(inbox.counters().repeats, TICK_ENTRIES_MAX as u64);
}

#[test]
fn acknowledgement_of_many_events_is_an_input_at_once() {
    let mut inbox = attached();
    assert_eq!(
        acks(&drain(&mut inbox, [ack(7), ack(8), ack(9), ack(15), ack(16)])),
        [8, 16]
    );
}

#[test]
fn acknowledgement_of_few_events_waits_a_second() {
    let mut inbox = attached();
    let put: Vec<u32> = (1..=45)
        .map(|_| acks(&drain(&mut inbox, [ack(3)])).len() as u32)
        .collect();
    assert_eq!(put.iter().sum::<u32>(), 1);
    assert_eq!(put.iter().position(|&n| n == 1), Some(19));
}

#[test]
fn acknowledgement_that_goes_back_is_no_input() {
    let mut inbox = attached();
    assert_eq!(acks(&drain(&mut inbox, [ack(20), ack(5), ack(20)])), [20]);
}

#[test]
fn first_frame_of_a_connection_is_an_input_whatever_it_says() {
    let mut inbox = Inbox::new();
    inbox.note_attached(SESSION, TOKEN, 0);
    assert_eq!(acks(&drain(&mut inbox, [ack(0), ack(0)])), [0]);
    inbox.note_attached(SESSION, NEWER, 0);
    let intent_first = [frame_of(SESSION, NEWER, 1..2, 3), frame_of(SESSION, NEWER, 1..2, 3)];
    let inputs = drain(&mut inbox, intent_first);
    assert_eq!(
        (seqs(&inputs), acks(&inputs)),
        (vec![1], vec![]),
        "an intent says as much"
    );
}

#[test]
fn what_is_no_intent_enters_the_record_under_its_number() {
    let mut inbox = attached();
    let InboxEntry::Frame {
        session,
        token,
        mut frame,
    } = frame(1..4)
    else {
        unreachable!("a frame")
    };
    frame.intents[1].intent = Err(everhold_protocol::IntentError::ZeroAmount);
    let inputs = drain(&mut inbox, [InboxEntry::Frame { session, token, frame }]);
    assert_eq!(seqs(&inputs), [1, 3]);
    assert_eq!(inputs[1], Input::Invalid { session, seq: 2 });
}

#[test]
fn frames_after_a_log_out_are_dropped_in_the_same_tick() {
    let mut inbox = attached();
    let logout = Input::Logout {
        session: SESSION,
        token: TOKEN,
    };
    assert_eq!(
        drain(&mut inbox, [InboxEntry::Input(logout.clone()), frame(1..2)]),
        [logout]
    );
}
