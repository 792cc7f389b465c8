//! The beginnings of a store's suites: fenced zones, and histories of chained records whose bodies say nothing but
//! their place. It replays none, and asks nothing of a store.

use bytes::Bytes;
use everhold_core::durability::record::Record;
use everhold_core::durability::store::{CheckpointHead, CheckpointKind, Position, StoreError, StoredRecord, ZoneStore};
use everhold_core::ingress::Input;
use everhold_core::limits::PART_BYTES_MAX;
use everhold_core::ownership::{Grant, Nonce, Tenure};
use everhold_protocol::{Epoch, Tick, ZoneName};

/// Returns a tenure, as an authority would have granted it.
#[must_use]
pub fn tenure(zone: &ZoneName, epoch: u32, nonce: u64) -> Tenure {
    Tenure {
        zone: zone.clone(),
        grant: Grant::issue(Epoch(epoch), Nonce(nonce)),
    }
}

/// Returns the position of a record.
#[must_use]
pub const fn position(epoch: Epoch, record: &StoredRecord) -> Position {
    Position {
        epoch,
        tick: record.tick,
        hash: record.hash,
    }
}

/// A zone's history as its owner makes it: each record follows the last.
#[derive(Clone, Debug)]
pub struct SuiteHistory {
    epoch: Epoch,
    flavor: u64,
    last: Position,
}

impl SuiteHistory {
    /// From a zone's first tick.
    #[must_use]
    pub const fn new(epoch: u32) -> Self {
        Self::after(epoch, Position::GENESIS)
    }

    /// From the tick after `last`.
    #[must_use]
    pub const fn after(epoch: u32, last: Position) -> Self {
        Self {
            epoch: Epoch(epoch),
            flavor: 0,
            last,
        }
    }

    /// The same place in another history: its records have other hashes.
    #[must_use]
    pub const fn other(mut self) -> Self {
        self.flavor += 1;
        self
    }

    /// The end.
    #[must_use]
    pub const fn last(&self) -> Position {
        self.last
    }

    /// The next records, up to tick `end`.
    pub fn records_to(&mut self, end: Tick) -> Vec<StoredRecord> {
        (self.last.tick.0 + 1..=end.0)
            .map(|tick| self.record(Tick(tick)))
            .collect()
    }

    fn record(&mut self, tick: Tick) -> StoredRecord {
        let input = Input::EpochStart {
            epoch: self.epoch,
            nonce: self.flavor,
            rules_id: [0; 32],
        };
        let record = Record {
            epoch: self.epoch,
            tick,
            prev_hash: self.last.hash,
            digest_before: None,
            inputs: vec![input],
        };
        let stored = record.encode();
        self.last = position(self.epoch, &stored);
        stored
    }
}

/// A body of `len` bytes that differ from place to place and from `seed` to `seed`.
pub(super) fn body(len: usize, seed: u8) -> Bytes {
    (0..len).map(|at| (at % 251) as u8 ^ seed).collect()
}

/// Writes all parts of a body, and says what its head would be.
pub(super) async fn put_parts(
    store: &impl ZoneStore,
    tenure: &Tenure,
    position: Position,
    kind: CheckpointKind,
    body: &Bytes,
) -> Result<CheckpointHead, StoreError> {
    let parts: Vec<Bytes> = (0..body.len())
        .step_by(PART_BYTES_MAX)
        .map(|start| body.slice(start..))
        .collect();
    for (index, part) in (0..).zip(&parts) {
        let part = part.slice(..part.len().min(PART_BYTES_MAX));
        store.put_part(tenure, position, index, part).await?;
    }
    let count = u32::try_from(parts.len()).expect("a test's body is small");
    Ok(CheckpointHead {
        position,
        kind,
        parts: count,
        bytes: body.len() as u64,
    })
}

/// Writes a whole checkpoint.
pub(super) async fn put_checkpoint(
    store: &impl ZoneStore,
    tenure: &Tenure,
    position: Position,
    kind: CheckpointKind,
    body: &Bytes,
) -> Result<CheckpointHead, StoreError> {
    let head = put_parts(store, tenure, position, kind, body).await?;
    store.move_head(tenure, head).await?;
    Ok(head)
}

/// Parses the name of a zone; each test takes one of its own.
pub(super) fn zone(name: &str) -> ZoneName {
    name.parse().expect("a test's zone name is well-formed")
}

/// Fences a new zone under its first grant.
pub(super) async fn fenced(store: &impl ZoneStore, name: &str) -> Tenure {
    let held = tenure(&zone(name), 1, 100);
    store.fence(&held).await.expect("a new zone can be fenced");
    held
}

/// Asserts that a call was refused because of the fence of this epoch.
pub(super) fn assert_fenced<T: std::fmt::Debug>(result: Result<T, StoreError>, by: u32) {
    assert!(
        matches!(result, Err(StoreError::Fenced { epoch }) if epoch == Epoch(by)),
        "not fenced by {by}: {result:?}"
    );
}
