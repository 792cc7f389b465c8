//! The archive on PostgreSQL, 13 or newer: the tables of `archive/postgres.sql`, in the schema that the connection's
//! `search_path` names first. Every call has a deadline, and so has every statement on the server.
//!
//! A commit is answered when PostgreSQL has it on its disk, as `synchronous_commit` of its configuration says; `off`
//! there would let a crash of the server take back what was answered. A standby that is promoted without the last
//! commits is a backup that was put back: the chain of commits shows it, and the zone's owner writes anew what it has.
//!
//! A process that is stopped inside a transaction holds the row of its zone, and of the characters that it wrote, until
//! the server ends its session (`idle_in_transaction_session_timeout`, set for each connection).
//!
//! Sessions must be the server's own: a pooler that gives each transaction another one (PgBouncer's `transaction` mode)
//! loses what is set for a connection. There is no TLS: a URL that asks for it is refused.

mod account;
mod ban;
mod batch;
mod commit;
mod failure;
mod link;
mod migration;
mod read;
mod target;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use everhold_core::durability::archive::{
    AccountAnswer, Archive, ArchiveCommit, ArchiveError, ArchiveIdentity, ArchivedAccount, ArchivedZone, AuditRow,
    Belonging, CharacterRow, CommitAnswer, CommitMark, DeletionAnswer, LedgerKey, LedgerRow, WallMs,
};
use everhold_core::durability::bans::Ban;
use everhold_core::limits::ARCHIVE_PART_BYTES_MAX;
use everhold_core::ownership::{DataStamp, Grant, Tenure};
use everhold_core::zone::archive_schema::ArchiveSchema;
use everhold_protocol::{Account, ZoneName};

pub use target::PostgresTarget;

use crate::archive::{ColumnMismatch, Dialect, Statements, corrupt};
use link::{ArchiveLink, READ_MAX, WRITE_MAX};

/// Error of an archive that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The URL cannot be used. (It is not repeated: it may hold a password.)
    #[error("the archive's URL cannot be used: {0}")]
    Url(String),
    /// No server answers there, or not as one that can be used.
    #[error("cannot connect to PostgreSQL: {0}")]
    Connect(String),
    /// The tables are of a newer version. They are left as they are.
    #[error("the archive has schema version {found}; this version reads up to {known}")]
    SchemaUnknown {
        /// The version of the tables.
        found: i32,
        /// The newest version of this build.
        known: i32,
    },
    /// A column is there with another type than the game declares.
    #[error(transparent)]
    ColumnMismatch(#[from] ColumnMismatch),
    /// The tables cannot be made or read.
    #[error("PostgreSQL: {0}")]
    Command(String),
    /// The thread of the connections cannot be started, or is gone.
    #[error("the thread of the connections to PostgreSQL: {0}")]
    Thread(String),
}

/// The game's declarations, and the statements that name them.
#[derive(Debug)]
struct DeclaredTerms {
    schema: ArchiveSchema,
    statements: Statements,
}

/// An archive in a PostgreSQL database, which all shards of a world share.
#[derive(Clone, Debug)]
pub struct PostgresArchive {
    link: Arc<ArchiveLink>,
    declared: Arc<DeclaredTerms>,
}

impl PostgresArchive {
    /// Connects, makes the tables if there are none, brings older ones up to date, and adds what the game declares.
    ///
    /// # Errors
    /// No server answers, its tables are of a newer version, or have a declared column with another type.
    pub async fn open(target: &PostgresTarget, schema: ArchiveSchema) -> Result<Self, PostgresError> {
        let statements = Statements::new(Dialect::Postgres, &schema);
        let link = ArchiveLink::open(target, &schema).await?;
        Ok(Self {
            link: Arc::new(link),
            declared: Arc::new(DeclaredTerms { schema, statements }),
        })
    }
}

#[async_trait]
impl Archive for PostgresArchive {
    fn identity(&self) -> ArchiveIdentity {
        self.link.identity()
    }

    async fn fence(&self, tenure: &Tenure) -> Result<(), ArchiveError> {
        let tenure = tenure.clone();
        let identity = self.link.identity();
        self.link
            .write(move |transaction| {
                Box::pin(async move {
                    commit::fence(transaction, &tenure).await?;
                    read::confirm(transaction, identity).await
                })
            })
            .await
    }

    async fn zone(&self, zone: &ZoneName, reader: Option<Grant>) -> Result<Option<ArchivedZone>, ArchiveError> {
        let (zone, identity) = (zone.clone(), self.link.identity());
        self.link
            .read(move |transaction| Box::pin(async move { read::zone(transaction, &zone, reader, identity).await }))
            .await
    }

    async fn put_blob_part(
        &self,
        tenure: &Tenure,
        mark: CommitMark,
        index: u32,
        bytes: Bytes,
    ) -> Result<(), ArchiveError> {
        assert!(bytes.len() <= ARCHIVE_PART_BYTES_MAX, "a part of {} bytes", bytes.len());
        let tenure = tenure.clone();
        self.link
            .write(move |transaction| {
                Box::pin(async move { commit::put_part(transaction, &tenure, mark, index, &bytes).await })
            })
            .await
    }

    async fn commit(&self, tenure: &Tenure, commit: &ArchiveCommit) -> Result<CommitAnswer, ArchiveError> {
        commit.check(tenure, &self.declared.schema)?;
        let (tenure, commit, declared) = (tenure.clone(), commit.clone(), Arc::clone(&self.declared));
        self.link
            .write(move |transaction| {
                Box::pin(async move { commit::commit(transaction, &declared, &tenure, &commit).await })
            })
            .await
    }

    async fn read_blob_part(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        mark: CommitMark,
        index: u32,
    ) -> Result<Option<Bytes>, ArchiveError> {
        let zone = zone.clone();
        self.link
            .read(move |transaction| Box::pin(async move { read::part(transaction, &zone, reader, mark, index).await }))
            .await
    }

    async fn account(&self, account: Account) -> Result<Option<ArchivedAccount>, ArchiveError> {
        let (declared, identity) = (Arc::clone(&self.declared), self.link.identity());
        self.link
            .ask(READ_MAX, move |client| {
                Box::pin(async move { read::account_or_none(client, &declared, account, identity).await })
            })
            .await
    }

    async fn put_account(&self, row: &CharacterRow, wall: WallMs) -> Result<AccountAnswer, ArchiveError> {
        row.check(&self.declared.schema)?;
        let (row, declared) = (row.clone(), Arc::clone(&self.declared));
        self.link
            .ask(WRITE_MAX, move |client| {
                Box::pin(async move { account::put(client, &declared, &row, wall).await })
            })
            .await
    }

    async fn delete_account(
        &self,
        account: Account,
        generation: u64,
        audit: &AuditRow,
    ) -> Result<DeletionAnswer, ArchiveError> {
        audit.check()?;
        let generation = i64::try_from(generation).map_err(corrupt("a generation"))?;
        let (audit, declared) = (audit.clone(), Arc::clone(&self.declared));
        self.link
            .write(move |transaction| {
                Box::pin(async move { account::delete(transaction, &declared, (account, generation), &audit).await })
            })
            .await
    }

    async fn ban(&self, account: Account) -> Result<Option<Ban>, ArchiveError> {
        let identity = self.link.identity();
        self.link
            .read(move |transaction| {
                Box::pin(async move {
                    read::confirm(transaction, identity).await?;
                    ban::read(transaction, account).await
                })
            })
            .await
    }

    async fn put_ban(&self, ban: &Ban, wall: WallMs) -> Result<Option<Ban>, ArchiveError> {
        ban.check().map_err(|error| ArchiveError::Refused(error.to_string()))?;
        let ban = ban.clone();
        self.link
            .write(move |transaction| Box::pin(async move { ban::put(transaction, &ban, wall).await }))
            .await
    }

    async fn bans(&self, after: Option<Account>, rows: u32) -> Result<Vec<Ban>, ArchiveError> {
        let identity = self.link.identity();
        self.link
            .read(move |transaction| {
                Box::pin(async move {
                    read::confirm(transaction, identity).await?;
                    ban::page(transaction, after, rows).await
                })
            })
            .await
    }

    async fn zones(&self, after: Option<&ZoneName>, rows: u32) -> Result<Vec<ArchivedZone>, ArchiveError> {
        let after = after.map_or_else(String::new, ToString::to_string);
        let identity = self.link.identity();
        self.link
            .read(move |transaction| Box::pin(async move { read::zones(transaction, &after, rows, identity).await }))
            .await
    }

    async fn accounts(
        &self,
        home: Option<&ZoneName>,
        after: Option<Account>,
        rows: u32,
    ) -> Result<Vec<ArchivedAccount>, ArchiveError> {
        let (home, declared, identity) = (home.cloned(), Arc::clone(&self.declared), self.link.identity());
        self.link
            .ask(READ_MAX, move |client| {
                Box::pin(async move { read::accounts(client, &declared, (home, after, rows), identity).await })
            })
            .await
    }

    async fn accounts_since(
        &self,
        home: &ZoneName,
        since: DataStamp,
        after: Option<Account>,
        rows: u32,
    ) -> Result<Vec<ArchivedAccount>, ArchiveError> {
        let (of, declared, identity) = ((home.clone(), since), Arc::clone(&self.declared), self.link.identity());
        self.link
            .ask(READ_MAX, move |client| {
                Box::pin(async move { read::accounts_since(client, &declared, of, (after, rows), identity).await })
            })
            .await
    }

    async fn belongings(&self, account: Account) -> Result<Vec<Belonging>, ArchiveError> {
        let declared = Arc::clone(&self.declared);
        self.link
            .ask(READ_MAX, move |client| {
                Box::pin(async move { read::belongings(client, &declared, account).await })
            })
            .await
    }

    async fn ledger(
        &self,
        zone: &ZoneName,
        after: Option<LedgerKey>,
        rows: u32,
    ) -> Result<Vec<LedgerRow>, ArchiveError> {
        let (zone, declared, identity) = (zone.clone(), Arc::clone(&self.declared), self.link.identity());
        self.link
            .ask(READ_MAX, move |client| {
                Box::pin(async move { read::ledger(client, &declared, (zone, after, rows), identity).await })
            })
            .await
    }
}
