//! Growth: what is written for ever stays bounded, and what is not shows in the figures.

use everhold_core::cluster::Home;
use everhold_core::durability::store::CheckpointKind;
use everhold_protocol::{Account, EntityId, Tick};
use everhold_sim::store::ZoneUsage;

use crate::{first, put_checkpoint, store_with, zone};

/// Bytes of the two parts of a test's checkpoint.
const CHECKPOINT_BYTES: usize = 24;

#[test]
fn bases_keep_a_zone_as_small_as_it_was() {
    let meadow = zone("meadow");
    let (mut store, mut history) = store_with(&meadow, 1);
    let mut sizes = Vec::new();
    for _ in 0..50 {
        for kind in ["base", "delta", "delta"] {
            let parent = history.last();
            let records = history.records_to(parent.tick + 10);
            store.append(&first(&meadow), &records).unwrap();
            let tick = history.last().tick;
            store.quarantine(&first(&meadow), tick, EntityId(1), tick.0).unwrap();
            let kind = match kind {
                "base" => CheckpointKind::Base,
                _ => CheckpointKind::Delta { parent },
            };
            put_checkpoint(&mut store, &first(&meadow), history.last(), kind);
        }
        sizes.push(store.usage().zones[&meadow]);
    }
    assert_eq!(sizes[2], sizes[49]);
    let expected = ZoneUsage {
        records: 50,
        record_bytes: sizes[49].record_bytes,
        checkpoints: 6,
        checkpoint_bytes: 6 * CHECKPOINT_BYTES,
        quarantine: 2,
        ..ZoneUsage::default()
    };
    assert_eq!(sizes[49], expected);
    assert!(sizes[49].record_bytes > 50);
}

#[test]
fn parts_that_were_given_up_are_counted_until_the_next_base() {
    let meadow = zone("meadow");
    let (mut store, mut history) = store_with(&meadow, 3);
    for _ in 0..3 {
        store
            .append(&first(&meadow), &history.records_to(history.last().tick + 1))
            .unwrap();
        store
            .put_part(&first(&meadow), history.last(), 0, vec![1; 100].into())
            .unwrap();
    }
    let usage = store.usage().zones[&meadow];
    assert_eq!((usage.leftover_parts, usage.leftover_bytes), (3, 300));
    store.append(&first(&meadow), &history.records_to(Tick(9))).unwrap();
    put_checkpoint(&mut store, &first(&meadow), history.last(), CheckpointKind::Base);
    let usage = store.usage().zones[&meadow];
    assert_eq!((usage.leftover_parts, usage.checkpoint_bytes), (0, CHECKPOINT_BYTES));
}

#[test]
fn homes_are_counted_by_account() {
    let meadow = zone("meadow");
    let (mut store, _) = store_with(&meadow, 1);
    for account in [1, 2, 2, 3] {
        let home = Home::first(meadow.clone());
        store.set_home(Account(account), None, &home).unwrap();
    }
    let usage = store.usage();
    assert_eq!((usage.homes, usage.zones.len()), (3, 1));
}
