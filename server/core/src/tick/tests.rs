//! A tick loop with the world that comes with the server, driven tick by tick without a clock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use everhold_protocol::{EntityId, Epoch, Heading, InputFrame, Intent, ReceivedFrame, SeqIntent, Snapshot};

use super::*;
use crate::game::RuleBook;
use crate::ingress::input::AttachToken;
use crate::ingress::{Birth, Join};
use crate::load::Rung;
use crate::ownership::Nonce;
use crate::zone::ZoneConfig;

const LAST: RecordHash = RecordHash([7; 32]);
const QUARANTINED: [(SessionId, u64); 2] = [(EntityId(11), 5), (EntityId(12), 6)];

const PERMITTED: TickConditions = TickConditions {
    may_act: true,
    acknowledged: Tick(0),
    room: 1,
};

fn config() -> ZoneConfig {
    let world = include_str!("../../../../assets/world.toml");
    ZoneConfig {
        name: "meadow".parse().unwrap(),
        seed: 7,
        tick_hz: 20,
        game: Arc::new(RuleBook::from_toml(world).unwrap()),
    }
}

fn start(rules_id: [u8; 32]) -> TickStart<'static> {
    TickStart {
        grant: Grant::issue(Epoch(3), Nonce(5)),
        rules_id,
        last: LAST,
        quarantine: &QUARANTINED,
        view: ViewConfig::default(),
        durability: Durability::Store,
    }
}

fn ticks() -> TickLoop {
    let config = config();
    TickLoop::new(Zone::new(config.clone()), &start(config.rules_id()))
}

/// A tick of a zone that has nothing to do.
fn tick(ticks: &mut TickLoop, entries: Vec<InboxEntry>) -> TickOut {
    ticks.step(entries.into_iter(), Tick(0), LadderState::IDLE, |_| {})
}

/// The inputs of a tick's record.
fn inputs(out: &TickOut) -> Vec<Input> {
    Record::decode(&out.record).unwrap().inputs
}

fn join(account: u64, token: u64) -> InboxEntry {
    InboxEntry::Input(Input::Join(Join {
        account: Account(account),
        ticket: token.to_le_bytes().repeat(2).try_into().unwrap(),
        ticket_forget_tick: Tick(1_000),
        secret: [0; 32],
        token: AttachToken(token),
        birth: Birth::Always,
    }))
}

/// The session that a tick attached a connection to.
fn attached(out: &TickOut, token: u64) -> SessionId {
    let of = |(asked, reply): &(AttachToken, Reply)| match reply {
        Reply::Attached(welcome) if asked.0 == token => Some(welcome.session),
        _ => None,
    };
    out.outputs.replies.iter().find_map(of).expect("the join is answered")
}

fn frame(session: SessionId, token: u64, seq: u64) -> InboxEntry {
    InboxEntry::Frame {
        session,
        token: AttachToken(token),
        frame: ReceivedFrame::from(InputFrame {
            epoch: Epoch(3),
            snapshot_tick: Tick(0),
            event_ack: 0,
            intents: vec![SeqIntent {
                seq,
                intent: Intent::Move(Heading::STILL),
            }],
        }),
    }
}

fn intents(out: &TickOut) -> Vec<u64> {
    let seq = |input: &Input| match input {
        Input::Intent { seq, .. } => Some(*seq),
        _ => None,
    };
    inputs(out).iter().filter_map(seq).collect()
}

#[test]
fn first_tick_begins_the_epoch_then_refuses_what_is_quarantined_then_takes_what_came() {
    let mut ticks = ticks();
    let first = tick(&mut ticks, vec![join(1, 1)]);
    let [start, one, two, joined] = &inputs(&first)[..] else {
        panic!("four inputs: {:?}", inputs(&first))
    };
    let expected = Input::EpochStart {
        epoch: Epoch(3),
        nonce: 5,
        rules_id: config().rules_id(),
    };
    assert_eq!(*start, expected);
    for (input, (session, seq)) in [one, two].into_iter().zip(QUARANTINED) {
        assert_eq!(*input, Input::Quarantine { session, seq });
    }
    assert!(matches!(joined, Input::Join(Join { .. })));
    assert!(inputs(&tick(&mut ticks, vec![])).is_empty(), "they are applied once");
}

#[test]
fn each_record_follows_the_one_before() {
    let mut ticks = ticks();
    let mut before = LAST;
    for number in (1..=3).map(Tick) {
        let out = tick(&mut ticks, vec![]);
        assert_eq!((out.record.tick, out.record.prev_hash), (number, before));
        assert_eq!((out.outputs.tick, ticks.tick()), (number, number));
        assert_eq!(Record::decode(&out.record).unwrap().epoch, Epoch(3));
        before = out.record.hash;
    }
}

#[test]
fn every_twentieth_record_has_the_digest_of_the_zone_before_it() {
    let mut ticks = ticks();
    let mut replayed = Zone::new(config());
    for number in 1..=41 {
        let out = tick(&mut ticks, if number == 10 { vec![join(1, 1)] } else { vec![] });
        let record = Record::decode(&out.record).unwrap();
        let expected = [20, 40].contains(&number).then(|| replayed.digest());
        assert_eq!(record.digest_before, expected, "tick {number}");
        replayed.step(&record.inputs);
    }
}

#[test]
fn zone_ticks_while_lease_store_and_durable_task_allow_it() {
    let mut ticks = ticks();
    for _ in 0..50 {
        tick(&mut ticks, vec![]);
    }
    let with = |acknowledged| TickConditions {
        acknowledged,
        ..PERMITTED
    };
    let no_lease = TickConditions {
        may_act: false,
        ..with(Tick(50))
    };
    let no_room = TickConditions {
        room: 0,
        ..with(Tick(50))
    };
    let table = [
        (with(Tick(50)), true, true),
        (with(Tick(11)), true, true),
        // 40 ticks are unacknowledged.
        (with(Tick(10)), false, true),
        (with(Tick(0)), false, true),
        (no_lease, false, false),
        (no_room, false, false),
    ];
    for (conditions, plain, _) in table {
        assert_eq!(ticks.may_tick(&conditions), plain, "{conditions:?}");
    }
    ticks.handle_order(TickOrder::Cut(Cut::Base));
    for (conditions, _, with_cut) in table {
        assert_eq!(ticks.may_tick(&conditions), with_cut, "{conditions:?} and a cut");
    }
    tick(&mut ticks, vec![]);
    assert!(!ticks.may_tick(&with(Tick(10))), "a cut is worth one tick");
}

#[test]
fn cut_is_made_once_at_the_end_of_the_tick_after_its_order() {
    let mut ticks = ticks();
    assert!(tick(&mut ticks, vec![]).frozen.is_none());
    ticks.handle_order(TickOrder::Cut(Cut::Base));
    let frozen = tick(&mut ticks, vec![join(1, 1)]).frozen.expect("a cut");
    assert!(tick(&mut ticks, vec![]).frozen.is_none());
    assert_eq!((frozen.tick, frozen.base), (Tick(2), true));
    let capture = frozen.encode();
    let restored = Zone::restore(config(), &[&capture.body]).unwrap();
    assert!(restored.session_of(Account(1)).is_some(), "the tick's inputs are in it");
}

#[test]
fn delta_follows_a_cut_that_is_confirmed_and_no_other() {
    for (order, base) in [(TickOrder::CaptureConfirmed, false), (TickOrder::CaptureFailed, true)] {
        let mut ticks = ticks();
        ticks.handle_order(TickOrder::Cut(Cut::Base));
        tick(&mut ticks, vec![]);
        ticks.handle_order(order);
        ticks.handle_order(TickOrder::Cut(Cut::Delta));
        let frozen = tick(&mut ticks, vec![]).frozen.expect("a cut");
        assert_eq!(frozen.base, base, "{order:?}");
    }
}

#[test]
fn roster_is_answered_at_once_and_nothing_else_is() {
    let mut ticks = ticks();
    tick(&mut ticks, vec![join(9, 1), join(4, 2)]);
    let accounts = Some(vec![Account(4), Account(9)]);
    assert_eq!(ticks.handle_order(TickOrder::Roster), accounts);
    for order in [
        TickOrder::Cut(Cut::Base),
        TickOrder::CaptureConfirmed,
        TickOrder::CaptureFailed,
        TickOrder::Seal(Cut::Base),
    ] {
        assert_eq!(ticks.handle_order(order), None, "{order:?}");
    }
}

#[test]
fn sealed_zone_is_cut_without_another_tick() {
    let mut ticks = ticks();
    tick(&mut ticks, Vec::new());
    ticks.handle_order(TickOrder::Cut(Cut::Base));
    assert!(ticks.poll_cut().is_none(), "the next tick takes it");
    ticks.handle_order(TickOrder::Seal(Cut::Base));
    let sealed = tick(&mut ticks, Vec::new()).frozen.expect("a cut");
    ticks.handle_order(TickOrder::CaptureFailed);
    for again in [TickOrder::Cut(Cut::Base), TickOrder::Seal(Cut::Base)] {
        assert!(ticks.poll_cut().is_none());
        ticks.handle_order(again);
        let frozen = ticks.poll_cut().expect("a cut");
        assert_eq!((frozen.tick, frozen.base), (sealed.tick, true));
        assert!(ticks.is_sealed() && !ticks.may_tick(&PERMITTED));
        ticks.handle_order(TickOrder::CaptureFailed);
    }
}

#[test]
fn sealed_zone_has_had_its_last_tick() {
    let mut ticks = ticks();
    tick(&mut ticks, vec![]);
    ticks.handle_order(TickOrder::Seal(Cut::Base));
    assert!(!ticks.is_sealed() && ticks.may_tick(&PERMITTED), "one more tick");
    assert!(
        tick(&mut ticks, vec![])
            .frozen
            .is_some_and(|frozen| frozen.tick == Tick(2))
    );
    assert!(ticks.is_sealed() && !ticks.may_tick(&PERMITTED));
    let further = catch_unwind(AssertUnwindSafe(|| tick(&mut ticks, vec![])));
    assert!(further.is_err());
    assert_eq!(ticks.into_zone().tick(), Tick(2));
}

#[test]
fn stages_are_marked_in_their_order_and_the_capture_only_if_there_is_one() {
    let mut ticks = ticks();
    let mut stages = Vec::new();
    ticks.step(std::iter::empty(), Tick(0), LadderState::IDLE, |stage| {
        stages.push(stage)
    });
    let [drain, freeze, step, scene, snapshots] = stages[..] else {
        panic!("five stages: {stages:?}")
    };
    assert_eq!([drain, freeze], [TickStage::Drain, TickStage::Freeze]);
    assert_eq!(
        [step, scene, snapshots],
        [TickStage::Step, TickStage::Scene, TickStage::Snapshots]
    );
    ticks.handle_order(TickOrder::Cut(Cut::Base));
    let mut with_cut = Vec::new();
    ticks.step(std::iter::empty(), Tick(0), LadderState::IDLE, |stage| {
        with_cut.push(stage)
    });
    stages.push(TickStage::Capture);
    assert_eq!(with_cut, stages);
}

#[test]
fn frames_count_from_the_tick_after_the_attach_and_no_longer_once_it_is_superseded() {
    let mut ticks = ticks();
    let first = tick(&mut ticks, vec![join(1, 1)]);
    let session = attached(&first, 1);
    assert_eq!(ticks.attached(), 1);
    assert_eq!(
        intents(&tick(&mut ticks, vec![frame(session, 1, 1), frame(session, 2, 1)])),
        [1]
    );
    let second = tick(&mut ticks, vec![join(1, 2)]);
    assert_eq!(attached(&second, 2), session);
    let after = tick(&mut ticks, vec![frame(session, 1, 2), frame(session, 2, 2)]);
    assert_eq!(intents(&after), [2]);
    assert!(intents(&tick(&mut ticks, vec![frame(session, 1, 3)])).is_empty());
    assert_eq!(ticks.attached(), 1, "one session, whatever speaks for it");
}

#[test]
fn players_are_shown_epoch_tick_and_speed_as_often_as_the_load_allows() {
    let slow = LadderState {
        rung: Rung::Slower,
        stretch_permille: 1_250,
        strain_permille: 990,
    };
    for (ladder_state, speed, shown) in [(LadderState::IDLE, 255, 8), (slow, 204, 4)] {
        let mut ticks = ticks();
        tick(&mut ticks, vec![join(1, 1)]);
        // A newcomer is shown everything twice, whatever the load.
        for _ in 0..10 {
            ticks.step(std::iter::empty(), Tick(0), ladder_state, |_| {});
        }
        let mut count = 0;
        for _ in 0..8 {
            let out = ticks.step(std::iter::empty(), Tick(0), ladder_state, |_| {});
            for (_, datagram) in out.snapshots.iter() {
                let header = Snapshot::decode(datagram).unwrap().header;
                assert_eq!(
                    (header.epoch, header.tick, header.dilation),
                    (Epoch(3), out.outputs.tick, speed)
                );
                count += 1;
            }
        }
        assert_eq!(count, shown, "{ladder_state:?}");
    }
}

#[test]
fn tick_that_fails_is_named_and_its_zone_is_never_stepped_again() {
    let mut ticks = ticks();
    tick(&mut ticks, vec![]);
    // An epoch that is over cannot begin again.
    let begun = Input::EpochStart {
        epoch: Epoch(3),
        nonce: 5,
        rules_id: config().rules_id(),
    };
    for _ in 0..2 {
        let entries = vec![InboxEntry::Input(begun.clone())];
        let outcome = catch_unwind(AssertUnwindSafe(|| tick(&mut ticks, entries)));
        assert!(outcome.is_err());
        assert_eq!(ticks.tick(), Tick(2));
    }
}

#[test]
fn players_are_told_what_of_a_tick_is_confirmed_when_it_is_shown() {
    for (durability, unconfirmed) in [(Durability::Async, [1, 2, 1]), (Durability::Store, [0; 3])] {
        let config = config();
        let start = TickStart {
            durability,
            ..start(config.rules_id())
        };
        let mut ticks = TickLoop::new(Zone::new(config), &start);
        let mut entries = vec![join(1, 1)];
        for (acknowledged, unconfirmed) in [0, 0, 2].map(Tick).into_iter().zip(unconfirmed) {
            let out = ticks.step(entries.drain(..), acknowledged, LadderState::IDLE, |_| {});
            let (_, datagram) = out.snapshots.iter().next().expect("the player is shown something");
            let header = Snapshot::decode(datagram).unwrap().header;
            assert_eq!(
                (header.unconfirmed_ticks, header.confirmed()),
                (unconfirmed, out.confirmed)
            );
        }
    }
}
