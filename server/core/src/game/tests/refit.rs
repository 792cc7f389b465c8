//! A zone whose numbers change, in its state: what is fitted, what is kept.

use everhold_protocol::{Epoch, Tick};

use super::*;
use crate::game::state::{Downed, Health, Lying, Mind, Readiness};
use crate::limits::TICKET_MEMORY_S_MAX;
use crate::zone::registry::Id;
use crate::zone::state::Tickets;
use crate::zone::{Cut, ZoneConfig};

/// Numbers of the yard, as replacements of its text.
type Numbers<'a> = &'a [(&'a str, &'a str)];

/// The yard with two camps and twelve items.
const LIVELY: Numbers<'_> = &[
    ("camps = []", "camps = [[1_000, 1_000], [4_000, 4_000]]"),
    (
        "items_at_start = 0\nitems_max = 0",
        "items_at_start = 12\nitems_max = 12",
    ),
];

/// Ends `zone` as a planned stop does, and has it taken over under these numbers.
fn taken_over(zone: &mut Zone, numbers: Numbers<'_>) -> Zone {
    taken_over_by(zone, config(numbers))
}

fn taken_over_by(zone: &mut Zone, config: ZoneConfig) -> Zone {
    let base = zone.capture(Cut::Base);
    zone.capture_confirmed();
    let start = epoch_start(&config, Epoch(zone.epoch().0 + 1));
    let mut heir = Zone::take_over(config, &[&base.body]).unwrap();
    heir.step(&[start]);
    heir
}

/// The yard with these numbers and one more.
fn with<'a>(numbers: Numbers<'a>, more: (&'a str, &'a str)) -> Vec<(&'a str, &'a str)> {
    numbers.iter().copied().chain([more]).collect()
}

fn ids<C: bevy_ecs::component::Component>(zone: &mut Zone) -> Vec<EntityId> {
    let world = zone.world();
    let mut found = world.query_filtered::<&Id, bevy_ecs::query::With<C>>();
    let mut ids: Vec<EntityId> = found.iter(world).map(|id| id.0).collect();
    ids.sort_unstable();
    ids
}

fn state<C: bevy_ecs::component::Component + Clone>(zone: &mut Zone, id: EntityId) -> Option<C> {
    let world = zone.world();
    let entity = world.resource::<EntityIndex>().entity(id)?;
    world.get::<C>(entity).cloned()
}

#[test]
fn players_keep_what_they_own_and_are() {
    let mut zone = crowd(LIVELY, 3);
    idle(&mut zone, 5);
    let before: Vec<Belongings> = ids::<Belongings>(&mut zone)
        .iter()
        .map(|id| state(&mut zone, *id).unwrap())
        .collect();
    let fewer = with(
        LIVELY,
        (
            "kinds = [\"bread\", \"torch\", \"rope\"]",
            "kinds = [\"bread\", \"rope\"]",
        ),
    );
    let fewer = with(
        &fewer,
        ("start_items = [\"bread\", \"torch\"]", "start_items = [\"rope\"]"),
    );
    let mut heir = taken_over(&mut zone, &fewer);
    assert_eq!(heir.accounts(), zone.accounts());
    let after: Vec<Belongings> = ids::<Belongings>(&mut heir)
        .iter()
        .map(|id| state(&mut heir, *id).unwrap())
        .collect();
    assert_eq!((before.len(), after), (3, before), "a kind that is gone, too");
    idle(&mut heir, 40);
}

#[test]
fn whoever_is_outside_of_a_smaller_map_or_in_a_new_wall_stands_somewhere_free() {
    let mut zone = crowd(LIVELY, 2);
    let a = session(&zone, 1);
    zone.step(&[intent(a, 1, go(89, 89))]);
    idle(&mut zone, 60);
    let place: Body = state(&mut zone, a).unwrap();
    assert!(place.x > 3_000 && place.y > 3_000, "{place:?}");
    let shrunken = [
        ("camps = []", "camps = [[1_000, 1_000], [2_500, 2_000]]"),
        (
            "items_at_start = 0\nitems_max = 0",
            "items_at_start = 12\nitems_max = 12",
        ),
        (
            "width_cm = 5_000\nheight_cm = 5_000",
            "width_cm = 3_000\nheight_cm = 3_000",
        ),
        (
            "spawns = [[2_500, 2_500]]",
            "spawns = [[500, 500]]\nobstacles = [[2_400, 2_400, 3_000, 3_000]]",
        ),
    ];
    let mut heir = taken_over(&mut zone, &shrunken);
    let map = heir
        .world()
        .resource::<crate::game::settings::GameSettings>()
        .map
        .clone();
    for id in ids::<Body>(&mut heir) {
        let place: Body = state(&mut heir, id).unwrap();
        assert!(map.is_free(place.point()), "{id:?} at {place:?}");
    }
    assert_eq!(ids::<Body>(&mut heir).len(), 2 + 2 + 12, "nobody is lost");
    idle(&mut heir, 40);
}

#[test]
fn hit_points_follow_their_maximum() {
    let mut zone = crowd(&[], 3);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    zone.step(&[intent(a, 1, Intent::Strike { target: b })]);
    let hp = |zone: &mut Zone, id| {
        let Health { hp, max } = state(zone, id).unwrap();
        (hp, max)
    };
    assert_eq!((hp(&mut zone, a), hp(&mut zone, b)), ((100, 100), (60, 100)));
    for (max, unhurt, hurt) in [(50, 50, 50), (80, 80, 60), (250, 250, 60)] {
        let text = format!("hp = {max}");
        let mut heir = taken_over(&mut zone, &[("hp = 100", &text)]);
        assert_eq!((hp(&mut heir, a), hp(&mut heir, b)), ((unhurt, max), (hurt, max)));
    }
}

#[test]
fn dead_stay_dead_and_wait_no_longer_than_the_new_rules_say() {
    let mut zone = crowd(
        &[
            ("damage = 40", "damage = 100"),
            ("respawn_ms = 500", "respawn_ms = 60_000"),
        ],
        2,
    );
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    zone.step(&[intent(a, 1, Intent::Strike { target: b })]);
    let mut heir = taken_over(&mut zone, &[]);
    let now = heir.tick();
    assert_eq!(state::<Health>(&mut heir, b).unwrap().hp, 0);
    assert_eq!(state::<Downed>(&mut heir, b).unwrap().until, now + 10);
    let ready: Readiness = state(&mut heir, a).unwrap();
    assert!(ready.strike > now && ready.strike <= now + 10);
    idle(&mut heir, 9);
    assert_eq!(state::<Health>(&mut heir, b).unwrap().hp, 0);
    idle(&mut heir, 1);
    assert_eq!(state::<Health>(&mut heir, b).unwrap().hp, 100);
}

#[test]
fn each_camp_has_one_monster_after_camps_came_and_went() {
    for camps in [
        "[]",
        "[[500, 500]]",
        "[[500, 500], [900, 900], [700, 700], [1_200, 700]]",
    ] {
        let mut zone = crowd(LIVELY, 1);
        idle(&mut zone, 5);
        let text = format!("camps = {camps}");
        let other = [("camps = []", text.as_str()), LIVELY[1]];
        let mut heir = taken_over(&mut zone, &other);
        idle(&mut heir, 2);
        let minds: Vec<EntityId> = ids::<Mind>(&mut heir);
        let mut manned: Vec<u16> = minds
            .iter()
            .map(|id| state::<Mind>(&mut heir, *id).unwrap().camp)
            .collect();
        manned.sort_unstable();
        let expected: Vec<u16> = (0..camps.matches("[").count() as u16 - 1).collect();
        assert_eq!(manned, expected, "{camps}");
    }
}

#[test]
fn oldest_items_stay_on_the_ground_as_many_as_may() {
    let mut zone = crowd(LIVELY, 1);
    let before = ids::<Lying>(&mut zone);
    let fewer = [
        LIVELY[0],
        ("items_at_start = 0\nitems_max = 0", "items_at_start = 0\nitems_max = 5"),
    ];
    let mut heir = taken_over(&mut zone, &fewer);
    assert_eq!(ids::<Lying>(&mut heir), before[..5]);
    assert!(before.len() == 12 && zone.world().resource::<Due>().item > Tick(0));
}

#[test]
fn used_ticket_is_remembered_for_its_whole_life_at_any_tick_rate() {
    let mut zone = crowd(&[], 1);
    for tick_hz in [10, 60] {
        let other = ZoneConfig { tick_hz, ..config(&[]) };
        let mut heir = taken_over_by(&mut zone, other);
        let whole_life = TICKET_MEMORY_S_MAX * u64::from(tick_hz);
        let forget = heir.world().resource::<Tickets>().used[&[1; 16]];
        assert_eq!(forget, (heir.tick() + whole_life).max(Tick(1_000)), "{tick_hz}");
    }
}

#[test]
fn zone_of_the_same_rules_is_not_fitted() {
    let mut zone = crowd(LIVELY, 3);
    idle(&mut zone, 30);
    let mut heir = taken_over(&mut zone, LIVELY);
    zone.step(&[epoch_start(&config(LIVELY), Epoch(2))]);
    assert_eq!(heir.digest(), zone.digest());
}
