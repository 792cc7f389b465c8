//! Looks into an archive in memory behind the back of its trait, and damage there: for a suite that compares it with
//! databases, for the books, and for bounds on its growth.

use everhold_core::durability::archive::{AuditRow, LedgerRow};
use everhold_protocol::{Account, Epoch, ZoneName};

use super::MemoryArchive;
use super::characters::Shelved;
use super::zone::{Undoable, ZoneShelf};

/// A row of the ledger, and the epoch that took it back, if one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShelvedMove<'a> {
    /// The row.
    pub row: &'a LedgerRow,
    /// The epoch.
    pub undone_by: Option<Epoch>,
}

/// The size of what an archive has of a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveUsage {
    /// The number of blobs.
    pub blobs: usize,
    /// Parts of blobs, strays among them.
    pub parts: usize,
    /// Parts of no blob.
    pub stray_parts: usize,
}

impl MemoryArchive {
    /// Returns a zone's rows of the ledger, in order of epoch and tick.
    pub fn ledger(&self, zone: &ZoneName) -> impl Iterator<Item = ShelvedMove<'_>> {
        let rows = self.shelf(zone).flat_map(|shelf| shelf.ledger.values());
        rows.map(|Undoable { row, undone_by }| ShelvedMove {
            row,
            undone_by: *undone_by,
        })
    }

    /// Returns a zone's audit rows, in order of epoch and tick, each with the epoch that took it back; `None`: those
    /// outside a zone, which nothing takes back.
    #[must_use]
    pub fn audit(&self, zone: Option<&ZoneName>) -> Vec<(&AuditRow, Option<Epoch>)> {
        let Some(zone) = zone else {
            return self.data.audit.iter().map(|row| (row, None)).collect();
        };
        let rows = self.shelf(zone).flat_map(|shelf| shelf.audit.values());
        rows.map(|kept| (&kept.row, kept.undone_by)).collect()
    }

    /// Returns the number of rows that an account has beside its own: names, payloads, belongings.
    #[must_use]
    pub fn rows_beside(&self, account: Account) -> usize {
        self.shelved(account).map_or(0, Shelved::rows_beside)
    }

    /// Measures what there is of a zone.
    #[must_use]
    pub fn usage(&self, zone: &ZoneName) -> ArchiveUsage {
        let mut usage = ArchiveUsage::default();
        for shelf in self.shelf(zone) {
            let blobs = shelf.outline(zone).blobs;
            let of_blobs: usize = blobs.iter().map(|blob| blob.blob.parts as usize).sum();
            usage = ArchiveUsage {
                blobs: blobs.len(),
                parts: shelf.parts.len(),
                stray_parts: shelf.parts.len() - of_blobs,
            };
        }
        usage
    }

    /// Changes the bytes of a part of the blob of a zone's commit of this number.
    pub fn damage_part(&mut self, zone: &ZoneName, number: u64, part: u32) {
        let shelf = self.data.zones.get_mut(zone);
        let parts = shelf.into_iter().flat_map(|shelf| shelf.parts.iter_mut());
        let is_it = |key: &((Epoch, u64), u32)| key.0.1 == number && key.1 == part;
        for (_, found) in parts.filter(|(key, _)| is_it(key)) {
            found.bytes = vec![0].into();
        }
    }

    /// Changes the bytes of an account's payload, or loses them.
    pub fn damage_payload(&mut self, account: Account, is_lost: bool) {
        let shelved = self.data.characters.accounts.get_mut(&account.0.cast_signed());
        if let Some((_, bytes)) = shelved.and_then(|shelved| shelved.payload.as_mut()) {
            *bytes = (!is_lost).then(|| vec![0, 255].into());
        }
    }

    fn shelf(&self, zone: &ZoneName) -> impl Iterator<Item = &ZoneShelf> {
        self.data.zones.get(zone).into_iter()
    }

    fn shelved(&self, account: Account) -> Option<&Shelved> {
        self.data.characters.accounts.get(&account.0.cast_signed())
    }
}
