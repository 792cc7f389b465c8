//! Datagrams as a client reads them.

use std::collections::BTreeMap;

use everhold_protocol::{EntityId, EntityKind, Snapshot};
use proptest::prelude::*;

use super::*;

/// A scene of `spots`, of which the even ones look.
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
                last_input_seq,
                event_seq,
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

/// How many entities the first session of this scene is told of.
fn told(replicator: &mut Replicator, scene: &Scene) -> usize {
    let told = replicator.snapshots(scene, 5, 77, 255);
    Snapshot::decode(&told[0].1).unwrap().entities.len()
}

#[test]
fn less_detail_tells_of_fewer_and_full_detail_of_all_again() {
    let ring = |radius: i32| (0..20).map(move |place| (radius, place * 10));
    let scene = scene(
        &[
            &[(0, 0), (0, 0)][..],
            &ring(1_000).chain(ring(9_000)).collect::<Vec<_>>(),
        ]
        .concat(),
    );
    let mut replicator = Replicator::new(ViewConfig::default());
    let full = told(&mut replicator, &scene);
    replicator.set_detail(Detail::FarSeldom);
    let seldom: usize = (0..8).map(|_| told(&mut replicator, &scene)).sum();
    replicator.set_detail(Detail::Small);
    let small: usize = (0..8).map(|_| told(&mut replicator, &scene)).sum();
    assert!(small <= seldom && seldom < 8 * full, "{small} {seldom} {full}");
    replicator.set_detail(Detail::Full);
    assert_eq!(told(&mut replicator, &scene), full);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_session_reads_its_own_state_and_its_neighbours(spots in spots(), datagram_bytes in 52..=DATAGRAM_BYTES_MAX) {
        let config = ViewConfig { datagram_bytes, ..ViewConfig::default() };
        let scene = scene(&spots);
        let told = Replicator::new(config).snapshots(&scene, 5, 77, 200);
        prop_assert_eq!(told.len(), scene.sessions.len());
        let entities: BTreeMap<_, _> = scene.entities.iter().map(|entity| (entity.id, *entity)).collect();
        let sessions: BTreeMap<_, _> = scene.sessions.iter().map(|session| (session.session, session)).collect();
        for (session, datagram) in told {
            prop_assert!(datagram.len() <= datagram_bytes);
            let snapshot = Snapshot::decode(&datagram).unwrap();
            prop_assert_eq!(snapshot.header, header(sessions[&session], 5, 77, 200));
            prop_assert!(snapshot.entities.len() <= config.budget());
            prop_assert!(snapshot.entities.iter().all(|seen| entities[&seen.id] == *seen && seen.id != session));
        }
    }

    #[test]
    fn record_has_the_same_bytes_for_every_viewer(spots in spots()) {
        let mut bytes_of = BTreeMap::new();
        for (_, datagram) in Replicator::new(ViewConfig::default()).snapshots(&scene(&spots), 1, 1, 255) {
            let (records, rest) = datagram[SnapshotHeader::BYTES..].as_chunks::<{ EntityView::BYTES }>();
            prop_assert!(rest.is_empty());
            for record in records {
                prop_assert_eq!(bytes_of.entry(record[..8].to_vec()).or_insert(*record), record);
            }
        }
    }

    #[test]
    fn same_scene_has_the_same_bytes_in_whatever_order_it_is_listed(spots in spots(), tick in 0..100_u64) {
        let straight = scene(&spots);
        let mut reversed = straight.clone();
        reversed.entities.reverse();
        reversed.sessions.reverse();
        let mut replicator = Replicator::new(ViewConfig::default());
        let told = replicator.snapshots(&straight, 1, tick, 255);
        prop_assert_eq!(told, replicator.snapshots(&reversed, 1, tick, 255));
    }
}

#[test]
fn datagram_is_filled_to_its_last_record_in_a_crowd() {
    let told = Replicator::new(ViewConfig::default()).snapshots(&scene(&[(0, 0); 500]), 1, 1, 255);
    let longest = told.iter().map(|(_, datagram)| datagram.len()).max();
    assert_eq!(
        longest,
        Some(SnapshotHeader::BYTES + ViewConfig::default().budget() * EntityView::BYTES)
    );
    assert!(DATAGRAM_BYTES_MAX - longest.unwrap() < EntityView::BYTES);
}

#[test]
fn datagrams_of_earlier_ticks_keep_their_bytes() {
    let mut replicator = Replicator::new(ViewConfig::default());
    let scene = scene(&[(0, 0), (100, 0), (200, 0), (300, 0)]);
    let ticks: Vec<_> = (0..30_u64)
        .map(|tick| replicator.snapshots(&scene, 1, tick, 255))
        .collect();
    for (tick, told) in ticks.iter().enumerate() {
        assert!(
            told.iter()
                .all(|(_, datagram)| Snapshot::decode(datagram).unwrap().header.tick == tick as u64)
        );
    }
}

#[test]
fn empty_zone_tells_nobody_anything() {
    assert!(
        Replicator::new(ViewConfig::default())
            .snapshots(&Scene::default(), 1, 1, 255)
            .is_empty()
    );
}

#[test]
#[should_panic(expected = "room for an entity")]
fn datagram_without_room_for_a_record_is_refused() {
    let _ = Replicator::new(ViewConfig {
        datagram_bytes: SnapshotHeader::BYTES,
        ..ViewConfig::default()
    });
}
