//! An archive in memory, with the answers of a real one and with faults. A plain state machine: it locks nothing, waits
//! for nothing, and reads no clock. What is lost on the way to it is not its concern.
//!
//! Its contract is the trait [`Archive`](everhold_core::durability::archive::Archive).

mod zone;
mod characters;
mod looking;

use std::collections::BTreeMap;

use bytes::Bytes;
use everhold_core::durability::archive::{
    AccountAnswer, ArchiveCommit, ArchiveError, ArchivedAccount, ArchivedZone, AuditRow, Belonging, CharacterRow,
    CommitAnswer, CommitMark, CommitReport, DeletionAnswer, LedgerKey, LedgerRow, WallMs, check_reader,
};
use everhold_core::limits::{ARCHIVE_PAGE_ROWS_MAX, ARCHIVE_PART_BYTES_MAX, LEDGER_PAGE_ROWS_MAX};
use everhold_core::ownership::{DataStamp, Grant, Tenure};
use everhold_core::zone::archive_schema::ArchiveSchema;
use everhold_protocol::{Account, ZoneName};

use self::characters::{Characters, Hindrance};
pub use self::looking::{ArchiveUsage, ShelvedMove};
use self::zone::ZoneShelf;
use crate::mutant::Mutant;

/// All that an archive held at one moment: its backup.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArchiveDump {
    zones: BTreeMap<ZoneName, ZoneShelf>,
    characters: Characters,
    /// Audit rows outside a zone.
    audit: Vec<AuditRow>,
}

/// An archive in memory. The methods named as those of the trait do what the trait says; the others are its faults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryArchive {
    schema: ArchiveSchema,
    data: ArchiveDump,
    mutant: Option<Mutant>,
}

/// Zones, as the trait says.
impl MemoryArchive {
    /// Makes an empty archive for what a game declares.
    #[must_use]
    pub fn new(schema: ArchiveSchema) -> Self {
        Self {
            schema,
            ..Self::default()
        }
    }

    /// Returns what the game declares.
    #[must_use]
    pub const fn schema(&self) -> &ArchiveSchema {
        &self.schema
    }

    /// Raises the zone's fence.
    pub fn fence(&mut self, tenure: &Tenure) -> Result<(), ArchiveError> {
        self.written(tenure).map(drop)
    }

    /// Reads what there is of a zone but for parts and rows.
    pub fn zone(&self, zone: &ZoneName, reader: Option<Grant>) -> Result<Option<ArchivedZone>, ArchiveError> {
        let shelf = self.checked(zone, reader)?;
        Ok(shelf.map(|shelf| shelf.outline(zone)))
    }

    /// Writes one part of a blob.
    ///
    /// # Panics
    /// If it has more than [`ARCHIVE_PART_BYTES_MAX`] bytes.
    pub fn put_blob_part(
        &mut self,
        tenure: &Tenure,
        mark: CommitMark,
        index: u32,
        bytes: Bytes,
    ) -> Result<(), ArchiveError> {
        assert!(bytes.len() <= ARCHIVE_PART_BYTES_MAX, "a part of {} bytes", bytes.len());
        self.written(tenure)?.put_part(mark, index, bytes);
        Ok(())
    }

    /// Does a commit, whole or not at all.
    pub fn commit(&mut self, tenure: &Tenure, commit: &ArchiveCommit) -> Result<CommitAnswer, ArchiveError> {
        commit.check(tenure, &self.schema)?;
        let is_any_parent_right = self.mutant == Some(Mutant::ArchiveParentSkipped);
        let before = self.data.zones.get(&tenure.zone).map(ZoneShelf::grant);
        let shelf = self.written(tenure)?;
        let last = shelf.last();
        if last == Some(commit.mark) {
            return Ok(CommitAnswer::Duplicate);
        }
        if last != commit.parent && !is_any_parent_right {
            return Ok(CommitAnswer::Moved { last });
        }
        if let Some(blob) = commit.blob
            && let Err(error) = shelf.put_blob(commit.mark, blob)
        {
            // Nothing is done: the fence is what it was as well.
            match before {
                Some(grant) => shelf.fence = grant,
                None => _ = self.data.zones.remove(&tenure.zone),
            }
            return Err(error);
        }
        let undone = shelf.undo(commit);
        shelf.put_rows(commit);
        let mut report = CommitReport {
            undone,
            ..CommitReport::default()
        };
        let writer = Some((&tenure.zone, commit.mark.position.stamp()));
        for row in &commit.characters {
            match self.data.characters.put(writer, row, commit.wall) {
                None => {}
                Some(Hindrance::Newer) => report.superseded.push(row.account),
                Some(Hindrance::Name) => report.names_taken.push(row.account),
            }
        }
        Ok(CommitAnswer::Done(report))
    }

    /// Reads a part of a blob.
    pub fn read_blob_part(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        mark: CommitMark,
        index: u32,
    ) -> Result<Option<Bytes>, ArchiveError> {
        match self.checked(zone, reader)? {
            Some(shelf) => shelf.part(mark, index),
            None => Ok(None),
        }
    }

    /// Reads a page of zones.
    #[must_use]
    pub fn zones(&self, after: Option<&ZoneName>, rows: u32) -> Vec<ArchivedZone> {
        let zones = self.data.zones.iter();
        let zones = zones.filter(|(zone, _)| after.is_none_or(|after| *zone > after));
        let zones = zones.map(|(zone, shelf)| shelf.outline(zone));
        zones.take(rows.min(ARCHIVE_PAGE_ROWS_MAX) as usize).collect()
    }

    /// Reads a page of a zone's ledger.
    #[must_use]
    pub fn ledger_page(&self, zone: &ZoneName, after: Option<LedgerKey>, rows: u32) -> Vec<LedgerRow> {
        let shelf = self.data.zones.get(zone);
        let rows = rows.min(LEDGER_PAGE_ROWS_MAX) as usize;
        shelf.map_or_else(Vec::new, |shelf| shelf.ledger_page(after, rows))
    }

    /// Returns the shelf that is to be written to, with its fence raised to the grant.
    fn written(&mut self, tenure: &Tenure) -> Result<&mut ZoneShelf, ArchiveError> {
        let grant = tenure.grant;
        let shelf = self.data.zones.entry(tenure.zone.clone());
        let shelf = shelf.or_insert_with(|| ZoneShelf::new(grant));
        if self.mutant != Some(Mutant::ArchiveUnfenced) {
            shelf.raise(grant)?;
        }
        Ok(shelf)
    }

    /// Returns a zone's shelf to a reader who holds the fence.
    fn checked(&self, zone: &ZoneName, reader: Option<Grant>) -> Result<Option<&ZoneShelf>, ArchiveError> {
        let shelf = self.data.zones.get(zone);
        let reader = reader.filter(|_| self.mutant != Some(Mutant::ArchiveUnfenced));
        check_reader(shelf.map(ZoneShelf::fence), reader)?;
        Ok(shelf)
    }
}

/// Accounts, as the trait says.
impl MemoryArchive {
    /// Reads an account.
    #[must_use]
    pub fn account(&self, account: Account) -> Option<ArchivedAccount> {
        self.data.characters.account(account)
    }

    /// Writes a character outside a zone.
    pub fn put_account(&mut self, row: &CharacterRow, wall: WallMs) -> Result<AccountAnswer, ArchiveError> {
        row.check(&self.schema)?;
        Ok(self.data.characters.put_outside(row, wall))
    }

    /// Deletes an account's character.
    pub fn delete_account(
        &mut self,
        account: Account,
        generation: u64,
        audit: &AuditRow,
    ) -> Result<DeletionAnswer, ArchiveError> {
        audit.check()?;
        if i64::try_from(generation).is_err() {
            return Err(ArchiveError::Corrupt("a generation of 64 bits".to_owned()));
        }
        let (answer, is_done_now) = self.data.characters.delete(account, generation);
        if is_done_now {
            self.data.audit.push(audit.clone());
        }
        Ok(answer)
    }

    /// Reads a page of accounts.
    #[must_use]
    pub fn accounts(&self, home: Option<&ZoneName>, after: Option<Account>, rows: u32) -> Vec<ArchivedAccount> {
        let rows = rows.min(ARCHIVE_PAGE_ROWS_MAX) as usize;
        self.data.characters.page(home, after).take(rows).collect()
    }

    /// Reads a page of accounts of a zone whose rows are of this tick or a later one, or of none.
    #[must_use]
    pub fn accounts_since(
        &self,
        home: &ZoneName,
        since: DataStamp,
        after: Option<Account>,
        rows: u32,
    ) -> Vec<ArchivedAccount> {
        let rows = rows.min(ARCHIVE_PAGE_ROWS_MAX) as usize;
        let is_since = |row: &ArchivedAccount| match row {
            ArchivedAccount::Character(character) => character.stamp.is_none_or(|stamp| stamp >= since),
            ArchivedAccount::Deleted { .. } => true,
        };
        let page = self.data.characters.page(Some(home), after);
        page.filter(is_since).take(rows).collect()
    }

    /// Reads an account's belongings.
    #[must_use]
    pub fn belongings(&self, account: Account) -> Vec<Belonging> {
        self.data.characters.belongings(account)
    }
}

/// Faults of an archive.
impl MemoryArchive {
    /// Plants a mutant. The archive answers as before unless it stands here.
    pub const fn plant(&mut self, mutant: Option<Mutant>) {
        self.mutant = mutant;
    }

    /// Returns a backup.
    #[must_use]
    pub fn dump(&self) -> ArchiveDump {
        self.data.clone()
    }

    /// Goes back to a backup: whatever was written since is forgotten.
    pub fn restore_to(&mut self, dump: &ArchiveDump) {
        self.data = dump.clone();
    }

    /// Forgets everything, as one that is restored from the backup of its first moment.
    pub fn forget_everything(&mut self) {
        self.data = ArchiveDump::default();
    }
}
