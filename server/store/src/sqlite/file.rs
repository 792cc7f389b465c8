//! One SQLite file: how it is opened, how it is told that it is still the same one, what its errors mean.

use std::fs::TryLockError;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use everhold_core::durability::store::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::archive::ColumnMismatch;

/// Longest wait of a statement for another process's transaction. Ours take milliseconds; a process that was stopped
/// inside one blocks its file until it is killed or wakes, and then the outcome is "unavailable", a quarter of a ttl
/// later.
const BUSY_TIMEOUT: Duration = Duration::from_millis(1_000);

/// Pause before a lock that another process holds is tried again. It is held for less.
const LOCK_RETRY: Duration = Duration::from_millis(2);

/// Number of statements kept prepared; a file has fewer.
const STATEMENTS_MAX: usize = 48;

/// The moment at which a commit is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Synchronous {
    /// At the next WAL checkpoint. A commit survives the death of the process at once; a power loss takes what was
    /// committed since the last WAL checkpoint (at most a thousand pages), and never corrupts the file.
    Normal,
    /// Before the commit returns.
    Full,
}

impl Synchronous {
    const fn text(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Full => "full",
        }
    }
}

/// The layout of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// `PRAGMA user_version`.
    pub(super) version: i64,
    /// Creates the tables.
    pub(super) schema: &'static str,
    /// The moment at which commits are on the disk.
    pub(super) synchronous: Synchronous,
}

/// Error of a file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// The directory cannot be made, or not be written to.
    #[error("the state directory {path} cannot be written to")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Written by another version.
    #[error("{path} has schema version {found}; this version reads {known}")]
    SchemaUnknown {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: i64,
        /// The version of this build.
        known: i64,
    },
    /// The file is no database, or a damaged one.
    #[error("{path} is damaged")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        source: rusqlite::Error,
    },
    /// The file was deleted or replaced while it was in use.
    #[error("{path} was deleted or replaced while in use")]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// The file is there and has nothing in it: no shard made it.
    #[error("{path} is empty; remove it to have it made anew")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file has a thread of its own, and the system gave none.
    #[error("no thread for {path}")]
    Thread {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The archive has a column that the game declares otherwise.
    #[error(transparent)]
    ColumnMismatch(#[from] ColumnMismatch),
    /// SQLite could not do it now.
    #[error("{path} cannot be used now")]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        source: rusqlite::Error,
    },
}

impl SqliteError {
    /// Makes the error of what SQLite said about a file.
    pub(super) fn new(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match &source {
            rusqlite::Error::SqliteFailure(error, _)
                if matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
            {
                Self::Corrupt { path, source }
            }
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Corrupt { path, source },
            _ => Self::Unavailable { path, source },
        }
    }
}

impl SqliteError {
    /// Returns the error as a text, with its cause.
    pub(super) fn into_text(self) -> String {
        format!("{:#}", anyhow::Error::new(self))
    }
}

impl From<SqliteError> for StoreError {
    fn from(error: SqliteError) -> Self {
        match error {
            SqliteError::Corrupt { .. } | SqliteError::SchemaUnknown { .. } => Self::Corrupt(error.into_text()),
            SqliteError::ColumnMismatch(_)
            | SqliteError::Directory { .. }
            | SqliteError::Empty { .. }
            | SqliteError::Replaced { .. }
            | SqliteError::Thread { .. }
            | SqliteError::Unavailable { .. } => Self::Unavailable(error.into_text()),
        }
    }
}

/// Makes the directory if need be, and proves that files can be made in it.
pub(super) fn prepare_directory(path: &Path) -> Result<(), SqliteError> {
    let probe = || {
        std::fs::create_dir_all(path)?;
        tempfile::tempfile_in(path).map(drop)
    };
    probe().map_err(|source| SqliteError::Directory {
        path: path.to_owned(),
        source,
    })
}

/// An open file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    connection: Connection,
    /// Device and inode. SQLite goes on writing to a file that was deleted, which no process would ever read.
    identity: (u64, u64),
}

impl File {
    /// Opens the file. `None`: there is none, or an empty one.
    pub(super) fn open(path: &Path, layout: Layout) -> Result<Option<Self>, SqliteError> {
        let Some(identity) = identity(path) else {
            return Ok(None);
        };
        let error = |source| SqliteError::new(path, source);
        let connection = connect(path, layout).map_err(error)?;
        let found: i64 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(error)?;
        if found != layout.version {
            return Err(SqliteError::SchemaUnknown {
                path: path.to_owned(),
                found,
                known: layout.version,
            });
        }
        Ok(Some(Self {
            path: path.to_owned(),
            connection,
            identity,
        }))
    }

    /// Makes the file, unless another process makes it first, and opens it. It is made whole under another name: a
    /// process that sees it under its own name sees all of it, and the first one stays. Only its owner may read it.
    ///
    /// If a file of this name was deleted alone, its log may still be there. SQLite would take it for the new one's and
    /// write its pages into that; so it is removed first, while no other process can put a file in place.
    pub(super) fn create(path: &Path, layout: Layout) -> Result<Self, SqliteError> {
        let directory = path.parent().unwrap_or_else(|| Path::new("."));
        let directory_error = |source| SqliteError::Directory {
            path: directory.to_owned(),
            source,
        };
        let draft = tempfile::NamedTempFile::new_in(directory).map_err(directory_error)?;
        fill(draft.path(), layout).map_err(|source| SqliteError::new(draft.path(), source))?;
        put_in_place(draft, path, directory).map_err(directory_error)?;
        Self::open(path, layout)?.ok_or_else(|| SqliteError::Empty { path: path.to_owned() })
    }

    /// Whether it is still the file that its path names.
    pub(super) fn is_current(&self) -> bool {
        identity(&self.path) == Some(self.identity)
    }

    /// Runs `work` in a transaction that holds the file's write lock from its beginning, and commits unless it fails.
    pub(super) fn write<T, E: From<SqliteError>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Rollback<E>>,
    ) -> Result<T, E> {
        self.run(TransactionBehavior::Immediate, work)
    }

    /// Runs `work` on one consistent state of the file.
    pub(super) fn read<T, E: From<SqliteError>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Rollback<E>>,
    ) -> Result<T, E> {
        self.run(TransactionBehavior::Deferred, work)
    }

    fn run<T, E: From<SqliteError>>(
        &mut self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Rollback<E>>,
    ) -> Result<T, E> {
        let path = &self.path;
        let error = |source| E::from(SqliteError::new(path, source));
        let transaction = self.connection.transaction_with_behavior(behavior).map_err(error)?;
        let result = work(&transaction).map_err(|failure| match failure {
            Rollback::Sqlite(source) => error(source),
            Rollback::Refused(refusal) => refusal,
        })?;
        transaction.commit().map_err(error)?;
        // Deleted meanwhile: what was committed is nowhere.
        if self.is_current() {
            Ok(result)
        } else {
            Err(SqliteError::Replaced {
                path: self.path.clone(),
            }
            .into())
        }
    }
}

/// Gives the file its name, unless there is one of that name.
fn put_in_place(draft: tempfile::NamedTempFile, path: &Path, directory: &Path) -> std::io::Result<()> {
    let _locked = lock(directory)?;
    if path.try_exists()? {
        return Ok(());
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut log = path.as_os_str().to_owned();
        log.push(suffix);
        match std::fs::remove_file(&log) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match draft.persist_noclobber(path) {
        Err(error) if error.error.kind() != ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

/// A lock that keeps other processes from putting files in place, for as long as it lives.
fn lock(directory: &Path) -> std::io::Result<std::fs::File> {
    let file = std::fs::File::open(directory)?;
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn connect(path: &Path, layout: Layout) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "synchronous", layout.synchronous.text())?;
    Ok(connection)
}

/// Turns the write-ahead log on, which is a property of the file. No other process has the file open yet: turning the
/// log on would need their consent.
fn fill(path: &Path, layout: Layout) -> rusqlite::Result<()> {
    let mut connection = connect(path, layout)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(layout.schema)?;
    transaction.pragma_update(None, "user_version", layout.version)?;
    transaction.commit()?;
    // Merges the log into the file and removes it.
    connection.close().map_err(|(_, error)| error)
}

/// The reason why a transaction is rolled back.
#[derive(Debug)]
pub(super) enum Rollback<E> {
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// The step refused it.
    Refused(E),
}

impl<E> From<rusqlite::Error> for Rollback<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Returns device and inode of a file that is not empty.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    (metadata.len() > 0).then(|| (metadata.dev(), metadata.ino()))
}
