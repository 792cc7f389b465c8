//! Bits that flip and ends that are torn off: what an adopter then reads, and that a seed strikes where it struck
//! before.

use everhold_core::durability::record::Record;
use everhold_core::durability::store::{CheckpointKind, StoreError};
use everhold_protocol::Tick;
use everhold_protocol::rng::SplitMix64;
use everhold_sim::store::{MemoryStore, StoredKind, StoredPlace};
use everhold_store::conformance::SuiteHistory;

use crate::{first, put_checkpoint, store_with, zone};

const KINDS: [StoredKind; 5] = [
    StoredKind::Record,
    StoredKind::Base,
    StoredKind::Delta,
    StoredKind::PreviousChain,
    StoredKind::Leftover,
];

/// A store whose only zone has two bases, a delta on the newer, records after it, and a part too many.
fn furnished_store() -> MemoryStore {
    let meadow = zone("meadow");
    let (mut store, mut history) = store_with(&meadow, 3);
    put_checkpoint(&mut store, &first(&meadow), history.last(), CheckpointKind::Base);
    for kind in ["base", "delta"] {
        let parent = history.last();
        let records = history.records_to(parent.tick + 3);
        store.append(&first(&meadow), &records).unwrap();
        let kind = match kind {
            "base" => CheckpointKind::Base,
            _ => CheckpointKind::Delta { parent },
        };
        put_checkpoint(&mut store, &first(&meadow), history.last(), kind);
    }
    store.append(&first(&meadow), &history.records_to(Tick(12))).unwrap();
    store
        .put_part(&first(&meadow), history.last(), 4, "never a head".into())
        .unwrap();
    store
}

#[test]
fn every_kind_of_bytes_has_its_places() {
    let (store, meadow) = (furnished_store(), zone("meadow"));
    let counts = KINDS.map(|kind| store.places(&meadow, kind).len());
    assert_eq!(counts, [9, 2, 2, 2, 1]);
    for kind in KINDS {
        assert!(store.places(&zone("forest"), kind).is_empty());
    }
}

#[test]
fn flipped_bit_changes_what_it_struck_and_nothing_else() {
    let meadow = zone("meadow");
    for (kind, seed) in KINDS.iter().flat_map(|kind| (0..200).map(move |seed| (*kind, seed))) {
        let (mut store, mut rng) = (furnished_store(), SplitMix64::new(seed));
        let (before, usage) = (store.dump(), store.usage());
        let place = store.draw_place(&meadow, kind, &mut rng).unwrap();
        assert!(store.flip_bit(&meadow, place, &mut rng));
        assert_ne!(store.dump(), before, "{place:?} seed {seed}");
        assert_eq!(store.usage(), usage, "{place:?} seed {seed}");
        assert!(store.read_zone(&meadow).is_ok(), "only its reader can tell");
    }
}

#[test]
fn same_seed_strikes_the_same_place_in_the_same_way() {
    let meadow = zone("meadow");
    let strike = |seed| {
        let (mut store, mut rng) = (furnished_store(), SplitMix64::new(seed));
        for kind in KINDS {
            let place = store.draw_place(&meadow, kind, &mut rng).unwrap();
            assert!(store.flip_bit(&meadow, place, &mut rng));
            assert!(store.tear(&meadow, place, &mut rng));
        }
        store.dump()
    };
    assert_eq!(strike(7), strike(7));
    assert_ne!(strike(7), strike(8));
}

#[test]
fn damaged_record_is_told_by_its_hash() {
    let meadow = zone("meadow");
    let written = SuiteHistory::new(1).records_to(Tick(3));
    let mut sound = 0;
    for seed in 0..500 {
        let (mut store, _) = store_with(&meadow, 3);
        let (place, mut rng) = (StoredPlace::Record(Tick(2)), SplitMix64::new(seed));
        let is_torn = seed % 2 == 0;
        assert!(match is_torn {
            true => store.tear(&meadow, place, &mut rng),
            false => store.flip_bit(&meadow, place, &mut rng),
        });
        let read = store.read_zone(&meadow).unwrap().records;
        // The epoch that the store notes beside a record is not read.
        let is_sound = read == written;
        assert!(is_sound != Record::decode(&read[1]).is_err(), "seed {seed}");
        assert!(!(is_sound && is_torn), "seed {seed}");
        sound += u32::from(is_sound);
    }
    assert!((1..25).contains(&sound), "{sound} of 250");
}

#[test]
fn torn_part_of_a_checkpoint_is_corrupt() {
    let (mut store, meadow) = (furnished_store(), zone("meadow"));
    let mut rng = SplitMix64::new(1);
    let sound = store.dump();
    for kind in [StoredKind::Base, StoredKind::Delta] {
        let place = store.draw_place(&meadow, kind, &mut rng).unwrap();
        assert!(store.tear(&meadow, place, &mut rng));
        let read = store.read_zone(&meadow);
        assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
        store.restore_to(&sound);
    }
    let place = store.draw_place(&meadow, StoredKind::PreviousChain, &mut rng).unwrap();
    assert!(store.tear(&meadow, place, &mut rng));
    assert!(store.read_zone(&meadow).is_ok(), "it is not read");
}

#[test]
fn nothing_is_struck_where_nothing_is() {
    let (mut store, meadow) = (furnished_store(), zone("meadow"));
    let mut rng = SplitMix64::new(1);
    let before = store.dump();
    assert!(!store.flip_bit(&meadow, StoredPlace::Record(Tick(99)), &mut rng));
    assert!(!store.tear(&zone("forest"), StoredPlace::Record(Tick(4)), &mut rng));
    assert_eq!(store.draw_place(&zone("forest"), StoredKind::Record, &mut rng), None);
    assert_eq!(store.dump(), before);
}
