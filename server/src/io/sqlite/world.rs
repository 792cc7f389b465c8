//! `world.db`: leases, shards, homes, and which zones were ever created. Small, shared by all processes, on the disk at every commit.

use std::path::{Path, PathBuf};

use everhold_protocol::ZoneName;
use rusqlite::types::Type;
use rusqlite::{Row, Transaction};

use super::file::{Failure, File, Layout, SqliteError, Synchronous, prepare_directory};
use crate::durability::store::StoreError;

const LAYOUT: Layout = Layout {
    version: 1,
    synchronous: Synchronous::Full,
    schema: "
        CREATE TABLE lease (
            zone TEXT PRIMARY KEY, epoch INTEGER NOT NULL, nonce INTEGER NOT NULL, beat INTEGER NOT NULL,
            released INTEGER NOT NULL, addr TEXT NOT NULL, players INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE shard (
            nonce INTEGER PRIMARY KEY, addr TEXT NOT NULL, beat INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE home (
            account INTEGER PRIMARY KEY, zone TEXT NOT NULL, generation INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE created_zone (zone TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    ",
};

/// The open file. Once it is deleted or replaced it is never used again: what it promised is not in the new one.
#[derive(Debug)]
pub(super) struct World {
    path: PathBuf,
    file: File,
}

impl World {
    pub(super) fn open(directory: &Path) -> Result<Self, SqliteError> {
        prepare_directory(directory)?;
        let path = directory.join("world.db");
        let file = match File::open(&path, LAYOUT)? {
            Some(file) => file,
            None => File::create(&path, LAYOUT)?,
        };
        Ok(Self { path, file })
    }

    pub(super) fn write<T, E: From<SqliteError>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure<E>>,
    ) -> Result<T, E> {
        self.check()?;
        self.file.write(work)
    }

    pub(super) fn read<T, E: From<SqliteError>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure<E>>,
    ) -> Result<T, E> {
        self.check()?;
        self.file.read(work)
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

    fn check(&self) -> Result<(), SqliteError> {
        if self.file.is_current() {
            Ok(())
        } else {
            Err(SqliteError::Replaced {
                path: self.path.clone(),
            })
        }
    }
}

/// A column of text that is something else in here.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}
