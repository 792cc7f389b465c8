//! Interest against a brute-force oracle, and the turns that a stacked crowd takes.

use std::collections::BTreeSet;

use everhold_protocol::{EntityId, EntityKind, EntityView};
use proptest::prelude::*;

use super::{Interest, Reach, Sight};
use crate::zone::{Scene, SceneSession};

const REACH: Reach = Reach {
    radius_cm: 10_000,
    budget: 69,
};

/// A scene in which every entity looks.
fn scene(spots: &[(i32, i32)]) -> Scene {
    let mut scene = Scene::default();
    for (&(x, y), counter) in spots.iter().zip(1..) {
        let id = EntityId::new(1, counter);
        scene.entities.push(EntityView {
            id,
            kind: EntityKind::Player,
            x,
            y,
            health: 255,
        });
        scene.sessions.push(session(id, x, y));
    }
    scene
}

fn session(session: EntityId, x: i32, y: i32) -> SceneSession {
    SceneSession {
        session,
        last_input_seq: 0,
        event_seq: 0,
        x,
        y,
        hp: 1,
        value_digest: 0,
    }
}

/// What each session sees, in the order of `Scene::sessions`.
fn seen(interest: &mut Interest, scene: &Scene, tick: u64) -> Vec<BTreeSet<EntityId>> {
    interest.rebuild(scene);
    let mut sight = Sight::default();
    let mut all = vec![BTreeSet::new(); scene.sessions.len()];
    for viewer in interest.viewers() {
        interest.look(viewer, tick, &mut sight);
        let ids = sight
            .places()
            .iter()
            .map(|&place| scene.entities[interest.order()[place as usize] as usize].id);
        all[viewer.session].extend(ids);
        assert_eq!(all[viewer.session].len(), sight.places().len(), "nobody is shown twice");
    }
    all
}

/// The first `budget` by (distance, id) within the radius, the viewer excepted.
fn oracle(scene: &Scene, reach: Reach) -> Vec<BTreeSet<EntityId>> {
    let look = |viewer: &SceneSession| {
        let far = |entity: &EntityView| {
            let (dx, dy) = (
                i64::from(entity.x) - i64::from(viewer.x),
                i64::from(entity.y) - i64::from(viewer.y),
            );
            i128::from(dx).pow(2) + i128::from(dy).pow(2)
        };
        let others = scene.entities.iter().filter(|entity| entity.id != viewer.session);
        let mut near: Vec<_> = others.map(|entity| (far(entity), entity.id)).collect();
        near.retain(|&(far, _)| far <= i128::from(reach.radius_cm).pow(2));
        near.sort();
        near.into_iter().take(reach.budget).map(|(_, id)| id).collect()
    };
    scene.sessions.iter().map(look).collect()
}

/// Points at several densities at once: all over, in clumps, on a lattice (many equal distances), and at the edges of the world.
fn spots() -> impl Strategy<Value = Vec<(i32, i32)>> {
    let spread = || (-60_000..60_000_i32, -60_000..60_000_i32);
    let clump = (spread(), 300..3_000_i32)
        .prop_flat_map(|((x, y), r)| prop::collection::vec((x - r..x + r, y - r..y + r), 0..300));
    let lattice = prop::collection::vec(
        (-12..12_i32, -12..12_i32).prop_map(|(x, y)| (x * 2_500, y * 2_500)),
        0..200,
    );
    let edges = prop::collection::vec(prop_oneof![Just(i32::MIN), Just(i32::MAX), Just(0)], 0..4)
        .prop_map(|edges| edges.iter().map(|&at| (at, at)).collect());
    let clumps = prop::collection::vec(clump, 0..4).prop_map(|clumps| clumps.concat());
    (prop::collection::vec(spread(), 0..300), clumps, lattice, edges).prop_map(
        |(mut all, clumps, lattice, edges): (_, _, _, Vec<_>)| {
            all.extend(clumps.into_iter().chain(lattice).chain(edges));
            all
        },
    )
}

/// A crowd may fill a smallest square with more than a budget; these do not, so that the oracle is exact.
fn loose(spots: &[(i32, i32)], reach: Reach) -> bool {
    let side = 1 << (reach.radius_cm / 32).ilog2();
    let mut xs: Vec<_> = spots.to_vec();
    xs.sort_unstable();
    xs.iter().all(|&(x, y)| {
        let near = |other: i32, at: i32| other.abs_diff(at) < side;
        xs.iter().filter(|other| near(other.0, x) && near(other.1, y)).count() <= reach.budget
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn everybody_sees_the_nearest_within_radius_and_budget(spots in spots(), radius_cm in prop_oneof![
        Just(10_000), Just(64), Just(32_767), 500..20_000_i32], budget in 1..100_usize) {
        let reach = Reach { radius_cm, budget };
        prop_assume!(loose(&spots, reach));
        let scene = scene(&spots);
        prop_assert_eq!(seen(&mut Interest::new(reach), &scene, 3), oracle(&scene, reach));
    }

    #[test]
    fn order_of_the_scene_changes_nothing(spots in spots(), tick in 0..1_000_u64, seed in any::<u64>()) {
        let scene = scene(&spots);
        let mut shuffled = scene.clone();
        shuffled.entities.sort_by_key(|entity| entity.id.0.wrapping_add(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut interest = Interest::new(REACH);
        let straight = seen(&mut interest, &scene, tick);
        prop_assert_eq!(straight, seen(&mut interest, &shuffled, tick));
    }
}

#[test]
fn viewer_without_an_entity_sees_those_around_it() {
    let mut scene = scene(&[(0, 0), (500, 0), (50_000, 0)]);
    scene.sessions = vec![
        session(EntityId::new(9, 9), 100, 0),
        session(EntityId::new(9, 8), -40_000, 0),
    ];
    let seen = seen(&mut Interest::new(REACH), &scene, 0);
    assert_eq!(seen[0], BTreeSet::from([EntityId::new(1, 1), EntityId::new(1, 2)]));
    assert!(seen[1].is_empty());
}

#[test]
fn entity_exactly_at_the_radius_is_seen_and_a_centimetre_further_not() {
    let seen = seen(
        &mut Interest::new(REACH),
        &scene(&[(0, 0), (6_000, 8_000), (-10_001, 0)]),
        0,
    );
    assert_eq!(seen[0], BTreeSet::from([EntityId::new(1, 2)]));
}

/// Ticks until everybody of a stack has seen everybody else, or `None` after `ticks_max`.
fn ticks_until_all_seen(scene: &Scene, ticks_max: u64) -> Option<u64> {
    let mut interest = Interest::new(REACH);
    let mut met = vec![BTreeSet::new(); scene.sessions.len()];
    (1..=ticks_max).find(|&tick| {
        for (met, seen) in met.iter_mut().zip(seen(&mut interest, scene, tick)) {
            assert!(seen.len() <= REACH.budget);
            met.extend(seen);
        }
        met.iter().all(|met| met.len() == scene.entities.len() - 1)
    })
}

#[test]
fn stacked_crowd_takes_turns_until_everybody_was_seen() {
    let stack = scene(&[(123, -456); 2_000]);
    let turns = stack.entities.len().div_ceil(REACH.budget) as u64;
    assert_eq!(ticks_until_all_seen(&stack, turns + 1), Some(turns));
}

#[test]
fn small_stack_takes_turns_too() {
    let stack = scene(&[(0, 0); 100]);
    assert!(ticks_until_all_seen(&stack, 3).is_some());
}

#[test]
fn stack_near_by_does_not_hide_those_nearer_than_it() {
    let mut spots = vec![(9_000, 0); 1_000];
    spots.extend((0..40).map(|n| (n * 100, 0)));
    let scene = scene(&spots);
    let seen = seen(&mut Interest::new(REACH), &scene, 17);
    let walker = seen.last().unwrap();
    assert_eq!(walker.len(), REACH.budget);
    assert_eq!(walker.iter().filter(|id| **id > EntityId::new(1, 1_000)).count(), 39);
}

#[test]
#[should_panic(expected = "a view's radius")]
fn radius_that_a_key_cannot_hold_is_refused() {
    let _ = Interest::new(Reach {
        radius_cm: 32_768,
        budget: 1,
    });
}
