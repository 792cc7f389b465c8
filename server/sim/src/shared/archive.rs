//! The archive in memory as the trait has it: any number of connections to the same data, behind a lock. It decides
//! nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use everhold_core::durability::archive::{
    AccountAnswer, Archive, ArchiveCommit, ArchiveError, ArchiveIdentity, ArchivedAccount, ArchivedZone, AuditRow,
    Belonging, CharacterRow, CommitAnswer, CommitMark, DeletionAnswer, LedgerKey, LedgerRow, WallMs,
};
use everhold_core::durability::bans::Ban;
use everhold_core::ownership::{DataStamp, Grant, Tenure};
use everhold_core::zone::archive_schema::ArchiveSchema;
use everhold_protocol::{Account, ZoneName};

use crate::archive::MemoryArchive;

/// A connection to an archive in memory. A clone is one more connection to the same data.
#[derive(Clone, Debug)]
pub struct SharedArchive(Arc<Mutex<MemoryArchive>>, Arc<Mutex<BTreeMap<Account, Ban>>>);

impl SharedArchive {
    /// Opens the first connection to an empty archive for what a game declares.
    #[must_use]
    pub fn new(schema: ArchiveSchema) -> Self {
        Self(Arc::new(Mutex::new(MemoryArchive::new(schema))), Arc::default())
    }

    fn lock_bans(&self) -> MutexGuard<'_, BTreeMap<Account, Ban>> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the archive itself, to let it fail, or to look into it.
    pub fn lock(&self) -> MutexGuard<'_, MemoryArchive> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Archive for SharedArchive {
    fn identity(&self) -> ArchiveIdentity {
        ArchiveIdentity([1; 16])
    }

    async fn fence(&self, tenure: &Tenure) -> Result<(), ArchiveError> {
        self.lock().fence(tenure)
    }

    async fn zone(&self, zone: &ZoneName, reader: Option<Grant>) -> Result<Option<ArchivedZone>, ArchiveError> {
        self.lock().zone(zone, reader)
    }

    async fn put_blob_part(
        &self,
        tenure: &Tenure,
        mark: CommitMark,
        index: u32,
        bytes: Bytes,
    ) -> Result<(), ArchiveError> {
        self.lock().put_blob_part(tenure, mark, index, bytes)
    }

    async fn commit(&self, tenure: &Tenure, commit: &ArchiveCommit) -> Result<CommitAnswer, ArchiveError> {
        self.lock().commit(tenure, commit)
    }

    async fn read_blob_part(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        mark: CommitMark,
        index: u32,
    ) -> Result<Option<Bytes>, ArchiveError> {
        self.lock().read_blob_part(zone, reader, mark, index)
    }

    async fn account(&self, account: Account) -> Result<Option<ArchivedAccount>, ArchiveError> {
        Ok(self.lock().account(account))
    }

    async fn put_account(&self, row: &CharacterRow, wall: WallMs) -> Result<AccountAnswer, ArchiveError> {
        self.lock().put_account(row, wall)
    }

    async fn delete_account(
        &self,
        account: Account,
        generation: u64,
        audit: &AuditRow,
    ) -> Result<DeletionAnswer, ArchiveError> {
        self.lock().delete_account(account, generation, audit)
    }

    async fn ban(&self, account: Account) -> Result<Option<Ban>, ArchiveError> {
        Ok(self.lock_bans().get(&account).cloned())
    }

    async fn put_ban(&self, ban: &Ban, _wall: WallMs) -> Result<Option<Ban>, ArchiveError> {
        let mut bans = self.lock_bans();
        let stands = bans.get(&ban.account).cloned();
        if let Some(stands) = stands.filter(|stands| stands != ban && stands.revision >= ban.revision) {
            return Ok(Some(stands));
        }
        bans.insert(ban.account, ban.clone());
        Ok(None)
    }

    async fn bans(&self, after: Option<Account>, rows: u32) -> Result<Vec<Ban>, ArchiveError> {
        let bans = self.lock_bans();
        let later = bans
            .values()
            .filter(|ban| after.is_none_or(|after| after < ban.account));
        Ok(later.take(rows as usize).cloned().collect())
    }

    async fn zones(&self, after: Option<&ZoneName>, rows: u32) -> Result<Vec<ArchivedZone>, ArchiveError> {
        Ok(self.lock().zones(after, rows))
    }

    async fn accounts(
        &self,
        home: Option<&ZoneName>,
        after: Option<Account>,
        rows: u32,
    ) -> Result<Vec<ArchivedAccount>, ArchiveError> {
        Ok(self.lock().accounts(home, after, rows))
    }

    async fn accounts_since(
        &self,
        home: &ZoneName,
        since: DataStamp,
        after: Option<Account>,
        rows: u32,
    ) -> Result<Vec<ArchivedAccount>, ArchiveError> {
        Ok(self.lock().accounts_since(home, since, after, rows))
    }

    async fn belongings(&self, account: Account) -> Result<Vec<Belonging>, ArchiveError> {
        Ok(self.lock().belongings(account))
    }

    async fn ledger(
        &self,
        zone: &ZoneName,
        after: Option<LedgerKey>,
        rows: u32,
    ) -> Result<Vec<LedgerRow>, ArchiveError> {
        Ok(self.lock().ledger_page(zone, after, rows))
    }
}
