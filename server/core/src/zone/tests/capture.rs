//! Capture and restore, as a store would use them.

use proptest::prelude::*;

use super::*;
use crate::limits::STATE_LAYOUT;

/// Steps, with something that changes each time.
fn live(zone: &mut Zone, account: u64, seq: u64) {
    let id = session(zone, account);
    zone.step(&[intent(id, seq, go(seq as i8 % 100, 20))]);
}

fn confirmed(zone: &mut Zone, cut: Cut) -> Vec<u8> {
    let capture = zone.capture(cut);
    zone.capture_confirmed();
    capture.body
}

fn restore(chain: &[&[u8]]) -> Result<Zone, RestoreError> {
    Zone::restore(config(&[]), chain)
}

fn refusal(chain: &[&[u8]]) -> RestoreError {
    match restore(chain) {
        Ok(_) => panic!("it was restored"),
        Err(error) => error,
    }
}

#[test]
fn restored_zone_goes_on_as_the_captured_one() {
    let mut zone = crowd(&[], 2);
    live(&mut zone, 1, 1);
    let base = confirmed(&mut zone, Cut::Base);
    live(&mut zone, 1, 2);
    let delta = confirmed(&mut zone, Cut::Delta);
    let mut other = restore(&[&base, &delta]).unwrap();
    assert_eq!(other.digest(), zone.digest());
    assert_eq!(other.step(&[join(3)]), zone.step(&[join(3)]));
    assert_eq!(other.digest(), zone.digest());
}

#[test]
fn first_delta_of_a_zone_that_has_no_base_is_a_base() {
    let mut zone = crowd(&[], 1);
    assert!(zone.capture(Cut::Delta).base);
    zone.capture_failed();
    assert!(zone.capture(Cut::Delta).base);
    zone.capture_confirmed();
    assert!(!zone.capture(Cut::Delta).base);
}

#[test]
fn delta_after_failed_ones_holds_what_they_held() {
    let mut zone = crowd(&[], 2);
    let base = confirmed(&mut zone, Cut::Base);
    for seq in 1..5 {
        live(&mut zone, 1, seq);
        zone.capture(Cut::Delta);
        zone.capture_failed();
    }
    zone.step(&[]);
    let delta = confirmed(&mut zone, Cut::Delta);
    assert_eq!(restore(&[&base, &delta]).unwrap().digest(), zone.digest());
}

#[test]
fn failed_delta_gives_its_tombstones_back() {
    let text = [
        ("items_at_start = 0", "items_at_start = 1"),
        ("items_max = 0", "items_max = 1"),
        ("reach_cm = 300", "reach_cm = 9000"),
    ];
    let mut zone = crowd(&text, 1);
    let base = confirmed(&mut zone, Cut::Base);
    let mut scene = Scene::default();
    zone.scene(&mut scene);
    let item = scene
        .entities
        .iter()
        .find(|entity| entity.health == 255 && entity.id != session(&zone, 1))
        .unwrap()
        .id;
    let claimant = session(&zone, 1);
    zone.step(&[intent(claimant, 1, Intent::PickUp { item })]);
    zone.capture(Cut::Delta);
    zone.capture_failed();
    let delta = confirmed(&mut zone, Cut::Delta);
    let mut other = Zone::restore(config(&text), &[&base, &delta]).unwrap();
    assert_eq!((other.digest(), seen(&mut other, item)), (zone.digest(), None));
}

#[test]
fn removed_component_stays_removed() {
    let mut zone = crowd(&[], 2);
    let id = session(&zone, 1);
    zone.step(&[Input::Detach {
        session: id,
        token: AttachToken(1),
    }]);
    idle(&mut zone, 25);
    let base = confirmed(&mut zone, Cut::Base);
    zone.step(&[join_with(1, 50, 50)]);
    let delta = confirmed(&mut zone, Cut::Delta);
    let mut other = restore(&[&base, &delta]).unwrap();
    assert!(seen(&mut other, id).is_some());
    assert_eq!(other.digest(), zone.digest());
}

#[test]
fn disabled_entity_is_captured_like_any_other() {
    let mut zone = crowd(&[], 2);
    let player = zone
        .world
        .resource::<index::EntityIndex>()
        .entity(session(&zone, 1))
        .unwrap();
    zone.world
        .entity_mut(player)
        .insert(bevy_ecs::entity_disabling::Disabled);
    let base = confirmed(&mut zone, Cut::Base);
    assert!(restore(&[&base]).unwrap().session_of(Account(1)).is_some());
}

#[test]
fn frozen_cut_is_of_its_tick_whenever_it_is_encoded() {
    let (mut early, mut late) = (crowd(&[], 3), crowd(&[], 3));
    for zone in [&mut early, &mut late] {
        let id = session(zone, 1);
        zone.step(&[intent(id, 1, Intent::Say("hail".into()))]);
    }
    for (cut, seq) in [(Cut::Base, 1), (Cut::Delta, 4)] {
        let at_once = early.capture(cut);
        early.capture_confirmed();
        let frozen = late.freeze(cut);
        for zone in [&mut early, &mut late] {
            let (id, friend) = (session(zone, 2), session(zone, 3));
            zone.step(&[
                intent(id, seq, Intent::GiveGold { to: friend, amount: 1 }),
                intent(id, seq + 1, Intent::Say("well met".into())),
                intent(id, seq + 2, go(90, 10)),
            ]);
            idle(zone, 3);
        }
        assert_eq!(frozen.encode(), at_once);
        late.capture_confirmed();
    }
}

#[test]
fn write_between_capture_and_next_tick_is_in_the_next_delta() {
    let mut zone = crowd(&[], 1);
    let base = confirmed(&mut zone, Cut::Base);
    zone.world.resource_mut::<Clock>().seed = 99;
    let delta = confirmed(&mut zone, Cut::Delta);
    assert_eq!(restore(&[&base, &delta]).unwrap().world.resource::<Clock>().seed, 99);
}

#[test]
#[should_panic(expected = "a capture is in flight")]
fn second_capture_in_flight_is_a_mistake() {
    let mut zone = crowd(&[], 1);
    zone.capture(Cut::Base);
    zone.capture(Cut::Delta);
}

#[test]
fn quiet_zone_makes_small_deltas() {
    let mut zone = crowd(&[], 50);
    let base = confirmed(&mut zone, Cut::Base);
    zone.step(&[]);
    let delta = confirmed(&mut zone, Cut::Delta);
    assert!(
        delta.len() < 100 && base.len() > 50 * delta.len(),
        "{} of {}",
        delta.len(),
        base.len()
    );
}

#[test]
fn chains_that_are_none_are_refused() {
    let mut zone = crowd(&[], 1);
    let base = confirmed(&mut zone, Cut::Base);
    live(&mut zone, 1, 1);
    let delta = confirmed(&mut zone, Cut::Delta);
    assert_eq!(refusal(&[]), RestoreError::Empty);
    assert_eq!(refusal(&[&delta]), RestoreError::Order);
    assert_eq!(refusal(&[&base, &base]), RestoreError::Order);
    assert_eq!(refusal(&[&[base.clone(), vec![0]].concat()]), RestoreError::Corrupt);
}

#[test]
fn delta_on_another_base_is_noticed_by_its_digest() {
    let mut zone = crowd(&[], 2);
    let old = confirmed(&mut zone, Cut::Base);
    live(&mut zone, 1, 1);
    confirmed(&mut zone, Cut::Delta);
    live(&mut zone, 2, 1);
    let delta = confirmed(&mut zone, Cut::Delta);
    assert!(matches!(refusal(&[&old, &delta]), RestoreError::Digest { .. }));
}

#[test]
fn layout_of_another_version_is_named() {
    let mut base = confirmed(&mut crowd(&[], 1), Cut::Base);
    base[..2].copy_from_slice(&77u16.to_le_bytes());
    assert_eq!(refusal(&[&base]), RestoreError::Layout { found: 77 });
}

#[test]
fn zone_is_not_restored_under_other_rules_or_as_another_zone() {
    let base = confirmed(&mut crowd(&[], 1), Cut::Base);
    let faster = Zone::restore(config(&[("speed_cm_s = 500", "speed_cm_s = 501")]), &[&base]);
    assert_eq!(faster.err(), Some(RestoreError::Rules));
    let other = Zone::restore(config(&[("number = 9", "number = 8")]), &[&base]);
    assert_eq!(other.err(), Some(RestoreError::OtherZone { found: 9 }));
    let unknown = Zone::restore(config(&[("\"yard\"", "\"garden\"")]), &[&base]);
    assert_eq!(unknown.err(), Some(RestoreError::ZoneUnknown));
}

#[test]
fn restored_zone_keeps_its_seed() {
    let base = confirmed(&mut crowd(&[], 1), Cut::Base);
    let zone = Zone::restore(ZoneConfig { seed: 1, ..config(&[]) }, &[&base]).unwrap();
    assert_eq!(zone.world.resource::<Clock>().seed, 7);
}

/// The zone whose capture is kept in a file.
fn golden() -> Zone {
    let mut zone = crowd(&[], 3);
    let [a, b, c] = [1, 2, 3].map(|account| session(&zone, account));
    zone.step(&[
        intent(a, 1, go(127, 0)),
        intent(b, 1, Intent::GiveGold { to: c, amount: 9 }),
        intent(b, 2, Intent::Strike { target: a }),
        intent(c, 1, Intent::Say("hail".into())),
        Input::Detach {
            session: c,
            token: AttachToken(3),
        },
        Input::Quarantine { session: a, seq: 5 },
    ]);
    idle(&mut zone, 30);
    zone
}

/// A change of the layout raises `STATE_LAYOUT` and brings a new file; `EVERHOLD_BLESS=1` writes it.
#[test]
fn capture_of_this_layout_is_still_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/golden/capture-5.bin");
    if std::env::var_os("EVERHOLD_BLESS").is_some() {
        std::fs::write(path, confirmed(&mut golden(), Cut::Base)).unwrap();
    }
    let mut zone = restore(&[&std::fs::read(path).unwrap()]).unwrap();
    assert_eq!(zone.digest(), golden().digest());
}

/// The layout is a part of the rules' id, so a zone of an older one is taken over at a start of an epoch.
#[test]
fn capture_of_an_earlier_layout_goes_on_under_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/golden/capture-4.bin");
    let capture = std::fs::read(path).unwrap();
    let mut zone = Zone::take_over(config(&[]), &[&capture]).unwrap();
    assert_eq!(CaptureTitle::read(&capture).unwrap().digest, zone.digest());
    assert_eq!(zone.accounts(), [1, 2, 3].map(Account));
    zone.step(&[epoch_start(&config(&[]), Epoch(2))]);
    let outputs = zone.step(&[join_with(1, 50, 9)]);
    assert_eq!(attached(&outputs), [(9, session(&zone, 1))]);
    let base = zone.capture(Cut::Base);
    assert_eq!(restore(&[&base.body]).unwrap().digest(), zone.digest());
}

proptest! {
    #[test]
    fn arbitrary_bytes_make_no_zone_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(restore(&[&bytes]).is_err());
        // Behind a good beginning the rest is read, or this would say nothing of the readers.
        let framed = [&STATE_LAYOUT.to_le_bytes()[..], &[1], &bytes].concat();
        let found = refusal(&[&framed]);
        prop_assert!(!matches!(found, RestoreError::Layout { .. } | RestoreError::Order), "{}", found);
    }

    #[test]
    fn damaged_capture_makes_no_zone_and_no_panic(
        place in any::<prop::sample::Index>(),
        bit in 0..8u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let base = confirmed(&mut crowd(&[], 3), Cut::Base);
        let mut damaged = base.clone();
        damaged[place.index(base.len())] ^= 1 << bit;
        prop_assert!(restore(&[&damaged]).is_err());
        prop_assert!(restore(&[&base[..cut.index(base.len())]]).is_err());
    }
}
