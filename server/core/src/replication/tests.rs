//! Datagrams as a client reads them. Whether a client ends up knowing the truth is tested in `mirrors` and `newcomers`.

mod mirrors;
mod newcomers;

use std::collections::BTreeMap;

use everhold_protocol::{EntityId, EntityKind, EntityView, Epoch, SessionId, Snapshot, Velocity};
use proptest::prelude::*;

use super::*;
use crate::ingress::AttachToken;

/// Returns a scene of `spots`, of which the even ones are viewers.
fn scene(spots: &[(i32, i32)]) -> Scene {
    let mut scene = Scene::default();
    for (&(x, y), counter) in spots.iter().zip(1_u32..) {
        let id = EntityId::new(3, counter);
        let kind = [EntityKind::Player, EntityKind::Monster, EntityKind::Item][counter as usize % 3];
        scene.entities.push(EntityView {
            id,
            kind,
            x,
            y,
            health: counter as u8,
        });
        if counter % 2 == 0 {
            let (last_input_seq, event_seq, value_digest) = (counter, counter + 1, counter ^ 0xFFFF);
            scene.sessions.push(SceneSession {
                session: id,
                attach: AttachToken(1),
                last_input_seq: last_input_seq.into(),
                event_seq: event_seq.into(),
                x,
                y,
                hp: 90,
                value_digest,
            });
        }
    }
    scene
}

fn spots() -> impl Strategy<Value = Vec<(i32, i32)>> {
    let near = prop::collection::vec((-3_000..3_000_i32, -3_000..3_000_i32), 0..300);
    let far = prop::collection::vec((-90_000..90_000_i32, -90_000..90_000_i32), 0..100);
    (near, far).prop_map(|(near, far)| [near, far].concat())
}

/// Makes some ids of the scene as long as can be.
fn with_long_ids(mut scene: Scene) -> Scene {
    let entities = scene.entities.iter_mut().map(|entity| &mut entity.id);
    let sessions = scene.sessions.iter_mut().map(|session| &mut session.session);
    for id in entities.chain(sessions).filter(|id| id.counter() % 3 == 0) {
        *id = EntityId::new(u32::MAX, u32::MAX - id.counter());
    }
    scene
}

fn default_replicator() -> Replicator {
    Replicator::new(ViewConfig::default())
}

/// Returns the header of a tick that the store does not have yet, and that runs slowly.
fn of_tick(tick: Tick) -> TickHeader {
    TickHeader {
        epoch: Epoch(5),
        tick,
        unconfirmed_ticks: 300,
        dilation: 200,
    }
}

/// Returns what each session is told, by session.
fn told(replicator: &mut Replicator, scene: &Scene, tick: Tick) -> BTreeMap<SessionId, Snapshot> {
    let datagrams = replicator.snapshots(scene, of_tick(tick));
    let decode = |(session, datagram): (_, &[u8])| (session, Snapshot::decode(datagram).unwrap());
    datagrams.iter().map(decode).collect()
}

/// Whether any viewer is told of an entity other than itself.
fn tells_of_others(told: &BTreeMap<SessionId, Snapshot>) -> bool {
    told.iter()
        .any(|(session, snapshot)| snapshot.updates.iter().any(|update| update.id() != *session))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_session_reads_its_own_state_and_what_is_true_of_others(
        spots in spots(),
        datagram_bytes in DATAGRAM_BYTES_MIN..=DATAGRAM_BYTES_MAX,
    ) {
        let config = ViewConfig { datagram_bytes, ..ViewConfig::default() };
        let mut replicator = Replicator::new(config);
        let scene = with_long_ids(scene(&spots));
        let entities: BTreeMap<_, _> = scene.entities.iter().map(|entity| (entity.id, *entity)).collect();
        let sessions: BTreeMap<_, _> = scene.sessions.iter().map(|session| (session.session, session)).collect();
        for tick in 77..100 {
            let datagrams = replicator.snapshots(&scene, of_tick(Tick(tick)));
            prop_assert_eq!(datagrams.len(), sessions.len());
            for (session, datagram) in datagrams.iter() {
                let is_first = tick == 77 || tick == 79;
                let bytes_max = if is_first { DATAGRAM_BYTES_MAX } else { datagram_bytes };
                prop_assert!(datagram.len() <= bytes_max);
                let snapshot = Snapshot::decode(datagram).unwrap();
                prop_assert_eq!(snapshot.header, header(sessions[&session], of_tick(Tick(tick))));
                for update in snapshot.updates {
                    prop_assert_eq!(update, EntityUpdate::Seen(entities[&update.id()], Velocity::STILL));
                }
            }
        }
    }

    #[test]
    fn same_scenes_have_the_same_bytes_in_whatever_order_they_are_listed(spots in spots(), ticks in 1..30_u64) {
        let straight = scene(&spots);
        let mut reversed = straight.clone();
        reversed.entities.reverse();
        reversed.sessions.reverse();
        let (mut one, mut other) = (default_replicator(), default_replicator());
        for tick in (0..ticks).map(Tick) {
            let [one, other] = [(&mut one, &straight), (&mut other, &reversed)]
                .map(|(replicator, scene)| replicator.snapshots(scene, TickHeader::stored(Epoch(1), tick)));
            prop_assert_eq!(one, other);
        }
    }
}

#[test]
fn crowd_fills_a_datagram_and_no_more() {
    let mut replicator = default_replicator();
    let scene = scene(&[(0, 0); 2_000]);
    for tick in 1..60 {
        let datagrams = replicator.snapshots(&scene, TickHeader::stored(Epoch(1), Tick(tick)));
        let longest = datagrams.iter().map(|(_, datagram)| datagram.len()).max().unwrap();
        if tick > 10 {
            let bytes = ViewConfig::default().datagram_bytes;
            // The header is seldom as long as it may be, and not every record as long as the longest.
            let slack = SnapshotHeader::BYTES_MAX + 2 * EntityUpdate::BYTES_MAX;
            assert!((bytes - slack..=bytes).contains(&longest), "{longest} B at tick {tick}");
        }
    }
}

#[test]
fn those_who_stand_close_together_in_a_crowd_are_told_the_same() {
    let mut replicator = default_replicator();
    let scene = scene(&[(100, 100); 2_000]);
    for tick in (1..10).map(Tick) {
        let told = told(&mut replicator, &scene, tick);
        let (_, first) = told.first_key_value().unwrap();
        assert!(told.values().all(|snapshot| snapshot.updates == first.updates));
    }
}

#[test]
fn nothing_is_told_of_those_who_do_what_was_expected() {
    let mut replicator = default_replicator();
    let mut scene = scene(&[(0, 0), (500, 0)]);
    let walk = |scene: &mut Scene| scene.entities[0].x += 25;
    let mut silent = 0;
    for tick in (1..200).map(Tick) {
        walk(&mut scene);
        let told = told(&mut replicator, &scene, tick);
        let told_of_the_walker = told.values().flat_map(|snapshot| &snapshot.updates);
        let count = told_of_the_walker
            .filter(|update| update.id() == scene.entities[0].id)
            .count();
        silent += u32::from(count == 0);
    }
    // One refresh in twenty ticks, and the start.
    assert!((180..=192).contains(&silent), "silent in {silent} of 199 ticks");
}

#[test]
fn newcomer_is_shown_everything_twice() {
    let mut replicator = default_replicator();
    let mut scene = scene(&[(0, 0), (500, 0), (-500, 300)]);
    for tick in (1..30).map(Tick) {
        told(&mut replicator, &scene, tick);
    }
    let id = EntityId::new(3, 9);
    let mut newcomer = scene.sessions[0];
    newcomer.session = id;
    scene.sessions.push(newcomer);
    let known: Vec<bool> = (30..34)
        .map(|tick| told(&mut replicator, &scene, Tick(tick))[&id].updates.len() >= 3)
        .collect();
    assert_eq!(known, [true, false, true, false]);
}

#[test]
fn whoever_is_moved_far_is_a_newcomer() {
    let mut replicator = default_replicator();
    let mut scene = scene(&[(0, 0), (500, 0), (80_000, 0), (80_000, 300)]);
    for tick in (1..33).map(Tick) {
        told(&mut replicator, &scene, tick);
    }
    let id = scene.sessions[0].session;
    scene.sessions[0].x = 80_000;
    scene.entities[1].x = 80_000;
    let told = told(&mut replicator, &scene, Tick(33));
    let ids: Vec<_> = told[&id].updates.iter().map(EntityUpdate::id).collect();
    assert!(ids.contains(&EntityId::new(3, 3)) && ids.contains(&EntityId::new(3, 4)));
}

#[test]
fn vanishing_is_told_twice_and_returning_at_once() {
    let mut replicator = default_replicator();
    let mut scene = scene(&[(0, 0), (500, 0)]);
    for tick in (1..30).map(Tick) {
        told(&mut replicator, &scene, tick);
    }
    let lost = scene.entities.remove(0);
    let gone = EntityUpdate::Gone(lost.id);
    let viewer = scene.sessions[0].session;
    let told_gone: Vec<bool> = (30..36)
        .map(|tick| {
            told(&mut replicator, &scene, Tick(tick))[&viewer]
                .updates
                .contains(&gone)
        })
        .collect();
    assert_eq!(told_gone, [true, false, false, true, false, false]);
    scene.entities.remove(0);
    told(&mut replicator, &scene, Tick(36));
    scene.entities.push(lost);
    let back = told(&mut replicator, &scene, Tick(37));
    assert!(
        back[&viewer]
            .updates
            .contains(&EntityUpdate::Seen(lost, Velocity::STILL))
    );
}

#[test]
fn with_less_detail_everybody_has_a_turn_in_two_ticks_and_whoever_did_something_at_once() {
    for detail in [Detail::Seldom, Detail::Small] {
        let mut replicator = default_replicator();
        replicator.set_detail(detail);
        let mut scene = scene(&[(0, 0); 20]);
        let mut ticks_of: BTreeMap<SessionId, Vec<Tick>> = BTreeMap::new();
        for tick in 0..40 {
            if tick == 30 || tick == 31 {
                scene.sessions[4].last_input_seq += 1;
            }
            for session in told(&mut replicator, &scene, Tick(tick)).into_keys() {
                ticks_of.entry(session).or_default().push(Tick(tick));
            }
        }
        let actor = scene.sessions[4].session;
        assert!([30, 31].map(Tick).iter().all(|tick| ticks_of[&actor].contains(tick)));
        assert_eq!(ticks_of.len(), scene.sessions.len());
        // Newcomers are shown everything twice, which need not be their turns.
        for (session, ticks) in ticks_of {
            assert!(ticks.windows(2).all(|pair| pair[1] - pair[0] <= 2), "{ticks:?}");
            assert!(ticks.len() <= if session == actor { 22 } else { 21 }, "{ticks:?}");
        }
    }
}

#[test]
fn datagrams_are_half_as_long_with_little_detail() {
    let longest = |detail| {
        let mut replicator = default_replicator();
        replicator.set_detail(detail);
        let scene = scene(&[(0, 0); 500]);
        let ticks = (0..30).map(|tick| replicator.snapshots(&scene, TickHeader::stored(Epoch(1), Tick(tick))));
        // The first ticks are a newcomer's.
        let later: Vec<Datagrams> = ticks.skip(10).collect();
        let lengths = later
            .iter()
            .flat_map(Datagrams::iter)
            .map(|(_, datagram)| datagram.len());
        lengths.max().unwrap()
    };
    assert!(longest(Detail::Small) <= ViewConfig::default().datagram_bytes / 2);
    assert!(longest(Detail::Small) < longest(Detail::Full));
}

#[test]
fn datagrams_of_earlier_ticks_keep_their_bytes() {
    let mut replicator = default_replicator();
    let scene = scene(&[(0, 0), (100, 0), (200, 0), (300, 0)]);
    let ticks: Vec<_> = (0..30_u64)
        .map(|tick| replicator.snapshots(&scene, TickHeader::stored(Epoch(1), Tick(tick))))
        .collect();
    for (tick, told) in ticks.iter().enumerate() {
        assert!(
            told.iter()
                .all(|(_, datagram)| Snapshot::decode(datagram).unwrap().header.tick == Tick(tick as u64))
        );
    }
}

#[test]
fn empty_zone_tells_nobody_anything() {
    assert!(
        default_replicator()
            .snapshots(&Scene::default(), TickHeader::stored(Epoch(1), Tick(1)))
            .is_empty()
    );
}

#[test]
fn nobody_is_told_of_those_beyond_the_radius() {
    let mut replicator = default_replicator();
    let scene = scene(&[(0, 0), (10_001, 0)]);
    assert!((0..60).all(|tick| !tells_of_others(&told(&mut replicator, &scene, Tick(tick)))));
}

#[test]
#[should_panic(expected = "a datagram has")]
fn datagram_without_room_for_a_record_is_refused() {
    let _ = Replicator::new(ViewConfig {
        datagram_bytes: SnapshotHeader::BYTES_MAX,
        ..ViewConfig::default()
    });
}
