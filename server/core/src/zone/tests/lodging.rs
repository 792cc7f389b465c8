//! Characters that leave their zone for rest, and come back to it.

use bytes::Bytes;

use super::*;
use crate::ingress::{Birth, Join, Lodge};
use crate::limits::LEFT_MEMORY_S;
use crate::ownership::DataStamp;
use crate::zone::facts::players;
use crate::zone::state::{FIRST_GENERATION, Residency};

/// Ticks of the yard after which an away player rests for certain.
const LINGER: u64 = 60;

fn generation(zone: &Zone, account: u64) -> u64 {
    let entity_index = zone.world.resource::<EntityIndex>();
    let player = entity_index.entity(session(zone, account)).unwrap();
    zone.world.get::<Residency>(player).unwrap().generation
}

/// Has the player of an account, which its connection of this token attached, go to rest. Returns its generation and
/// its bytes.
fn put_to_rest(zone: &mut Zone, account: u64, token: u64) -> (u64, Bytes) {
    let id = session(zone, account);
    zone.step(&[detach(id, token)]);
    idle(zone, LINGER);
    resting(zone, account)
}

fn resting(zone: &mut Zone, account: u64) -> (u64, Bytes) {
    let frozen = zone.freeze(Cut::Base);
    let found = players(&frozen)
        .find(|(session, _)| session.account == Account(account))
        .map(|(_, player)| (player.generation(), player.resting().expect("it rests")));
    zone.capture_failed();
    let (generation, payload) = found.unwrap();
    (generation, payload.into())
}

fn evict(account: u64, generation: u64) -> Input {
    let account = Account(account);
    Input::Evict { account, generation }
}

/// The moment of a look-up that is asked for now.
fn now(zone: &Zone) -> DataStamp {
    DataStamp {
        epoch: zone.epoch(),
        tick: zone.tick(),
    }
}

fn lodge(account: u64, asked: DataStamp, generation: u64, payload: &Bytes) -> Input {
    Input::Lodge(Lodge {
        account: Account(account),
        asked,
        generation,
        payload: payload.clone(),
    })
}

/// A login with ticket and token `n`.
fn login(account: u64, n: u8, birth: Birth) -> Input {
    let Input::Join(join) = join_with(account, n, n.into()) else {
        unreachable!()
    };
    Input::Join(Join { birth, ..join })
}

#[test]
fn character_that_left_comes_back_with_everything_it_had_and_no_other_is_touched() {
    let mut zone = crowd(&[], 3);
    let id = session(&zone, 2);
    zone.step(&[intent(id, 1, go(127, 0))]);
    idle(&mut zone, 5);
    let (generation, payload) = put_to_rest(&mut zone, 2, 2);
    let before = zone.describe(id).unwrap();
    let others = |zone: &Zone| [1, 3].map(|account| zone.describe(session(zone, account)).unwrap());
    let others_before = others(&zone);

    let left = residences(&mut zone, &[evict(2, generation)]);
    assert_eq!(left, [Residence::Evicted(Account(2))]);
    assert_eq!((zone.session_of(Account(2)), zone.describe(id)), (None, None));
    assert_eq!(zone.stats().sessions, 2);

    let asked = now(&zone);
    zone.step(&[lodge(2, asked, generation, &payload)]);
    assert_eq!(session(&zone, 2), id, "it is the same session");
    assert_eq!(zone.describe(id).unwrap(), before);
    assert_eq!(others(&zone), others_before);
    let outputs = zone.step(&[login(2, 50, Birth::Never)]);
    assert_eq!(attached(&outputs), [(50, id)]);
    assert_eq!(self::generation(&zone, 2), generation + 1, "it woke");
}

#[test]
fn session_that_left_is_resumed_with_its_secret_as_long_as_the_window_is_open() {
    for (ticks, is_back) in [(0, true), (100_000, false)] {
        let mut zone = crowd(&[], 1);
        let id = session(&zone, 1);
        let (generation, payload) = put_to_rest(&mut zone, 1, 1);
        zone.step(&[evict(1, generation)]);
        zone.world.resource_mut::<Clock>().tick += ticks;
        let asked = now(&zone);
        let outputs = zone.step(&[lodge(1, asked, generation, &payload), resume(id, 1, 9, 0, 7)]);
        assert_eq!(!attached(&outputs).is_empty(), is_back);
        assert_eq!(refusals(&outputs).is_empty(), is_back);
    }
}

#[test]
fn character_that_woke_since_it_was_kept_stays() {
    let mut zone = crowd(&[], 1);
    let (kept, _) = put_to_rest(&mut zone, 1, 1);
    zone.step(&[login(1, 50, Birth::Never)]);
    assert_eq!(residences(&mut zone, &[evict(1, kept)]), [], "it is awake");
    let (again, _) = put_to_rest(&mut zone, 1, 50);
    assert_eq!(again, kept + 2);
    assert_eq!(residences(&mut zone, &[evict(1, kept)]), [], "it rests as another one");
    assert_eq!(residences(&mut zone, &[evict(9, 1)]), [], "it is not there");
    assert_eq!(residences(&mut zone, &[evict(1, again)]), [Residence::Evicted(Account(1))]);
}

#[test]
fn account_without_a_character_is_born_only_by_a_login_that_looked_it_up_since_it_left() {
    let mut zone = zone(&[]);
    let allowed = |asked, generation| Birth::Allowed { asked, generation };
    let asked = now(&zone);
    let refused = |outputs: &Outputs| refusals(outputs).first().map(|(_, code)| *code);
    assert_eq!(refused(&zone.step(&[login(1, 1, Birth::Never)])), Some(RefusalCode::Internal));
    assert!(zone.spent_tickets().is_empty(), "nothing is spent");
    assert_eq!(refused(&zone.step(&[login(1, 1, allowed(asked, 1))])), None);
    assert_eq!(generation(&zone, 1), 2);
    let (rests_at, _) = put_to_rest(&mut zone, 1, 1);
    let before = now(&zone);
    zone.step(&[evict(1, rests_at)]);
    let (after, other_epoch, future) = (
        now(&zone),
        DataStamp {
            epoch: Epoch(9),
            ..now(&zone)
        },
        DataStamp {
            tick: zone.tick() + 99,
            ..now(&zone)
        },
    );
    for stale in [asked, before, other_epoch, future] {
        let outputs = zone.step(&[login(1, 2, allowed(stale, 1))]);
        assert_eq!(refused(&outputs), Some(RefusalCode::Internal), "{stale:?}");
    }
    assert_eq!(refused(&zone.step(&[login(1, 2, allowed(after, 7))])), None);
    assert_eq!(generation(&zone, 1), 8, "above all that is known of it");
}

#[test]
fn character_that_was_looked_up_before_it_left_once_more_does_not_come_back() {
    let mut zone = crowd(&[], 1);
    let (first, old) = put_to_rest(&mut zone, 1, 1);
    zone.step(&[evict(1, first)]);
    let asked = now(&zone);
    zone.step(&[lodge(1, asked, first, &old), login(1, 50, Birth::Never)]);
    let (second, new) = put_to_rest(&mut zone, 1, 50);
    zone.step(&[evict(1, second)]);
    zone.step(&[lodge(1, asked, first, &old)]);
    assert_eq!(zone.session_of(Account(1)), None, "the look-up is older than its last leave");
    let asked = now(&zone);
    zone.step(&[lodge(1, asked, second, &new)]);
    assert_eq!(generation(&zone, 1), second);
}

#[test]
fn look_up_that_is_older_than_what_the_zone_remembers_is_not_believed() {
    let mut zone = crowd(&[], 1);
    let (generation, payload) = put_to_rest(&mut zone, 1, 1);
    zone.step(&[evict(1, generation)]);
    let asked = now(&zone);
    assert_eq!(zone.world.resource::<state::Travel>().left.len(), 1);
    idle(&mut zone, LEFT_MEMORY_S * 20 + 40);
    assert!(zone.world.resource::<state::Travel>().left.is_empty());
    zone.step(&[lodge(1, asked, generation, &payload)]);
    assert_eq!(zone.session_of(Account(1)), None);
}

#[test]
fn bytes_that_are_no_character_of_the_account_change_nothing() {
    let mut zone = crowd(&[], 2);
    let (generation, payload) = put_to_rest(&mut zone, 1, 1);
    let mut spoiled: Vec<Vec<u8>> = (0..payload.len()).map(|len| payload[..len].to_vec()).collect();
    spoiled.extend([[&payload[..], &[0]].concat(), vec![0xff; 64], b"\x63\x00later".to_vec()]);
    zone.step(&[evict(1, generation)]);
    let asked = now(&zone);
    let inputs: Vec<Input> = spoiled
        .into_iter()
        .map(|bytes| lodge(1, asked, generation, &bytes.into()))
        .chain([lodge(3, asked, generation, &payload)])
        .collect();
    let mut undisturbed = {
        let capture = zone.capture(Cut::Base);
        zone.capture_failed();
        Zone::restore(config(&[]), &[&capture.body]).unwrap()
    };
    zone.step(&inputs);
    undisturbed.step(&[]);
    assert_eq!(zone.digest(), undisturbed.digest());
}

#[test]
fn flipped_bytes_of_a_character_never_break_the_zone() {
    let mut zone = crowd(&[], 1);
    let (generation, payload) = put_to_rest(&mut zone, 1, 1);
    zone.step(&[evict(1, generation)]);
    let asked = now(&zone);
    for at in 0..payload.len() {
        let mut bytes = payload.to_vec();
        bytes[at] ^= 0x11;
        zone.step(&[lodge(1, asked, generation, &bytes.into())]);
        if let Some(id) = zone.session_of(Account(1)) {
            assert!(zone.describe(id).is_some());
            let entity = zone.world.resource::<EntityIndex>().entity(id).unwrap();
            zone.world.despawn(entity);
        }
    }
}

#[test]
fn character_goes_above_a_generation_that_was_undone() {
    let mut zone = crowd(&[], 1);
    let outrank = |generation| Input::Outrank {
        account: Account(1),
        generation,
    };
    zone.step(&[outrank(40)]);
    assert_eq!(generation(&zone, 1), 41);
    zone.step(&[outrank(40), outrank(7)]);
    assert_eq!(generation(&zone, 1), 41);
    let (rests_at, payload) = put_to_rest(&mut zone, 1, 1);
    assert_eq!(rests_at, 42);
    zone.step(&[evict(1, rests_at)]);
    let asked = now(&zone);
    zone.step(&[lodge(1, asked, 99, &payload)]);
    assert_eq!(generation(&zone, 1), 99, "the highest that any record has");
}

#[test]
fn character_that_left_and_came_back_between_two_checkpoints_is_restored_as_it_is() {
    let mut zone = crowd(&[], 2);
    let base = zone.capture(Cut::Base);
    zone.capture_confirmed();
    let (generation, payload) = put_to_rest(&mut zone, 1, 1);
    let (second, other) = put_to_rest(&mut zone, 2, 2);
    zone.step(&[evict(1, generation), evict(2, second)]);
    let first_delta = zone.capture(Cut::Delta);
    zone.capture_confirmed();
    let asked = now(&zone);
    zone.step(&[lodge(1, asked, generation, &payload), lodge(2, asked, second, &other)]);
    idle(&mut zone, 3);
    zone.step(&[evict(2, second)]);
    let asked = now(&zone);
    zone.step(&[lodge(2, asked, second, &other)]);
    let second_delta = zone.capture(Cut::Delta);
    let chain = [&base.body[..], &first_delta.body, &second_delta.body];
    let mut restored = Zone::restore(config(&[]), &chain).unwrap();
    assert_eq!(restored.digest(), zone.digest());
    assert_eq!(restored.accounts(), [1, 2].map(Account));
    for _ in 0..50 {
        zone.step(&[]);
        restored.step(&[]);
        assert_eq!(restored.digest(), zone.digest());
    }
}

#[test]
fn character_that_rested_under_other_numbers_is_fitted_to_these() {
    let mut old = crowd(&[], 1);
    let (generation, payload) = put_to_rest(&mut old, 1, 1);
    let mut zone = zone(&[("hp = 100", "hp = 40")]);
    let asked = now(&zone);
    zone.step(&[lodge(1, asked, generation, &payload)]);
    let id = session(&zone, 1);
    let player = zone.world.resource::<EntityIndex>().entity(id).unwrap();
    let health = zone.world.get::<crate::game::state::Health>(player).unwrap();
    assert_eq!((health.hp, health.max), (40, 40));
}

#[test]
fn newborn_stands_above_the_record_that_reserved_it() {
    let zone = crowd(&[], 1);
    assert_eq!(generation(&zone, 1), FIRST_GENERATION + 1);
}
