//! Arbitrary well-formed values.

use everhold_protocol::limits::{CHAT_BYTES_MAX, DATAGRAM_BYTES_MAX, FRAME_INTENTS_MAX};
use everhold_protocol::{
    EntityId, EntityKind, EntityUpdate, EntityView, Epoch, Heading, InputFrame, Intent, SeqIntent, Snapshot,
    SnapshotHeader, Tick, Velocity, text,
};
use proptest::prelude::*;

/// Returns a configuration of `cases` cases. A failure prints the least input that shows it; no file is kept.
pub(super) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

pub(super) fn entity_id() -> impl Strategy<Value = EntityId> {
    // Small numbers are the usual ones, large ones the widest varints.
    prop_oneof![(0..9_u32, 0..70_000_u32), any::<(u32, u32)>()]
        .prop_map(|(epoch, counter)| EntityId::new(epoch, counter))
}

fn heading() -> impl Strategy<Value = Heading> {
    any::<(i8, i8)>().prop_filter_map("longer than full speed", |(dx, dy)| Heading::new(dx, dy).ok())
}

fn chat() -> impl Strategy<Value = String> {
    prop::collection::vec(
        any::<char>().prop_filter("may not be said", |c| text::check(&format!("a{c}")).is_ok()),
        1..CHAT_BYTES_MAX,
    )
    .prop_map(|chars| chars.into_iter().collect::<String>())
    .prop_filter("too long, or a pile", |text| text::check(text).is_ok())
}

pub(super) fn intent() -> impl Strategy<Value = Intent> {
    prop_oneof![
        heading().prop_map(Intent::Move),
        entity_id().prop_map(|target| Intent::Strike { target }),
        entity_id().prop_map(|item| Intent::PickUp { item }),
        (entity_id(), 1..=u64::MAX).prop_map(|(to, amount)| Intent::GiveGold { to, amount }),
        (entity_id(), entity_id()).prop_map(|(to, item)| Intent::GiveItem { to, item }),
        "[a-zA-Zäöü€][a-zA-Z äöü€]{0,30}".prop_map(Intent::Say),
        chat().prop_map(Intent::Say),
    ]
}

pub(super) fn input_frame() -> impl Strategy<Value = InputFrame> {
    let intents =
        (1..u64::MAX - 8, prop::collection::vec(intent(), 0..=FRAME_INTENTS_MAX)).prop_map(|(first, intents)| {
            (first..)
                .zip(intents)
                .map(|(seq, intent)| SeqIntent { seq, intent })
                .collect()
        });
    (any::<u32>(), any::<u64>(), any::<u64>(), intents).prop_map(|(epoch, snapshot_tick, event_ack, intents)| {
        InputFrame {
            epoch: Epoch(epoch),
            snapshot_tick: Tick(snapshot_tick),
            event_ack,
            intents,
        }
    })
}

fn header() -> impl Strategy<Value = SnapshotHeader> {
    let numbers = any::<(u32, u64, u16, u8, u64, u64)>();
    (numbers, any::<(i32, i32, u16, u32)>()).prop_map(|(numbers, (x, y, hp, value_digest))| {
        let (epoch, tick, unconfirmed_ticks, dilation, last_input_seq, event_seq) = numbers;
        SnapshotHeader {
            epoch: Epoch(epoch),
            tick: Tick(tick),
            unconfirmed_ticks,
            dilation,
            last_input_seq,
            event_seq,
            x,
            y,
            hp,
            value_digest,
        }
    })
}

fn update(near: (i32, i32)) -> impl Strategy<Value = EntityUpdate> {
    let kind = prop::sample::select(vec![EntityKind::Player, EntityKind::Monster, EntityKind::Item]);
    let id = (0..3_u32, any::<u32>()).prop_map(|(range, counter)| EntityId::new(range, counter));
    let away = -EntityUpdate::DISTANCE_CM_MAX..=EntityUpdate::DISTANCE_CM_MAX;
    let velocity = any::<(i8, i8)>().prop_map(|(dx, dy)| Velocity { dx, dy });
    let health = prop_oneof![Just(u8::MAX), any::<u8>()];
    let seen = (id.clone(), kind, away.clone(), away, health, velocity);
    prop_oneof![
        4 => seen.prop_map(move |(id, kind, dx, dy, health, velocity)| {
            let (x, y) = (near.0.wrapping_add(dx), near.1.wrapping_add(dy));
            EntityUpdate::Seen(EntityView { id, kind, x, y, health }, velocity)
        }),
        1 => id.prop_map(EntityUpdate::Gone),
    ]
}

pub(super) fn snapshot() -> impl Strategy<Value = Snapshot> {
    let updates_max = (DATAGRAM_BYTES_MAX - SnapshotHeader::BYTES_MAX) / EntityUpdate::BYTES_MAX;
    (header(), 0..3_u32).prop_flat_map(move |(header, id_range)| {
        prop::collection::vec(update((header.x, header.y)), 0..=updates_max).prop_map(move |updates| Snapshot {
            header,
            id_range,
            updates,
        })
    })
}
