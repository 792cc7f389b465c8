//! The duties of every state store towards zones that were stopped in good order: their seals.

use bytes::Bytes;
use everhold_core::durability::store::{
    AppendAnswer, CheckpointKind, Origin, Position, Rewind, Seal, StoreError, ZoneStore,
};
use everhold_core::ownership::{RulesStamp, Tenure};
use everhold_protocol::{EntityId, Tick, ZoneName};

use super::history::{SuiteHistory, assert_fenced, body, fenced, put_checkpoint, tenure};

pub(super) async fn run<S: ZoneStore>(a: &S, b: &S, lose: &impl Fn(&S, &ZoneName)) {
    zone_is_sealed_at_its_base_for_everybody(a, b).await;
    seal_of_anything_but_the_end_is_refused(a).await;
    record_after_it_ends_a_seal(a, b).await;
    head_after_it_ends_a_seal(a, b).await;
    what_changes_no_data_keeps_a_seal(a, b).await;
    owner_that_is_fenced_seals_nothing(a, b).await;
    refused_seal_leaves_the_fence(a, b).await;
    later_seal_replaces_the_one_before(a, b).await;
    data_set_that_is_made_anew_is_not_sealed(a, b, lose).await;
}

const BASE: CheckpointKind = CheckpointKind::Base;

/// The widest numbers there are, and an id with every kind of byte.
fn rules(flavor: u8) -> RulesStamp {
    RulesStamp {
        id: std::array::from_fn(|at| (at as u8).wrapping_mul(37).wrapping_add(flavor)),
        code: u32::MAX - u32::from(flavor),
        layout: u16::MAX,
    }
}

/// A zone whose newest base is that of its last tick, 5.
async fn ended(store: &impl ZoneStore, name: &str) -> (Tenure, SuiteHistory) {
    let held = fenced(store, name).await;
    let mut history = SuiteHistory::new(1);
    store
        .append(&held, &history.records_to(Tick(5)))
        .await
        .expect("appended");
    put_checkpoint(store, &held, history.last(), BASE, &body(100, 1))
        .await
        .expect("written");
    (held, history)
}

async fn sealed(store: &impl ZoneStore, name: &str) -> (Tenure, SuiteHistory, Seal) {
    let (held, history) = ended(store, name).await;
    let seal = Seal {
        position: history.last(),
        rules: rules(1),
    };
    store.seal(&held, seal).await.expect("it ends there");
    (held, history, seal)
}

/// The seal that the summary tells, which is also the outline's.
async fn seal_of(store: &impl ZoneStore, zone: &ZoneName) -> Option<Seal> {
    let summary = store.summary(zone).await.expect("readable").expect("there");
    let outline = store.outline(zone, None).await.expect("readable");
    assert_eq!(summary.seal, outline.seal);
    summary.seal
}

async fn zone_is_sealed_at_its_base_for_everybody(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (held, _, seal) = sealed(a, "sealed").await;
    assert_eq!(seal_of(b, &held.zone).await, Some(seal));
    a.seal(&held, seal).await.expect("a repeat");
    assert_eq!(seal_of(b, &held.zone).await, Some(seal));
    let other = fenced(a, "unsealed").await;
    assert_eq!(seal_of(b, &other.zone).await, None);
}

async fn seal_of_anything_but_the_end_is_refused(store: &impl ZoneStore) {
    let (held, mut history) = ended(store, "refused-seals").await;
    let end = history.last();
    let elsewhere = [
        Position { tick: Tick(4), ..end },
        Position {
            epoch: everhold_protocol::Epoch(2),
            ..end
        },
        SuiteHistory::new(1).other().last(),
    ];
    let refused = async |position| {
        let seal = Seal {
            position,
            rules: rules(1),
        };
        let answer = store.seal(&held, seal).await;
        assert!(
            matches!(answer, Err(StoreError::ParentMoved)),
            "{position:?}: {answer:?}"
        );
        assert_eq!(seal_of(store, &held.zone).await, None);
    };
    for position in elsewhere {
        refused(position).await;
    }
    store
        .append(&held, &history.records_to(Tick(6)))
        .await
        .expect("appended");
    refused(end).await;
    let delta = CheckpointKind::Delta { parent: end };
    put_checkpoint(store, &held, history.last(), delta, &body(10, 2))
        .await
        .expect("written");
    refused(history.last()).await;
}

async fn record_after_it_ends_a_seal(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (held, mut history, _) = sealed(a, "seal-and-record").await;
    let heir = tenure(&held.zone, 2, 7);
    b.fence(&heir).await.expect("a higher epoch");
    history = SuiteHistory::after(2, history.last());
    let appended = b.append(&heir, &history.records_to(Tick(6))).await;
    assert_eq!(appended, Ok(AppendAnswer::Ok));
    assert_eq!(seal_of(a, &held.zone).await, None);
}

async fn head_after_it_ends_a_seal(a: &impl ZoneStore, b: &impl ZoneStore) {
    for (name, kind) in [("seal-and-base", None), ("seal-and-delta", Some(()))] {
        let (held, history, seal) = sealed(a, name).await;
        let heir = tenure(&held.zone, 2, 7);
        b.fence(&heir).await.expect("a higher epoch");
        let mut history = SuiteHistory::after(2, history.last());
        history.records_to(Tick(6));
        let kind = kind.map_or(BASE, |()| CheckpointKind::Delta { parent: seal.position });
        put_checkpoint(b, &heir, history.last(), kind, &body(10, 2))
            .await
            .expect("written");
        assert_eq!(seal_of(a, &held.zone).await, None);
    }
}

async fn what_changes_no_data_keeps_a_seal(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (held, history, seal) = sealed(a, "seal-kept").await;
    let late = SuiteHistory::new(1).records_to(Tick(5));
    assert_eq!(a.append(&held, &late).await, Ok(AppendAnswer::Duplicate));
    let heir = tenure(&held.zone, 2, 7);
    b.fence(&heir).await.expect("a higher epoch");
    let position = Position {
        tick: Tick(9),
        ..history.last()
    };
    b.put_part(&heir, position, 0, Bytes::from_static(b"part"))
        .await
        .expect("written");
    b.drop_parts(&heir, position, 1).await.expect("deleted");
    b.quarantine(&heir, Tick(6), EntityId(3), 4).await.expect("written");
    let to = Rewind {
        head: Some(seal.position),
        last: seal.position.tick,
    };
    b.rewind(&heir, to).await.expect("nothing is beyond it");
    assert_eq!(seal_of(a, &held.zone).await, Some(seal));
}

async fn owner_that_is_fenced_seals_nothing(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (held, history) = ended(a, "seal-fenced").await;
    b.fence(&tenure(&held.zone, 2, 7)).await.expect("a higher epoch");
    let seal = Seal {
        position: history.last(),
        rules: rules(1),
    };
    assert_fenced(a.seal(&held, seal).await, 2);
    assert_eq!(seal_of(b, &held.zone).await, None);
}

async fn refused_seal_leaves_the_fence(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (held, mut history) = ended(a, "seal-refused").await;
    let position = Position {
        tick: Tick(4),
        ..history.last()
    };
    let seal = Seal {
        position,
        rules: rules(1),
    };
    let refused = b.seal(&tenure(&held.zone, 2, 7), seal).await;
    assert!(matches!(refused, Err(StoreError::ParentMoved)), "{refused:?}");
    let appended = a.append(&held, &history.records_to(Tick(6))).await;
    assert_eq!(appended, Ok(AppendAnswer::Ok), "its owner still holds the fence");
}

async fn later_seal_replaces_the_one_before(a: &impl ZoneStore, b: &impl ZoneStore) {
    let (held, history, _) = sealed(a, "seal-again").await;
    let heir = tenure(&held.zone, 2, 7);
    b.fence(&heir).await.expect("a higher epoch");
    let mut history = SuiteHistory::after(2, history.last());
    b.append(&heir, &history.records_to(Tick(8))).await.expect("appended");
    put_checkpoint(b, &heir, history.last(), BASE, &body(50, 3))
        .await
        .expect("written");
    let seal = Seal {
        position: history.last(),
        rules: rules(2),
    };
    b.seal(&heir, seal).await.expect("it ends there");
    assert_eq!(seal_of(a, &held.zone).await, Some(seal));
}

async fn data_set_that_is_made_anew_is_not_sealed<S: ZoneStore>(a: &S, b: &S, lose: &impl Fn(&S, &ZoneName)) {
    let (held, _, seal) = sealed(a, "seal-lost").await;
    lose(a, &held.zone);
    let lost = a.seal(&held, seal).await;
    assert!(matches!(lost, Err(StoreError::Lost)), "{lost:?}");
    let heir = tenure(&held.zone, 2, 7);
    b.create(&heir, Origin::Nothing).await.expect("made anew");
    assert_eq!(seal_of(a, &held.zone).await, None);
}
