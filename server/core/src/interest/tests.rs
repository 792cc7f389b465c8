//! Interest against a brute-force oracle, and the turns that a stacked crowd takes.

use std::collections::BTreeSet;

use everhold_protocol::Tick;
use proptest::prelude::*;

use super::{Approach, Interest, Reach, Viewers, Viewpoint, VisibleEntities};

const REACH: Reach = Reach {
    radius_cm: 10_000,
    budget: 69,
};

fn points(spots: &[(i32, i32)]) -> Vec<Viewpoint> {
    spots.iter().map(|&(x, y)| Viewpoint { x, y }).collect()
}

/// Returns the indices of the seen entities.
fn indices(interest: &Interest, visible: &VisibleEntities) -> BTreeSet<u32> {
    let index = |&place: &u32| interest.order()[place as usize];
    let seen: BTreeSet<_> = visible.places().iter().map(index).collect();
    assert_eq!(seen.len(), visible.places().len(), "nobody is shown twice");
    seen
}

/// Returns the entities seen from a point.
fn look(interest: &Interest, from: (i32, i32), tick: Tick) -> BTreeSet<u32> {
    let mut visible = VisibleEntities::default();
    interest.look(Viewpoint { x: from.0, y: from.1 }, tick, &mut visible);
    indices(interest, &visible)
}

fn interest(reach: Reach, spots: &[(i32, i32)]) -> Interest {
    let mut interest = Interest::new(reach);
    interest.rebuild(&points(spots), reach.budget);
    interest
}

/// Returns the entities seen from each entity's place.
fn seen(reach: Reach, spots: &[(i32, i32)], tick: Tick) -> Vec<BTreeSet<u32>> {
    let interest = interest(reach, spots);
    spots.iter().map(|&from| look(&interest, from, tick)).collect()
}

/// Returns the first `budget` by (distance, index) within the radius.
fn oracle(spots: &[(i32, i32)], reach: Reach) -> Vec<BTreeSet<u32>> {
    let look = |&(x, y): &(i32, i32)| {
        let far = |&(ex, ey): &(i32, i32)| {
            let (dx, dy) = (i64::from(ex) - i64::from(x), i64::from(ey) - i64::from(y));
            i128::from(dx).pow(2) + i128::from(dy).pow(2)
        };
        let mut near: Vec<_> = spots.iter().map(far).zip(0..).collect();
        near.retain(|&(far, _)| far <= i128::from(reach.radius_cm).pow(2));
        near.sort_unstable();
        near.into_iter().take(reach.budget).map(|(_, index)| index).collect()
    };
    spots.iter().map(look).collect()
}

/// Generates points at several densities at once: all over, in clumps, on a lattice (many equal distances), and at the
/// edges of the world.
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

/// Whether no smallest square holds more than a budget, so that the oracle is exact.
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
        Just(10_000), Just(64), Just(30_000), 500..20_000_i32], budget in 1..100_usize) {
        let reach = Reach { radius_cm, budget };
        prop_assume!(loose(&spots, reach));
        prop_assert_eq!(seen(reach, &spots, Tick(3)), oracle(&spots, reach));
    }

    #[test]
    fn members_of_a_group_see_as_many_and_as_near_as_if_each_looked_alone(spots in spots(), radius_cm in prop_oneof![
        Just(10_000), Just(64), 500..12_000_i32], budget in 1..100_usize) {
        let reach = Reach { radius_cm, budget };
        let mut interest = interest(reach, &spots);
        let points = points(&spots);
        let mut viewers = Viewers::new(radius_cm);
        viewers.regroup(&points);
        let (mut visible, mut grouped) = (VisibleEntities::default(), 0);
        // Equal distances may be decided either way.
        let distances = |seen: &BTreeSet<u32>, from: Viewpoint| {
            let far = |&index: &u32| from.distance_squared(points[index as usize].x, points[index as usize].y);
            let mut far: Vec<_> = seen.iter().map(far).collect();
            far.sort_unstable();
            far
        };
        for group in viewers.groups() {
            grouped += group.seats.len();
            let approach = interest.approach(&group);
            for from in viewers.order()[group.seats.clone()].iter().map(|&member| points[member as usize]) {
                let alone = look(&interest, (from.x, from.y), Tick(3));
                prop_assert!(!alone.is_empty() && approach != Approach::Nobody, "one sees at least oneself");
                if approach == Approach::Few {
                    interest.look_at_few(from, &mut visible);
                    let together = indices(&interest, &visible);
                    prop_assert_eq!(distances(&together, from), distances(&alone, from));
                }
            }
        }
        prop_assert_eq!(grouped, points.len());
    }
}

#[test]
fn whoever_is_not_there_sees_those_around_it() {
    let interest = interest(REACH, &[(0, 0), (500, 0), (50_000, 0)]);
    assert_eq!(look(&interest, (100, 0), Tick(0)), BTreeSet::from([0, 1]));
    assert!(look(&interest, (-40_000, 0), Tick(0)).is_empty());
}

#[test]
fn entity_exactly_at_the_radius_is_seen_and_a_centimetre_further_not() {
    let seen = seen(REACH, &[(0, 0), (6_000, 8_000), (-10_001, 0)], Tick(0));
    assert_eq!(seen[0], BTreeSet::from([0, 1]));
}

#[test]
fn stacked_crowd_takes_turns_until_everybody_was_seen() {
    let interest = interest(REACH, &[(123, -456); 2_000]);
    let mut met = BTreeSet::new();
    // Twenty-nine windows would do if none overlapped; each misses a given one with a chance of 96.5 %.
    let ticks = (1..=1_000_u64).find(|&tick| {
        let seen = look(&interest, (123, -456), Tick(tick));
        assert_eq!(seen.len(), REACH.budget);
        met.extend(seen);
        met.len() == 2_000
    });
    assert!(ticks.is_some(), "{} were seen", met.len());
}

#[test]
fn stack_near_by_does_not_hide_those_nearer_than_it() {
    let mut spots = vec![(9_000, 0); 1_000];
    spots.extend((0..40).map(|n| (n * 100, 0)));
    let seen = seen(REACH, &spots, Tick(17));
    let walker = seen.last().unwrap();
    assert_eq!(walker.len(), REACH.budget);
    assert_eq!(walker.iter().filter(|&&index| index >= 1_000).count(), 40);
}

#[test]
fn budget_of_the_tick_counts() {
    let mut interest = Interest::new(REACH);
    for budget in [3, 7] {
        interest.rebuild(&points(&[(0, 0); 10]), budget);
        assert_eq!(look(&interest, (0, 0), Tick(1)).len(), budget);
    }
}

#[test]
fn many_who_look_at_many_are_a_crowd() {
    let approach = |viewers: usize, others: usize| {
        let mut interest = interest(REACH, &vec![(0, 0); others]);
        let mut grouped = Viewers::new(REACH.radius_cm);
        grouped.regroup(&points(&vec![(0, 0); viewers]));
        let group = grouped.groups().next().unwrap();
        interest.approach(&group)
    };
    assert_eq!(approach(5, 0), Approach::Nobody);
    assert_eq!(approach(5, REACH.budget), Approach::Few);
    assert_eq!(approach(5, 6 * REACH.budget), Approach::Many);
    assert_eq!(approach(500, 6 * REACH.budget), Approach::Crowd);
    assert_eq!(approach(500, REACH.budget), Approach::Few);
}

#[test]
#[should_panic(expected = "a view's radius")]
fn radius_that_a_record_cannot_tell_is_refused() {
    let _ = Interest::new(Reach {
        radius_cm: 30_001,
        budget: 1,
    });
}
