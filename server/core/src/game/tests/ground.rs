//! Items on the ground.

use everhold_protocol::{EntityKind, ItemCause};

use super::*;

/// A yard so small that everything in it is within reach of everybody.
const CORNER: [(&str, &str); 5] = [
    ("width_cm = 5_000", "width_cm = 150"),
    ("height_cm = 5_000", "height_cm = 150"),
    ("spawns = [[2_500, 2_500]]", "spawns = [[75, 75]]"),
    ("items_at_start = 0", "items_at_start = 2"),
    ("items_max = 0", "items_max = 4"),
];

fn items(zone: &mut Zone) -> Vec<EntityId> {
    let mut scene = Scene::default();
    zone.scene(&mut scene);
    let items = scene.entities.iter().filter(|entity| entity.kind == EntityKind::Item);
    items.map(|entity| entity.id).collect()
}

fn take(session: SessionId, seq: u64, item: EntityId) -> Input {
    intent(session, seq, Intent::PickUp { item })
}

#[test]
fn picked_up_item_keeps_its_uid_and_leaves_the_ground() {
    let mut zone = crowd(&CORNER, 1);
    let (a, item) = (session(&zone, 1), items(&mut zone)[0]);
    let outputs = zone.step(&[take(a, 1, item)]);
    let [
        (
            _,
            Event::ItemGained {
                item: gained,
                cause: ItemCause::PickedUp,
            },
        ),
    ] = told(&outputs)[..]
    else {
        panic!("{outputs:?}")
    };
    assert_eq!(gained.uid, item);
    assert_eq!(seen(&mut zone, item), None);
}

#[test]
fn one_of_several_claimants_gets_the_item_and_not_always_the_first() {
    let mut winners = std::collections::BTreeSet::new();
    for ticks in 0..20 {
        let mut zone = crowd(&CORNER, 3);
        let item = items(&mut zone)[0];
        idle(&mut zone, ticks);
        let claimants = [1, 2, 3].map(|account| session(&zone, account));
        let outputs = zone.step(&claimants.map(|claimant| take(claimant, 1, item)));
        let contested = told(&outputs)
            .iter()
            .filter(|(s, e)| *e == rejected(*s, 1, RejectReason::Contested).1)
            .count();
        assert_eq!(contested, 2);
        winners.extend(
            told(&outputs)
                .iter()
                .filter(|(_, e)| matches!(e, Event::ItemGained { .. }))
                .map(|(s, _)| *s),
        );
    }
    assert_eq!(winners.len(), 3);
}

#[test]
fn pick_up_of_what_is_not_on_the_ground_is_refused() {
    let mut zone = crowd(&CORNER, 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    let outputs = zone.step(&[take(a, 1, b), take(a, 2, EntityId(3))]);
    let refused = |seq| rejected(a, seq, RejectReason::NoTarget);
    assert_eq!(told(&outputs), vec![refused(2), refused(1)]);
}

#[test]
fn pick_up_out_of_reach_is_refused_and_does_not_keep_others_from_it() {
    let mut zone = crowd(
        &[
            ("items_at_start = 0", "items_at_start = 9"),
            ("items_max = 0", "items_max = 9"),
        ],
        1,
    );
    let a = session(&zone, 1);
    let far = items(&mut zone).into_iter().map(|item| seen(&mut zone, item).unwrap());
    let far = far
        .max_by_key(|item| (item.x - 2_500).abs() + (item.y - 2_500).abs())
        .unwrap();
    let outputs = zone.step(&[take(a, 1, far.id)]);
    assert_eq!(told(&outputs), vec![rejected(a, 1, RejectReason::TooFar)]);
    assert!(seen(&mut zone, far.id).is_some());
}

#[test]
fn full_inventory_leaves_the_item_to_the_next_claimant() {
    let mut zone = crowd(&CORNER, 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    let entity = zone.world().resource::<EntityIndex>().entity(a).unwrap();
    let full = (1..=24)
        .map(|uid| everhold_protocol::Item {
            uid: EntityId(uid),
            kind: 0,
        })
        .collect::<Vec<_>>()
        .into();
    zone.world().get_mut::<Belongings>(entity).unwrap().items = full;
    let item = items(&mut zone)[0];
    let outputs = zone.step(&[take(a, 1, item), take(b, 1, item)]);
    let got: Vec<_> = told(&outputs)
        .into_iter()
        .filter(|(_, e)| matches!(e, Event::ItemGained { .. }))
        .collect();
    assert_eq!(got[0].0, b);
}

#[test]
fn ground_fills_up_to_its_limit_and_no_further() {
    let mut zone = zone(&CORNER);
    idle(&mut zone, 200);
    assert_eq!(items(&mut zone).len(), 4);
}
