//! Datagrams and intents: packed values come back, malformed ones are refused, and nothing panics.

use everhold_protocol::limits::{CHAT_BYTES_MAX, DATAGRAM_BYTES_MAX, FRAME_INTENTS_MAX};
use everhold_protocol::text::{self, TextError};
use everhold_protocol::{
    DecodeError, EntityId, EntityKind, EntityUpdate, EntityView, Epoch, Heading, InputFrame, Intent, IntentError, Item,
    Reader, SeqIntent, Snapshot, SnapshotHeader, Tick, Velocity, Writer, value_digest,
};
use proptest::prelude::*;

use super::strategy;

fn packed(intent: &Intent) -> Vec<u8> {
    let mut bytes = Vec::new();
    intent.encode(&mut Writer::new(&mut bytes));
    bytes
}

fn unpacked(bytes: &[u8]) -> Result<Intent, DecodeError> {
    let mut from = Reader::new(bytes);
    let intent = Intent::decode(&mut from)?;
    from.finish().map(|()| intent)
}

fn frame_of(intents: usize) -> InputFrame {
    let intent = Intent::Say("x".repeat(CHAT_BYTES_MAX));
    let intents = (1..)
        .take(intents)
        .map(|seq| SeqIntent {
            seq,
            intent: intent.clone(),
        })
        .collect();
    InputFrame {
        epoch: Epoch(u32::MAX),
        snapshot_tick: Tick(u64::MAX),
        event_ack: u64::MAX,
        intents,
    }
}

#[test]
fn heading_beyond_full_speed_is_refused() {
    let bytes = packed(&Intent::Move(Heading::STILL));
    let fast = [bytes[0], 127, 127];
    let error = IntentError::HeadingTooLong { dx: 127, dy: 127 };
    assert_eq!(unpacked(&fast), Err(error.into()));
}

#[test]
fn gift_of_no_gold_is_refused() {
    let bytes = packed(&Intent::GiveGold {
        to: EntityId(5),
        amount: 0,
    });
    assert_eq!(unpacked(&bytes), Err(IntentError::ZeroAmount.into()));
}

#[test]
fn chat_with_control_characters_or_nothing_or_too_much_is_refused() {
    for text in ["", "a\u{1b}[2J", "line\nline", &"é".repeat(CHAT_BYTES_MAX / 2 + 1)] {
        let mut bytes = vec![packed(&Intent::Say("x".into()))[0], text.len() as u8];
        bytes.extend_from_slice(text.as_bytes());
        let error = IntentError::Text(text::check(text).unwrap_err());
        assert_eq!(unpacked(&bytes), Err(error.into()), "{text:?}");
    }
}

#[test]
fn chat_that_is_not_utf8_is_refused() {
    let tag = packed(&Intent::Say("x".into()))[0];
    let error = IntentError::Text(TextError::Utf8);
    assert_eq!(unpacked(&[tag, 2, 0xc3, 0x28]), Err(error.into()));
}

#[test]
fn unknown_intent_is_refused() {
    assert_eq!(unpacked(&[99]), Err(IntentError::UnknownKind { tag: 99 }.into()));
}

#[test]
fn largest_frame_fits_a_datagram() {
    let mut bytes = Vec::new();
    frame_of(FRAME_INTENTS_MAX).encode(&mut bytes);
    assert!(bytes.len() <= InputFrame::BYTES_MAX && InputFrame::BYTES_MAX <= DATAGRAM_BYTES_MAX);
}

#[test]
fn of_too_many_intents_the_first_are_read() {
    let mut bytes = Vec::new();
    let frame = frame_of(FRAME_INTENTS_MAX);
    frame.encode(&mut bytes);
    Intent::Move(Heading::STILL).encode(&mut Writer::new(&mut bytes));
    assert_eq!(InputFrame::decode(&bytes), Ok(frame.into()));
}

/// Returns a frame of three intents, of which the middle one is these bytes.
fn frame_around(middle: &[u8]) -> Vec<u8> {
    let go = packed(&Intent::Move(Heading::new(0, 100).unwrap()));
    [&[InputFrame::KIND, 1, 1, 1, 7], &go[..], middle, &go[..]].concat()
}

fn read(bytes: &[u8]) -> Vec<(u64, Result<Intent, IntentError>)> {
    let frame = InputFrame::decode(bytes).unwrap();
    frame
        .intents
        .into_iter()
        .map(|SeqIntent { seq, intent }| (seq, intent))
        .collect()
}

#[test]
fn bad_intent_spoils_neither_its_frame_nor_its_neighbours() {
    let go = Intent::Move(Heading::new(0, 100).unwrap());
    let [steer, give, say] = [
        packed(&go)[0],
        packed(&Intent::GiveGold {
            to: EntityId(5),
            amount: 1,
        })[0],
        packed(&Intent::Say("x".into()))[0],
    ];
    let bad: [(&[u8], IntentError); 4] = [
        (&[steer, 127, 127], IntentError::HeadingTooLong { dx: 127, dy: 127 }),
        (&[give, 0, 5, 0], IntentError::ZeroAmount),
        (&[say, 1, 7], IntentError::Text(TextError::Character('\u{7}'))),
        (&[say, 2, 0xc3, 0x28], IntentError::Text(TextError::Utf8)),
    ];
    for (bytes, error) in bad {
        let frame = frame_around(bytes);
        assert_eq!(
            read(&frame),
            [(7, Ok(go.clone())), (8, Err(error)), (9, Ok(go.clone()))]
        );
    }
}

#[test]
fn behind_a_kind_that_is_unknown_nothing_is_read() {
    let go = Intent::Move(Heading::new(0, 100).unwrap());
    let unknown = Err(IntentError::UnknownKind { tag: 99 });
    assert_eq!(read(&frame_around(&[99, 1, 2])), [(7, Ok(go)), (8, unknown)]);
}

#[test]
fn frame_that_cannot_be_made_out_is_refused_whole() {
    let steer = packed(&Intent::Move(Heading::STILL))[0];
    let mut cut = frame_around(&[]);
    cut.pop();
    assert_eq!(InputFrame::decode(&cut), Err(DecodeError::Truncated));
    let strike = packed(&Intent::Strike { target: EntityId(5) })[0];
    assert_eq!(
        InputFrame::decode(&frame_around(&[strike, 0x80, 0, 5])),
        Err(DecodeError::Varint)
    );
    assert_eq!(
        InputFrame::decode(&[InputFrame::KIND, 1, 1, 1, 7, steer, 0]),
        Err(DecodeError::Truncated)
    );
}

#[test]
fn frame_that_counts_from_zero_or_past_the_end_is_refused() {
    for first in [0, u64::MAX] {
        let mut bytes = vec![InputFrame::KIND, 1, 1, 1];
        let mut out = Writer::new(&mut bytes);
        out.varint(first);
        Intent::Move(Heading::STILL).encode(&mut out);
        Intent::Move(Heading::STILL).encode(&mut out);
        assert_eq!(InputFrame::decode(&bytes), Err(DecodeError::Sequence), "{first}");
    }
}

#[test]
fn datagrams_of_the_other_kind_are_refused() {
    assert!(matches!(
        InputFrame::decode(&[SnapshotHeader::KIND]),
        Err(DecodeError::UnknownTag { .. })
    ));
    assert!(matches!(
        Snapshot::decode(&[InputFrame::KIND]),
        Err(DecodeError::UnknownTag { .. })
    ));
}

fn snapshot_of(updates: Vec<EntityUpdate>) -> Snapshot {
    Snapshot {
        header: SnapshotHeader {
            epoch: Epoch(1),
            tick: Tick(1_000),
            unconfirmed_ticks: 0,
            dilation: 255,
            last_input_seq: 1,
            event_seq: 1,
            x: 70_000,
            y: -70_000,
            hp: 100,
            value_digest: 5,
        },
        id_range: 1,
        updates,
    }
}

fn walker(x: i32, y: i32) -> EntityUpdate {
    let view = EntityView {
        id: EntityId::new(1, 300),
        kind: EntityKind::Player,
        x,
        y,
        health: 254,
    };
    EntityUpdate::Seen(view, Velocity { dx: 25, dy: -1 })
}

#[test]
fn snapshot_that_ends_inside_a_record_is_refused() {
    let mut bytes = Vec::new();
    snapshot_of(vec![walker(70_000, -70_000)]).encode(&mut bytes);
    bytes.pop();
    assert_eq!(Snapshot::decode(&bytes), Err(DecodeError::Truncated));
}

#[test]
fn place_is_read_as_the_one_nearest_to_the_viewer() {
    let far = EntityUpdate::DISTANCE_CM_MAX;
    for (dx, dy) in [(far, -far), (-far, far), (0, 0), (1, -1)] {
        let snapshot = snapshot_of(vec![walker(70_000 + dx, -70_000 + dy)]);
        let mut bytes = Vec::new();
        snapshot.encode(&mut bytes);
        assert_eq!(Snapshot::decode(&bytes), Ok(snapshot));
    }
}

#[test]
fn record_of_one_who_stands_unhurt_takes_seven_bytes() {
    let bytes = |update: EntityUpdate| {
        let mut bytes = Vec::new();
        update.encode(1, &mut bytes);
        bytes.len()
    };
    let EntityUpdate::Seen(view, velocity) = walker(0, 0) else {
        unreachable!()
    };
    let unhurt = EntityView { health: 255, ..view };
    assert_eq!(bytes(EntityUpdate::Seen(unhurt, Velocity::STILL)), 7);
    assert_eq!(bytes(EntityUpdate::Seen(unhurt, velocity)), 9);
    assert_eq!(bytes(EntityUpdate::Seen(view, velocity)), 10);
    assert_eq!(bytes(EntityUpdate::Gone(EntityId::new(u32::MAX, u32::MAX))), 11);
}

#[test]
fn value_digest_sees_every_part() {
    let item = |uid, kind| Item {
        uid: EntityId(uid),
        kind,
    };
    let digests = [
        value_digest(1, &[item(1, 1)]),
        value_digest(2, &[item(1, 1)]),
        value_digest(1, &[item(2, 1)]),
        value_digest(1, &[item(1, 2)]),
        value_digest(1, &[item(1, 1), item(2, 1)]),
        value_digest(1, &[]),
    ];
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
}

proptest! {
    #![proptest_config(strategy::cases(256))]

    #[test]
    fn intents_come_back(intent in strategy::intent()) {
        let bytes = packed(&intent);
        prop_assert!(bytes.len() <= Intent::BYTES_MAX);
        prop_assert_eq!(unpacked(&bytes), Ok(intent));
    }

    #[test]
    fn input_frames_come_back(frame in strategy::input_frame()) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        prop_assert!(bytes.len() <= DATAGRAM_BYTES_MAX);
        prop_assert_eq!(InputFrame::decode(&bytes), Ok(frame.into()));
    }

    #[test]
    fn snapshots_come_back(snapshot in strategy::snapshot()) {
        let mut bytes = Vec::new();
        snapshot.encode(&mut bytes);
        prop_assert!(bytes.len() <= DATAGRAM_BYTES_MAX);
        prop_assert_eq!(Snapshot::decode(&bytes), Ok(snapshot));
    }

    #[test]
    fn truncated_input_frames_never_panic(frame in strategy::input_frame(), cut: prop::sample::Index) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        bytes.truncate(cut.index(bytes.len()));
        // A cut between two intents leaves a shorter frame; any other is an error.
        if let Ok(short) = InputFrame::decode(&bytes) {
            prop_assert!(frame.intents.starts_with(&short.checked().unwrap().intents));
        }
    }
}

proptest! {
    #![proptest_config(strategy::cases(10_000))]

    #[test]
    fn whatever_decodes_as_an_input_frame_is_its_only_encoding(mut bytes in prop::collection::vec(any::<u8>(), 1..64)) {
        bytes[0] = InputFrame::KIND;
        if let Ok(Ok(frame)) = InputFrame::decode(&bytes).map(everhold_protocol::ReceivedFrame::checked) {
            let mut again = Vec::new();
            frame.encode(&mut again);
            // Behind a full frame nothing is read.
            let is_full = frame.intents.len() == FRAME_INTENTS_MAX;
            prop_assert!(bytes == again || is_full && bytes.starts_with(&again), "{:?}", frame);
        }
    }

    #[test]
    fn whatever_decodes_as_an_intent_is_its_only_encoding(
        tag in 0..8_u8,
        rest in prop::collection::vec(any::<u8>(), 0..24),
    ) {
        let bytes = [&[tag], &rest[..]].concat();
        if let Ok(intent) = unpacked(&bytes) {
            prop_assert_eq!(intent.check(), Ok(()));
            prop_assert_eq!(packed(&intent), bytes);
        }
    }

    #[test]
    fn whatever_decodes_as_a_snapshot_is_its_only_encoding(mut bytes in prop::collection::vec(0..4_u8, 1..120)) {
        bytes[0] = SnapshotHeader::KIND;
        if let Ok(snapshot) = Snapshot::decode(&bytes) {
            let mut again = Vec::new();
            snapshot.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}
