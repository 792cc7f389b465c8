//! Histories of a zone as models write them: a record's hash is the history up to it, one byte for each tick. So the
//! end of a history shows all of it, and whether another contains it. No state of a zone is here, and no store.

use bytes::Bytes;
use everhold_core::durability::store::{Position, StoredRecord, ZoneData};
use everhold_protocol::{Epoch, Tick, ZoneName};

/// The body of every record: what happened is in the hash.
pub const BODY: &[u8] = b"inputs";

/// Returns the zone of every model.
///
/// # Panics
/// Never: the name is one.
#[must_use]
pub fn zone() -> ZoneName {
    "meadow".parse().expect("a zone name")
}

/// Returns the record of the tick after `last`, in which what happened is `mark`, which is not 0.
///
/// # Panics
/// If the history is longer than a hash.
#[must_use]
pub fn record(last: Position, mark: u8) -> StoredRecord {
    let mut hash = last.hash;
    hash.0[usize::try_from(last.tick.0).expect("a short history")] = mark;
    StoredRecord {
        tick: last.tick.next(),
        prev_hash: last.hash,
        hash,
        body: Bytes::from_static(BODY),
    }
}

/// Returns the position of an earlier tick in the history that ends at `end`, as the epoch `epoch` writes it.
///
/// # Panics
/// If the history is shorter.
#[must_use]
pub fn earlier(end: Position, tick: Tick, epoch: Epoch) -> Position {
    assert!(tick <= end.tick, "a history has no tick after its end");
    let mut hash = end.hash;
    hash.0[usize::try_from(tick.0).expect("a short history")..].fill(0);
    Position { epoch, tick, hash }
}

/// Whether the history that ends at `whole` has all of the one that ends at `part`.
#[must_use]
pub fn contains(whole: Position, part: Position) -> bool {
    part.tick <= whole.tick && earlier(whole, part.tick, part.epoch).hash == part.hash
}

/// Returns where the history of stored data ends: its chain of checkpoints, and the records that follow from it.
#[must_use]
pub fn end(data: &ZoneData) -> Position {
    let mut end = data.chain.last().map_or(Position::GENESIS, |last| last.head.position);
    for record in &data.records {
        if record.tick != end.tick.next() || record.prev_hash != end.hash {
            break;
        }
        (end.tick, end.hash) = (record.tick, record.hash);
    }
    end
}
