//! Store, archive, and authority in memory when they forget, fill up, or are damaged, as a Redis does that restarts,
//! has no memory left, or fails over. What they answer when all is well is in `conformance.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "faults/archive.rs"]
mod archive;
#[path = "faults/authority.rs"]
mod authority;
#[path = "faults/connections.rs"]
mod connections;
#[path = "faults/damage.rs"]
mod damage;
#[path = "faults/forgetting.rs"]
mod forgetting;
#[path = "faults/growth.rs"]
mod growth;
#[path = "faults/stopping.rs"]
mod stopping;

use bytes::Bytes;
use everhold_core::durability::store::{AppendAnswer, CheckpointHead, CheckpointKind, Position};
use everhold_core::ownership::Tenure;
use everhold_protocol::{Tick, ZoneName};
use everhold_sim::store::MemoryStore;
use everhold_store::conformance::{SuiteHistory, tenure};

fn zone(name: &str) -> ZoneName {
    name.parse().unwrap()
}

/// Returns a zone's first tenure.
fn first(zone: &ZoneName) -> Tenure {
    tenure(zone, 1, 1)
}

/// A store that has a zone with so many records.
fn store_with(zone: &ZoneName, records: u64) -> (MemoryStore, SuiteHistory) {
    let (mut store, mut history) = (MemoryStore::default(), SuiteHistory::new(1));
    store.fence(&first(zone)).unwrap();
    let answer = store.append(&first(zone), &history.records_to(Tick(records))).unwrap();
    assert_eq!(answer, AppendAnswer::Ok);
    (store, history)
}

/// Writes a checkpoint of two parts.
fn put_checkpoint(store: &mut MemoryStore, tenure: &Tenure, position: Position, kind: CheckpointKind) {
    let parts = [Bytes::from_static(b"half of it"), Bytes::from_static(b"the other half")];
    for (index, part) in (0..).zip(&parts) {
        store.put_part(tenure, position, index, part.clone()).unwrap();
    }
    let bytes = parts.iter().map(|part| part.len() as u64).sum();
    let head = CheckpointHead {
        position,
        kind,
        parts: 2,
        bytes,
    };
    store.move_head(tenure, head).unwrap();
}
