//! All that an archive in memory has of one zone: fence, last commit, blobs with their parts, ledger, audit. Which
//! write is to be done, is decided elsewhere.

use std::collections::BTreeMap;

use bytes::Bytes;
use everhold_core::durability::archive::{
    ArchiveBlob, ArchiveCommit, ArchiveError, ArchivedBlob, ArchivedZone, AuditRow, CommitMark, LedgerKey, LedgerRow,
    checksum,
};
use everhold_core::durability::store::Position;
use everhold_core::ownership::{DataStamp, Grant, Nonce};
use everhold_protocol::{Epoch, ZoneName};

/// Blobs that stay of a zone: the newest, and the one before.
const BLOBS: usize = 2;

/// The place of a row: its tick, and its place among the rows of that.
type RowKey = (DataStamp, u32);

/// A blob's key: blobs of a higher epoch, and of an epoch those of a higher number, are newer.
type BlobKey = (Epoch, u64);

/// A part of a blob, as it was written, and as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlobPart {
    checksum: [u8; 32],
    pub(super) bytes: Bytes,
}

/// A row, and the epoch that took it back, if one did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Undoable<R> {
    pub(super) row: R,
    pub(super) undone_by: Option<Epoch>,
}

impl<R: Clone> Undoable<R> {
    fn new(row: &R) -> Self {
        Self {
            row: row.clone(),
            undone_by: None,
        }
    }
}

/// All that there is of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ZoneShelf {
    pub(super) fence: Grant,
    last: Option<CommitMark>,
    blobs: BTreeMap<BlobKey, ArchivedBlob>,
    pub(super) parts: BTreeMap<(BlobKey, u32), BlobPart>,
    pub(super) ledger: BTreeMap<RowKey, Undoable<LedgerRow>>,
    pub(super) audit: BTreeMap<RowKey, Undoable<AuditRow>>,
}

impl ZoneShelf {
    pub(super) const fn new(fence: Grant) -> Self {
        Self {
            fence,
            last: None,
            blobs: BTreeMap::new(),
            parts: BTreeMap::new(),
            ledger: BTreeMap::new(),
            audit: BTreeMap::new(),
        }
    }

    pub(super) const fn fence(&self) -> (Epoch, Nonce) {
        (self.fence.epoch(), self.fence.nonce())
    }

    pub(super) const fn grant(&self) -> Grant {
        self.fence
    }

    pub(super) const fn last(&self) -> Option<CommitMark> {
        self.last
    }

    /// Raises the fence to a grant, or refuses it.
    pub(super) fn raise(&mut self, grant: Grant) -> Result<(), ArchiveError> {
        let epoch = self.fence.epoch();
        if grant != self.fence && grant.epoch() <= epoch {
            return Err(ArchiveError::Fenced { epoch });
        }
        self.fence = grant;
        Ok(())
    }

    pub(super) fn outline(&self, zone: &ZoneName) -> ArchivedZone {
        ArchivedZone {
            zone: zone.clone(),
            fence: self.fence(),
            last: self.last,
            blobs: self.blobs.values().rev().copied().collect(),
        }
    }

    pub(super) fn put_part(&mut self, mark: CommitMark, index: u32, bytes: Bytes) {
        let part = BlobPart {
            checksum: checksum(&bytes),
            bytes,
        };
        self.parts.insert((key(mark), index), part);
    }

    pub(super) fn part(&self, mark: CommitMark, index: u32) -> Result<Option<Bytes>, ArchiveError> {
        let Some(part) = self.parts.get(&(key(mark), index)) else {
            return Ok(None);
        };
        if checksum(&part.bytes) != part.checksum {
            let tick = mark.position.tick;
            let what = format!("part {index} of the blob of tick {tick} is not what was written");
            return Err(ArchiveError::Corrupt(what));
        }
        Ok(Some(part.bytes.clone()))
    }

    /// Makes a blob the newest, and drops those before the one before it, and strays.
    pub(super) fn put_blob(&mut self, mark: CommitMark, blob: ArchiveBlob) -> Result<(), ArchiveError> {
        let newest = key(mark);
        let parts = self.parts.range((newest, 0)..(newest, blob.parts));
        let (count, bytes) = parts.fold((0, 0), |(count, bytes), (_, part)| {
            (count + 1, bytes + part.bytes.len() as u64)
        });
        if (count, bytes) != (blob.parts, blob.bytes) {
            let tick = mark.position.tick;
            let what = format!("the blob of tick {tick} has {count} of {} parts", blob.parts);
            return Err(ArchiveError::Corrupt(what));
        }
        self.blobs.insert(newest, ArchivedBlob { mark, blob });
        while self.blobs.len() > BLOBS {
            self.blobs.pop_first();
        }
        let blobs = &self.blobs;
        self.parts.retain(|(of, _), _| *of >= newest || blobs.contains_key(of));
        Ok(())
    }

    /// Marks the rows of the parent's history that this commit's has not, and has those stand again that it has.
    /// Returns how many are marked.
    pub(super) fn undo(&mut self, commit: &ArchiveCommit) -> u64 {
        let Some(parent) = commit.parent.filter(|parent| parent.position != commit.kept) else {
            return 0;
        };
        let (by, parent) = (commit.mark.position.epoch, parent.position);
        let undone = take_back(&mut self.ledger, (commit.kept, parent), by)
            + take_back(&mut self.audit, (commit.kept, parent), by);
        stand_again(&mut self.ledger, commit.kept);
        stand_again(&mut self.audit, commit.kept);
        undone
    }

    /// Returns rows of the ledger that were not taken back, in order of tick, epoch, and place, after a key.
    pub(super) fn ledger_page(&self, after: Option<LedgerKey>, rows: usize) -> Vec<LedgerRow> {
        let order = |(stamp, seq): LedgerKey| (stamp.tick, stamp.epoch, seq);
        let kept = self.ledger.values().filter(|row| row.undone_by.is_none());
        let mut page: Vec<LedgerRow> = kept
            .filter(|row| after.is_none_or(|after| order(row.row.key()) > order(after)))
            .map(|row| row.row.clone())
            .collect();
        page.sort_unstable_by_key(|row| order(row.key()));
        page.truncate(rows);
        page
    }

    /// Writes the rows of a commit, and makes it the last one.
    pub(super) fn put_rows(&mut self, commit: &ArchiveCommit) {
        for row in &commit.ledger {
            let entry = self.ledger.entry((row.stamp, row.seq));
            entry.or_insert_with(|| Undoable::new(row));
        }
        for row in &commit.audit {
            // One without a stamp is of no zone, and the commit was checked.
            if let Some(stamp) = row.stamp {
                let entry = self.audit.entry((stamp, row.seq));
                entry.or_insert_with(|| Undoable::new(row));
            }
        }
        self.last = Some(commit.mark);
    }
}

const fn key(mark: CommitMark) -> BlobKey {
    (mark.position.epoch, mark.number)
}

/// Has the rows of a history up to `kept` stand again: what epochs after its last one took back.
fn stand_again<R>(rows: &mut BTreeMap<RowKey, Undoable<R>>, kept: Position) {
    let is_of_it = |stamp: &DataStamp| stamp.tick <= kept.tick && stamp.epoch <= kept.epoch;
    let of_it = rows.iter_mut().filter(|((stamp, _), _)| is_of_it(stamp));
    for (_, row) in of_it {
        row.undone_by = row.undone_by.filter(|by| *by <= kept.epoch);
    }
}

/// Marks the rows of a history that ends at `parent` which are after `kept`, or of epochs after its own. Returns how
/// many.
fn take_back<R>(rows: &mut BTreeMap<RowKey, Undoable<R>>, (kept, parent): (Position, Position), by: Epoch) -> u64 {
    let is_after =
        |stamp: &DataStamp| (stamp.tick > kept.tick || stamp.epoch > kept.epoch) && stamp.epoch <= parent.epoch;
    let after = rows
        .iter_mut()
        .filter(|((stamp, _), row)| is_after(stamp) && row.undone_by.is_none());
    let mut undone = 0;
    for (_, row) in after {
        row.undone_by = Some(by);
        undone += 1;
    }
    undone
}
