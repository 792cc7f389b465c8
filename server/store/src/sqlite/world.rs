//! `world.db`: leases, shards, homes, and which zones were ever created. Small, shared by all processes, on the disk at
//! every commit.

use std::path::{Path, PathBuf};

use everhold_core::durability::store::StoreError;
use everhold_protocol::ZoneName;
use rusqlite::types::Type;
use rusqlite::{Row, Transaction};

use super::file::{File, Layout, Rollback, SqliteError, Synchronous, prepare_directory};

/// The file's name in its directory.
pub(super) const FILE_NAME: &str = "world.db";

const LAYOUT: Layout = Layout {
    version: 1,
    synchronous: Synchronous::Full,
    schema: "
        CREATE TABLE lease (
            zone TEXT PRIMARY KEY, epoch INTEGER NOT NULL, nonce INTEGER NOT NULL, beat INTEGER NOT NULL,
            released INTEGER NOT NULL, addr TEXT NOT NULL, players INTEGER NOT NULL, ttl_ms INTEGER NOT NULL DEFAULT 0,
            mark TEXT NOT NULL DEFAULT ''
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE shard (
            nonce INTEGER PRIMARY KEY, addr TEXT NOT NULL, beat INTEGER NOT NULL, keys TEXT NOT NULL DEFAULT '',
            ttl_ms INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE TABLE home (
            account INTEGER PRIMARY KEY, zone TEXT NOT NULL, generation INTEGER NOT NULL, payload BLOB,
            expires_ms INTEGER
        ) STRICT;
        CREATE TABLE created_zone (zone TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    ",
};

/// The open file. A file that was deleted or replaced is not used any more: no other process would read what is written
/// there. Its successor is, as a Redis that restarted without its data is: leases, homes, and marks of zones are put
/// back by those who have them in memory.
#[derive(Debug)]
pub(super) struct World {
    path: PathBuf,
    file: File,
    /// The number of times that the file was replaced.
    successions: u64,
}

impl World {
    pub(super) fn open(directory: &Path) -> Result<Self, SqliteError> {
        let path = directory.join(FILE_NAME);
        Ok(Self {
            file: open_or_create(&path)?,
            path,
            successions: 0,
        })
    }

    /// Returns how often the file was deleted or replaced so far.
    pub(super) const fn successions(&self) -> u64 {
        self.successions
    }

    pub(super) fn write<T, E: From<SqliteError>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Rollback<E>>,
    ) -> Result<T, E> {
        self.current()?.write(work)
    }

    pub(super) fn read<T, E: From<SqliteError>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Rollback<E>>,
    ) -> Result<T, E> {
        self.current()?.read(work)
    }

    pub(super) fn is_created(&mut self, zone: &ZoneName) -> Result<bool, StoreError> {
        self.read(|file| {
            Ok(file
                .prepare_cached("SELECT 1 FROM created_zone WHERE zone = ?1")?
                .exists([zone.as_str()])?)
        })
    }

    pub(super) fn mark_created(&mut self, zone: &ZoneName) -> Result<(), StoreError> {
        self.write(|file| {
            file.prepare_cached("INSERT OR IGNORE INTO created_zone (zone) VALUES (?1)")?
                .execute([zone.as_str()])?;
            Ok(())
        })
    }

    /// Returns the file that the path names. It is made if it was deleted, and so is its directory.
    fn current(&mut self) -> Result<&mut File, SqliteError> {
        if !self.file.is_current() {
            self.file = open_or_create(&self.path)?;
            self.successions += 1;
            let path = self.path.display();
            tracing::error!(
                %path,
                "the file was deleted or replaced: its successor is used, and lacks what only the old one had"
            );
        }
        Ok(&mut self.file)
    }
}

fn open_or_create(path: &Path) -> Result<File, SqliteError> {
    if let Some(directory) = path.parent() {
        prepare_directory(directory)?;
    }
    let mut file = match File::open(path, LAYOUT)? {
        Some(file) => file,
        None => File::create(path, LAYOUT)?,
    };
    add_columns(&mut file)?;
    Ok(file)
}

/// The files of earlier builds lack these tables: of each account the newest revision of its ban, with the number of
/// the news of it; and one row with the marker and the number of the newest news.
const BAN_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS ban (
        account INTEGER PRIMARY KEY, news INTEGER NOT NULL, text TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS ban_news ON ban (news);
    CREATE TABLE IF NOT EXISTS ban_book (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1), marker TEXT NOT NULL DEFAULT '',
        last INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    INSERT OR IGNORE INTO ban_book (only_row) VALUES (1);
";

/// The files of earlier builds lack these columns: a table, the column, and its definition. Those builds go on reading
/// and writing the file with them.
const COLUMNS: [(&str, &str, &str); 6] = [
    ("shard", "keys", "TEXT NOT NULL DEFAULT ''"),
    ("shard", "ttl_ms", "INTEGER NOT NULL DEFAULT 0"),
    ("lease", "ttl_ms", "INTEGER NOT NULL DEFAULT 0"),
    ("lease", "mark", "TEXT NOT NULL DEFAULT ''"),
    ("home", "payload", "BLOB"),
    ("home", "expires_ms", "INTEGER"),
];

fn add_columns(file: &mut File) -> Result<(), SqliteError> {
    let missing = |file: &Transaction<'_>| {
        let mut known = file.prepare("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2")?;
        let mut missing = Vec::new();
        for (table, name, definition) in COLUMNS {
            if !known.exists([table, name])? {
                missing.push((table, name, definition));
            }
        }
        Ok::<_, Rollback<SqliteError>>(missing)
    };
    let has_index = |file: &Transaction<'_>| {
        let mut known = file.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'home_expiry'")?;
        Ok::<_, Rollback<SqliteError>>(known.exists([])?)
    };
    let has_bans = |file: &Transaction<'_>| {
        let mut known = file.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'ban_book'")?;
        Ok::<_, Rollback<SqliteError>>(known.exists([])?)
    };
    if file.read(missing)?.is_empty() && file.read(has_index)? && file.read(has_bans)? {
        return Ok(());
    }
    file.write(|file| {
        // Another process may have been quicker.
        for (table, name, definition) in missing(file)? {
            file.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {name} {definition}"))?;
        }
        file.execute_batch("CREATE INDEX IF NOT EXISTS home_expiry ON home (expires_ms) WHERE expires_ms IS NOT NULL")?;
        file.execute_batch(BAN_TABLES)?;
        Ok(())
    })
}

/// Reads a column of text as what it stands for.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}
