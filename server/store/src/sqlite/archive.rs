//! The archive in one SQLite file, beside the state files of a host: `archive.db`.
//!
//! A commit is on the disk before it is answered. All processes of the host write to one file, one after the other: a
//! process that is stopped inside a transaction blocks the file until it wakes or dies, and the others' archive waits
//! meanwhile. Nothing that players see waits for it.
//!
//! A file that was deleted while it was in use is not made anew: of each account it would say that there is none. A
//! backup of this very archive that is put in its place is taken.

mod accounts;
mod bans;
mod commit;
mod read;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
use rusqlite::Transaction;

use self::accounts::AccountWrites;
use super::file::{File, Layout, Rollback, SqliteError, Synchronous, prepare_directory};
use super::worker::{Worker, WorkerGone};
use crate::archive::{Declaration, Dialect, SCHEMA_VERSION, SQLITE_SCHEMA, Statements, corrupt, fixed, undeclared};

const LAYOUT: Layout = Layout {
    version: SCHEMA_VERSION as i64,
    synchronous: Synchronous::Full,
    schema: SQLITE_SCHEMA,
};

/// Outcome of a step inside a transaction: a failure undoes the whole transaction.
type ArchiveStep<T> = Result<T, Rollback<ArchiveError>>;

/// An archive in one file, which all shards of one host share.
#[derive(Clone, Debug)]
pub struct SqliteArchive {
    path: Arc<Path>,
    schema: Arc<ArchiveSchema>,
    identity: ArchiveIdentity,
    worker: Arc<Mutex<Worker<ArchiveFile>>>,
    account_writes: AccountWrites,
}

impl SqliteArchive {
    /// Opens, or makes, the file, and adds what the game declares and it has not.
    ///
    /// # Errors
    /// It cannot be used, is of another version, or has a declared column with another type.
    pub fn open(path: &Path, schema: ArchiveSchema) -> Result<Self, SqliteError> {
        let schema = Arc::new(schema);
        let file = ArchiveFile::open_or_create(path, &schema)?;
        Ok(Self {
            path: path.into(),
            identity: file.identity,
            schema,
            worker: Arc::new(Mutex::new(start(path, file)?)),
            account_writes: AccountWrites::default(),
        })
    }

    /// Runs a job on the file's thread, which is started anew if a job of its panicked.
    async fn on_file<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut ArchiveFile) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let worker = {
            let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
            if worker.is_gone() {
                let file = ArchiveFile::open(&self.path, &self.schema, self.identity)?;
                *worker = start(&self.path, file)?;
            }
            worker.clone()
        };
        worker.run(job).await?
    }
}

fn start(path: &Path, file: ArchiveFile) -> Result<Worker<ArchiveFile>, SqliteError> {
    Worker::spawn("sqlite-archive", file).map_err(|source| SqliteError::Thread {
        path: path.to_owned(),
        source,
    })
}

/// Gives a shared statement the placeholders of SQLite.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

/// The open file.
#[derive(Debug)]
struct ArchiveFile {
    path: PathBuf,
    schema: Arc<ArchiveSchema>,
    statements: Arc<Statements>,
    identity: ArchiveIdentity,
    file: File,
}

impl ArchiveFile {
    fn open_or_create(path: &Path, schema: &Arc<ArchiveSchema>) -> Result<Self, SqliteError> {
        if let Some(directory) = path.parent() {
            prepare_directory(directory)?;
        }
        let mut file = match File::open(path, LAYOUT)? {
            Some(file) => file,
            None => File::create(path, LAYOUT)?,
        };
        declare(&mut file, schema)?;
        make_indexes(&mut file)?;
        Ok(Self {
            path: path.to_owned(),
            identity: identity(&mut file)?,
            schema: Arc::clone(schema),
            statements: Arc::new(Statements::new(Dialect::Sqlite, schema)),
            file,
        })
    }

    /// Opens the file again, which must be there and be the one of this number.
    fn open(path: &Path, schema: &Arc<ArchiveSchema>, expected: ArchiveIdentity) -> Result<Self, ArchiveError> {
        let gone = || ArchiveError::Unavailable(format!("{} is gone", path.display()));
        let mut file = File::open(path, LAYOUT)?.ok_or_else(gone)?;
        let found = identity(&mut file)?;
        if found != expected {
            let path = path.display();
            return Err(ArchiveError::Unavailable(format!(
                "{path} is another archive than the one that was opened"
            )));
        }
        declare(&mut file, schema)?;
        Ok(Self {
            path: path.to_owned(),
            identity: expected,
            schema: Arc::clone(schema),
            statements: Arc::new(Statements::new(Dialect::Sqlite, schema)),
            file,
        })
    }

    /// Returns the file that the path names.
    fn current(&mut self) -> Result<&mut File, ArchiveError> {
        if !self.file.is_current() {
            *self = Self::open(&self.path, &self.schema, self.identity)?;
        }
        Ok(&mut self.file)
    }

    fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> ArchiveStep<T>) -> Result<T, ArchiveError> {
        self.current()?.write(work)
    }

    fn read<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> ArchiveStep<T>) -> Result<T, ArchiveError> {
        self.current()?.read(work)
    }
}

fn identity(file: &mut File) -> Result<ArchiveIdentity, SqliteError> {
    file.read(|file| Ok(file.query_row(fixed::IDENTITY, [], |row| row.get(0).map(ArchiveIdentity))?))
}

/// Makes the indexes that are missing in a file of an earlier build.
fn make_indexes(file: &mut File) -> Result<(), SqliteError> {
    let known = file.read(|file| -> Result<i64, Rollback<SqliteError>> {
        let count = "SELECT count(*) FROM sqlite_schema WHERE type = 'index' \
                     AND name IN ('ledger_undone', 'audit_undone', 'audit_bans')";
        Ok(file.query_row(count, [], |row| row.get(0))?)
    })?;
    if known == 3 {
        return Ok(());
    }
    file.write(|file| {
        file.execute_batch(fixed::INDEXES)?;
        Ok::<_, Rollback<SqliteError>>(())
    })
}

/// Adds what the game declares.
fn declare(file: &mut File, schema: &ArchiveSchema) -> Result<(), SqliteError> {
    let missing = |file: &Transaction<'_>| -> Result<Vec<Declaration>, Rollback<SqliteError>> {
        let mut statement = file.prepare(fixed::DECLARATIONS)?;
        let known = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        let known = known.collect::<rusqlite::Result<Vec<_>>>()?;
        undeclared(schema, &known).map_err(|error| Rollback::Refused(error.into()))
    };
    if file.read(missing)?.is_empty() {
        return Ok(());
    }
    file.write(|file| {
        // Another process may have been quicker.
        for declaration in missing(file)? {
            let Declaration {
                subject,
                name,
                kind,
                about,
                column,
            } = declaration;
            if let Some(column) = column {
                let definition = Dialect::Sqlite.column(column);
                file.execute_batch(&format!("ALTER TABLE characters ADD COLUMN \"{name}\" {definition}"))?;
            }
            file.prepare_cached(
                "INSERT INTO declarations (subject, name, kind, about) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (subject, name) DO UPDATE SET about = excluded.about",
            )?
            .execute((subject, name, kind, about))?;
        }
        Ok(())
    })
}

#[async_trait]
impl Archive for SqliteArchive {
    fn identity(&self) -> ArchiveIdentity {
        self.identity
    }

    async fn fence(&self, tenure: &Tenure) -> Result<(), ArchiveError> {
        let tenure = tenure.clone();
        self.on_file(move |archive| archive.write(|file| commit::fence(file, &tenure).map(drop)))
            .await
    }

    async fn zone(&self, zone: &ZoneName, reader: Option<Grant>) -> Result<Option<ArchivedZone>, ArchiveError> {
        let zone = zone.clone();
        self.on_file(move |archive| archive.read(|file| read::zone(file, &zone, reader)))
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
        self.on_file(move |archive| archive.write(|file| commit::put_part(file, &tenure, mark, index, &bytes)))
            .await
    }

    async fn commit(&self, tenure: &Tenure, commit: &ArchiveCommit) -> Result<CommitAnswer, ArchiveError> {
        commit.check(tenure, &self.schema)?;
        let (tenure, commit) = (tenure.clone(), commit.clone());
        self.on_file(move |archive| {
            let (schema, statements) = (Arc::clone(&archive.schema), Arc::clone(&archive.statements));
            archive.write(|file| commit::commit(file, (&schema, &statements), &tenure, &commit))
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
        self.on_file(move |archive| archive.read(|file| read::part(file, &zone, reader, mark, index)))
            .await
    }

    async fn account(&self, account: Account) -> Result<Option<ArchivedAccount>, ArchiveError> {
        self.on_file(move |archive| {
            let (schema, statements) = (Arc::clone(&archive.schema), Arc::clone(&archive.statements));
            archive.read(|file| read::account(file, (&schema, &statements), account))
        })
        .await
    }

    async fn put_account(&self, row: &CharacterRow, wall: WallMs) -> Result<AccountAnswer, ArchiveError> {
        row.check(&self.schema)?;
        self.account_writes.put(self, row.clone(), wall).await
    }

    async fn delete_account(
        &self,
        account: Account,
        generation: u64,
        audit: &AuditRow,
    ) -> Result<DeletionAnswer, ArchiveError> {
        audit.check()?;
        let generation = i64::try_from(generation).map_err(corrupt("a generation"))?;
        let audit = audit.clone();
        self.on_file(move |archive| {
            let (schema, statements) = (Arc::clone(&archive.schema), Arc::clone(&archive.statements));
            archive.write(|file| commit::delete_account(file, (&schema, &statements), (account, generation), &audit))
        })
        .await
    }

    async fn ban(&self, account: Account) -> Result<Option<Ban>, ArchiveError> {
        self.on_file(move |archive| archive.read(|file| bans::read(file, account)))
            .await
    }

    async fn put_ban(&self, ban: &Ban, wall: WallMs) -> Result<Option<Ban>, ArchiveError> {
        ban.check().map_err(|error| ArchiveError::Refused(error.to_string()))?;
        let ban = ban.clone();
        self.on_file(move |archive| archive.write(|file| bans::put(file, &ban, wall)))
            .await
    }

    async fn bans(&self, after: Option<Account>, rows: u32) -> Result<Vec<Ban>, ArchiveError> {
        self.on_file(move |archive| archive.read(|file| bans::page(file, after, rows)))
            .await
    }

    async fn zones(&self, after: Option<&ZoneName>, rows: u32) -> Result<Vec<ArchivedZone>, ArchiveError> {
        let after = after.map_or_else(String::new, ToString::to_string);
        self.on_file(move |archive| archive.read(|file| read::zones(file, &after, rows)))
            .await
    }

    async fn accounts(
        &self,
        home: Option<&ZoneName>,
        after: Option<Account>,
        rows: u32,
    ) -> Result<Vec<ArchivedAccount>, ArchiveError> {
        let home = home.cloned();
        self.on_file(move |archive| {
            let (schema, statements) = (Arc::clone(&archive.schema), Arc::clone(&archive.statements));
            archive.read(|file| read::accounts(file, (&schema, &statements), home.as_ref(), after, rows))
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
        let home = home.clone();
        self.on_file(move |archive| {
            let (schema, statements) = (Arc::clone(&archive.schema), Arc::clone(&archive.statements));
            archive.read(|file| read::accounts_since(file, (&schema, &statements), (&home, since), after, rows))
        })
        .await
    }

    async fn belongings(&self, account: Account) -> Result<Vec<Belonging>, ArchiveError> {
        self.on_file(move |archive| {
            let schema = Arc::clone(&archive.schema);
            archive.read(|file| read::belongings(file, &schema, account))
        })
        .await
    }

    async fn ledger(
        &self,
        zone: &ZoneName,
        after: Option<LedgerKey>,
        rows: u32,
    ) -> Result<Vec<LedgerRow>, ArchiveError> {
        let zone = zone.clone();
        self.on_file(move |archive| {
            let schema = Arc::clone(&archive.schema);
            archive.read(|file| read::ledger(file, &schema, &zone, after, rows))
        })
        .await
    }
}

impl From<WorkerGone> for ArchiveError {
    fn from(error: WorkerGone) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<SqliteError> for ArchiveError {
    fn from(error: SqliteError) -> Self {
        match error {
            SqliteError::Corrupt { .. } | SqliteError::SchemaUnknown { .. } => Self::Corrupt(error.into_text()),
            error => Self::Unavailable(error.into_text()),
        }
    }
}
