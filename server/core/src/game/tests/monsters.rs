//! Monsters: chase, bite, death, loot, and return.

use everhold_protocol::{EntityKind, GoldCause, Tick};

use super::*;

/// One monster, three metres from where players are born.
const CAMP: (&str, &str) = ("camps = []", "camps = [[2_800, 2_500]]");

fn monster(zone: &mut Zone) -> Option<EntityView> {
    let mut scene = Scene::default();
    zone.scene(&mut scene);
    scene
        .entities
        .into_iter()
        .find(|entity| entity.kind == EntityKind::Monster)
}

/// Steps until `done`, at most ten seconds.
fn until(zone: &mut Zone, mut done: impl FnMut(&mut Zone, &[(SessionId, Event)]) -> bool) {
    for _ in 0..200 {
        let events = told(&zone.step(&[]));
        if done(zone, &events) {
            return;
        }
    }
    panic!("it did not happen in ten seconds");
}

#[test]
fn monster_comes_for_a_player_in_sight_and_bites() {
    let mut zone = crowd(&[CAMP], 1);
    let a = session(&zone, 1);
    until(&mut zone, |zone, _| own(zone, a).unwrap().hp == 70);
}

#[test]
fn bitten_player_dies_by_the_monsters_hand() {
    let mut zone = crowd(&[CAMP], 1);
    let (a, beast) = (session(&zone, 1), monster(&mut zone).unwrap().id);
    until(&mut zone, |_, events| events.contains(&(a, Event::Death { by: beast })));
}

#[test]
fn monster_goes_no_further_than_its_leash() {
    let mut zone = crowd(&[CAMP, ("leash_cm = 2_000", "leash_cm = 200")], 1);
    for _ in 0..100 {
        zone.step(&[]);
        let beast = monster(&mut zone).unwrap();
        assert!(
            (beast.x - 2_800).pow(2) + (beast.y - 2_500).pow(2) <= 215 * 215,
            "{beast:?}"
        );
    }
}

#[test]
fn monster_out_of_sight_of_everybody_wanders() {
    let mut zone = zone(&[CAMP]);
    let before = monster(&mut zone);
    until(&mut zone, |zone, _| monster(zone) != before);
}

#[test]
fn dead_monster_leaves_its_gold_to_the_killer_and_comes_back_with_another_id() {
    let mut zone = crowd(
        &[
            CAMP,
            ("damage = 40", "damage = 60"),
            ("range_cm = 250", "range_cm = 1_000"),
        ],
        1,
    );
    let (a, beast) = (session(&zone, 1), monster(&mut zone).unwrap().id);
    let outputs = zone.step(&[intent(a, 1, Intent::Strike { target: beast })]);
    let events = told(&outputs);
    assert_eq!(events[0], (a, Event::Kill { victim: beast }));
    let Event::Gold {
        total,
        delta,
        cause: GoldCause::Loot,
    } = events[1].1
    else {
        panic!("{events:?}")
    };
    assert!((5..=20).contains(&delta) && total == 100 + delta.unsigned_abs());
    assert_eq!(monster(&mut zone), None);
    until(&mut zone, |zone, _| monster(zone).is_some_and(|back| back.id != beast));
}

#[test]
fn monster_leaves_players_at_rest_alone() {
    let mut zone = crowd(
        &[
            ("camps = []", "camps = [[4_900, 4_900]]"),
            ("leash_cm = 2_000", "leash_cm = 5_000"),
        ],
        1,
    );
    let a = session(&zone, 1);
    zone.step(&[Input::Detach {
        session: a,
        token: AttachToken(1),
    }]);
    idle(&mut zone, 25);
    zone.world().resource_mut::<Due>().monsters.insert((Tick(0), 0));
    idle(&mut zone, 200);
    zone.step(&[join_with(1, 50, 50)]);
    assert_eq!(own(&mut zone, a).unwrap().hp, 100);
}
