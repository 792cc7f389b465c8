//! Strikes between players, death, and new life.

use super::*;
use crate::game::intents::Contests;
use crate::game::systems::monsters::Bites;

fn strike(zone: &mut Zone, from: SessionId, seq: u64, target: EntityId) -> Vec<(SessionId, Event)> {
    told(&zone.step(&[intent(from, seq, Intent::Strike { target })]))
}

#[test]
fn strike_takes_hit_points() {
    let mut zone = crowd(&[], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    strike(&mut zone, a, 1, b);
    assert_eq!(own(&mut zone, b).unwrap().hp, 60);
}

#[test]
fn strike_within_the_cooldown_does_nothing() {
    let mut zone = crowd(&[], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    (1..=10).for_each(|seq| drop(strike(&mut zone, a, seq, b)));
    assert_eq!(own(&mut zone, b).unwrap().hp, 60);
    strike(&mut zone, a, 11, b);
    assert_eq!(own(&mut zone, b).unwrap().hp, 20);
}

#[test]
fn strike_out_of_range_does_nothing_and_costs_no_cooldown() {
    let mut zone = crowd(&[], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    zone.step(&[intent(b, 1, go(127, 0))]);
    idle(&mut zone, 10);
    zone.step(&[intent(b, 2, go(-127, 0))]);
    strike(&mut zone, a, 1, b);
    assert_eq!(own(&mut zone, b).unwrap().hp, 60);
}

#[test]
fn death_and_kill_are_told_and_a_new_life_follows() {
    let mut zone = crowd(&[("damage = 40", "damage = 100")], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    let events = strike(&mut zone, a, 1, b);
    assert_eq!(
        events,
        vec![(a, Event::Kill { victim: b }), (b, Event::Death { by: a })]
    );
    assert_eq!(seen(&mut zone, b).unwrap().health, 0);
    assert_eq!(idle(&mut zone, 9), vec![]);
    assert_eq!(idle(&mut zone, 1), vec![(b, Event::Respawn)]);
    assert_eq!(own(&mut zone, b).unwrap().hp, 100);
}

#[test]
fn dead_neither_walk_nor_strike_but_keep_the_course_they_are_told() {
    let mut zone = crowd(&[("damage = 40", "damage = 100")], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    strike(&mut zone, a, 1, b);
    zone.step(&[intent(b, 1, Intent::Strike { target: a }), intent(b, 2, go(127, 0))]);
    let now = own(&mut zone, b).unwrap();
    assert_eq!((now.x, own(&mut zone, a).unwrap().hp), (2_500, 100));
    idle(&mut zone, 11);
    assert!(own(&mut zone, b).unwrap().x > 2_500);
}

#[test]
fn of_two_who_kill_in_one_tick_chance_credits_one() {
    let mut winners = std::collections::BTreeSet::new();
    for ticks in 0..20 {
        let mut zone = crowd(&[("damage = 40", "damage = 100")], 3);
        let (a, b, c) = (session(&zone, 1), session(&zone, 2), session(&zone, 3));
        idle(&mut zone, ticks);
        let blow = |from| intent(from, 1, Intent::Strike { target: c });
        let outputs = zone.step(&[blow(a), blow(b)]);
        let killers: Vec<_> = told(&outputs)
            .into_iter()
            .filter(|(_, e)| matches!(e, Event::Kill { .. }))
            .collect();
        assert_eq!(killers.len(), 1);
        winners.insert(killers[0].0);
    }
    assert_eq!(winners.len(), 2, "the first in the record must not always win");
}

#[test]
fn nobody_strikes_itself_the_hidden_or_what_is_not_there() {
    let mut zone = crowd(&[], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    zone.step(&[Input::Detach {
        session: b,
        token: AttachToken(2),
    }]);
    idle(&mut zone, 40);
    for (seq, target) in [(1, a), (2, b), (3, EntityId(4))] {
        strike(&mut zone, a, seq, target);
    }
    let stats = zone.stats();
    zone.step(&[join_with(2, 50, 50)]);
    assert_eq!(
        (
            own(&mut zone, a).unwrap().hp,
            own(&mut zone, b).unwrap().hp,
            stats.entities
        ),
        (100, 100, 2)
    );
}

#[test]
fn what_is_noted_for_systems_is_gone_when_the_tick_is() {
    let mut zone = crowd(&[("camps = []", "camps = [[2400, 2500]]")], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    for seq in 1..40 {
        zone.step(&[
            intent(a, seq, Intent::Strike { target: b }),
            intent(b, seq, Intent::PickUp { item: EntityId(1) }),
        ]);
        assert!(zone.world().resource::<Bites>().0.is_empty());
        let contests = zone.world().resource::<Contests>();
        assert!(contests.strikes.is_empty() && contests.pick_ups.is_empty() && contests.lines.is_empty());
    }
}
