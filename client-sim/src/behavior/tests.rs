//! Deciders in front of made-up mirrors.

use everhold_protocol::client::Mirror;
use everhold_protocol::{EntityId, EntityKind, EntityView, Heading, Intent, Item, OwnState};

use super::{Behavior, Decider, Spot};

const MINUTE_FRAMES: usize = 1_200;

fn alone() -> Mirror {
    let item = Item {
        uid: EntityId::new(1, 90),
        kind: 0,
    };
    let mut mirror = Mirror::default();
    mirror.own.clone_from(&OwnState {
        x: 10_000,
        y: 10_000,
        hp: 100,
        gold: 100,
        items: vec![item],
    });
    mirror
}

fn with(kind: EntityKind, x: i32, y: i32) -> Mirror {
    let mut mirror = alone();
    mirror.place(EntityView {
        id: EntityId::new(1, 7),
        kind,
        x,
        y,
        health: 255,
    });
    mirror
}

fn play(behavior: Behavior, mirror: &Mirror, frames: usize) -> Vec<Intent> {
    let mut decider = Decider::new(behavior, 1, 2);
    (0..frames).filter_map(|_| decider.decide(mirror, &|_| true)).collect()
}

fn count(intents: &[Intent], wanted: impl Fn(&Intent) -> bool) -> usize {
    intents.iter().filter(|intent| wanted(intent)).count()
}

#[test]
fn same_seed_decides_the_same() {
    let mirror = with(EntityKind::Player, 10_050, 10_000);
    assert_eq!(
        play(Behavior::Trade, &mirror, MINUTE_FRAMES),
        play(Behavior::Trade, &mirror, MINUTE_FRAMES)
    );
}

#[test]
fn wanderer_turns_about_once_a_second_and_holds_its_heading_between() {
    let intents = play(Behavior::Wander, &alone(), MINUTE_FRAMES);
    let turns = count(&intents, |intent| matches!(intent, Intent::Move(_)));
    assert!((45..=75).contains(&turns), "{turns} turns in a minute");
    assert!(intents.len() < 80, "{} intents in a minute", intents.len());
}

#[test]
fn item_within_reach_is_picked_up() {
    let intents = play(Behavior::Wander, &with(EntityKind::Item, 10_100, 10_000), MINUTE_FRAMES);
    assert!(
        count(
            &intents,
            |intent| matches!(intent, Intent::PickUp { item } if *item == EntityId::new(1, 7))
        ) > 50
    );
}

#[test]
fn item_out_of_reach_is_left() {
    let intents = play(Behavior::Wander, &with(EntityKind::Item, 20_000, 10_000), MINUTE_FRAMES);
    assert_eq!(count(&intents, |intent| matches!(intent, Intent::PickUp { .. })), 0);
}

#[test]
fn monster_near_by_is_struck() {
    let intents = play(
        Behavior::Wander,
        &with(EntityKind::Monster, 10_100, 10_000),
        MINUTE_FRAMES,
    );
    assert!(count(&intents, |intent| matches!(intent, Intent::Strike { .. })) > 50);
}

#[test]
fn trader_gives_every_two_to_three_seconds() {
    let intents = play(
        Behavior::Trade,
        &with(EntityKind::Player, 10_100, 10_000),
        MINUTE_FRAMES,
    );
    let gold = count(&intents, |intent| {
        matches!(intent, Intent::GiveGold { amount: 1..=5, .. })
    });
    let things = count(&intents, |intent| matches!(intent, Intent::GiveItem { .. }));
    assert!(
        (20..=31).contains(&(gold + things)),
        "{gold} gifts of gold and {things} of things in a minute"
    );
    assert!(gold > things && things > 0);
}

#[test]
fn trader_gives_strangers_nothing_and_does_not_follow_them() {
    for x in [10_100, 40_000] {
        let stranger = with(EntityKind::Player, x, 10_000);
        let mut decider = Decider::new(Behavior::Trade, 1, 2);
        let decisions = (0..MINUTE_FRAMES).filter_map(|_| decider.decide(&stranger, &|id| id != EntityId::new(1, 7)));
        let decisions: Vec<Intent> = decisions.collect();
        let gifts = count(&decisions, |intent| {
            matches!(intent, Intent::GiveGold { .. } | Intent::GiveItem { .. })
        });
        let east = count(
            &decisions,
            |intent| matches!(intent, Intent::Move(heading) if heading.dx() > 120 && heading.dy() == 0),
        );
        assert_eq!((gifts, east), (0, 0));
    }
}

#[test]
fn trader_without_gold_and_things_gives_nothing() {
    let mut mirror = with(EntityKind::Player, 10_100, 10_000);
    mirror.own.gold = 0;
    mirror.own.items.clear();
    let intents = play(Behavior::Trade, &mirror, MINUTE_FRAMES);
    assert_eq!(
        count(&intents, |intent| matches!(
            intent,
            Intent::GiveGold { .. } | Intent::GiveItem { .. }
        )),
        0
    );
}

#[test]
fn trader_walks_towards_company() {
    let intents = play(
        Behavior::Trade,
        &with(EntityKind::Player, 40_000, 10_000),
        MINUTE_FRAMES,
    );
    let east = count(
        &intents,
        |intent| matches!(intent, Intent::Move(heading) if heading.dx() > 120 && heading.dy() == 0),
    );
    assert!(east >= 3, "{east} turns to the east");
}

#[test]
fn the_dead_want_nothing() {
    let mut mirror = with(EntityKind::Player, 10_100, 10_000);
    mirror.own.hp = 0;
    assert_eq!(play(Behavior::Trade, &mirror, MINUTE_FRAMES), []);
}

#[test]
fn three_hundred_players_say_about_one_line_a_second() {
    let mirror = alone();
    let says = (0..300).map(|player| {
        let mut decider = Decider::new(Behavior::Wander, 9, player);
        (0..MINUTE_FRAMES)
            .filter(|_| matches!(decider.decide(&mirror, &|_| true), Some(Intent::Say(_))))
            .count()
    });
    let says: usize = says.sum();
    assert!((35..=85).contains(&says), "{says} lines in a minute");
}

#[test]
fn every_intent_is_one_that_the_protocol_takes() {
    for player in 0..50 {
        let mut decider = Decider::new(Behavior::Trade, 3, player);
        let mirror = with(EntityKind::Player, 10_000 + 3 * player as i32, 9_990);
        let intents: Vec<Intent> = (0..MINUTE_FRAMES * 5)
            .filter_map(|_| decider.decide(&mirror, &|_| true))
            .collect();
        assert!(intents.iter().all(|intent| intent.check().is_ok()));
    }
}

#[test]
fn behavior_is_read_by_its_name() {
    assert_eq!("trade".parse(), Ok(Behavior::Trade));
    assert!(
        "Trade"
            .parse::<Behavior>()
            .unwrap_err()
            .to_string()
            .contains("`wander`, `trade`, `crowd`, or `fight`")
    );
    for behavior in [Behavior::Wander, Behavior::Trade, Behavior::Crowd, Behavior::Fight] {
        assert_eq!(behavior.to_string().parse(), Ok(behavior));
    }
}

/// Walks for a minute at a run, with nothing in the way; returns where it was at each frame.
fn walk(behavior: Behavior, spot: Spot) -> Vec<(i32, i32)> {
    let mut decider = Decider::new(behavior, 1, 2).bound_for(spot);
    let (mut mirror, mut heading) = (alone(), Heading::STILL);
    let frames = (0..MINUTE_FRAMES).map(|_| {
        if let Some(Intent::Move(turned)) = decider.decide(&mirror, &|_| true) {
            heading = turned;
        }
        // 5 m a second are 25 cm a frame.
        mirror.own.x += i32::from(heading.dx()) * 25 / 127;
        mirror.own.y += i32::from(heading.dy()) * 25 / 127;
        (mirror.own.x, mirror.own.y)
    });
    frames.collect()
}

#[test]
fn crowd_gathers_at_its_spot_and_mills_around_there() {
    for behavior in [Behavior::Crowd, Behavior::Fight] {
        let way = walk(behavior, Spot { x: 14_000, y: 7_000 });
        // 50 m are ten seconds for who goes straight; twice that is allowed, and a second's run beyond the edge.
        let away = |(x, y): (i32, i32)| (i64::from(x - 14_000).pow(2) + i64::from(y - 7_000).pow(2)).isqrt();
        assert!(away(way[0]) > 4_900);
        assert!(
            way[400..].iter().all(|place| away(*place) <= 2_000 + 1_000),
            "{behavior}"
        );
        let places: std::collections::BTreeSet<_> = way[400..].iter().collect();
        assert!(places.len() > 200, "{behavior} stands still: {} places", places.len());
    }
}

#[test]
fn crowd_does_nothing_to_anybody() {
    let intents = play(
        Behavior::Crowd,
        &with(EntityKind::Player, 10_100, 10_000),
        MINUTE_FRAMES,
    );
    assert!(
        intents
            .iter()
            .all(|intent| matches!(intent, Intent::Move(_) | Intent::Say(_)))
    );
}

#[test]
fn fighter_strikes_whoever_is_near_and_leaves_things_alone() {
    let intents = play(
        Behavior::Fight,
        &with(EntityKind::Player, 10_100, 10_000),
        MINUTE_FRAMES,
    );
    assert!(count(&intents, |intent| matches!(intent, Intent::Strike { .. })) > 50);
    let intents = play(Behavior::Fight, &with(EntityKind::Item, 10_100, 10_000), MINUTE_FRAMES);
    assert_eq!(
        count(&intents, |intent| !matches!(intent, Intent::Move(_) | Intent::Say(_))),
        0
    );
}

#[test]
fn spot_is_read_as_two_numbers() {
    assert_eq!("100, -7".parse(), Ok(Spot { x: 100, y: -7 }));
    assert_eq!(Spot::default().to_string().parse(), Ok(Spot::default()));
    for wrong in ["", "1", "1,2,3", "1;2", "a,b"] {
        assert!(wrong.parse::<Spot>().unwrap_err().contains("cm"), "{wrong}");
    }
}
