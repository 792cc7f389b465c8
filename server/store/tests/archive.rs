//! The conformance suite of archives against SQLite with a real file and against a real PostgreSQL, and what only each
//! of them can do wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "archive/files.rs"]
mod files;
#[path = "archive/postgres.rs"]
mod postgres;
#[path = "archive/queries.rs"]
mod queries;

use std::path::PathBuf;

use everhold_core::durability::archive::{Archive, ArchiveCommit, ArchiveError, CommitMark, WallMs};
use everhold_core::durability::store::{Position, RecordHash};
use everhold_core::ownership::Tenure;
use everhold_core::zone::archive_schema::ArchiveSchema;
use everhold_protocol::{Epoch, Tick};
use everhold_store::conformance::{SqlDatabase, sql_archive_conformance, suite_character, tenure};
use everhold_store::postgres::{PostgresArchive, PostgresTarget};
use everhold_store::sqlite::SqliteArchive;
use everhold_testing::postgres::{Disk, PostgresServer};
use rusqlite::types::ValueRef;
use tempfile::TempDir;

/// An archive's file in a directory of its own.
struct SqliteDatabase {
    directory: TempDir,
}

impl SqliteDatabase {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("archive.db")
    }
}

impl SqlDatabase for SqliteDatabase {
    type Link = SqliteArchive;

    async fn open(&self, schema: ArchiveSchema) -> Result<SqliteArchive, String> {
        SqliteArchive::open(&self.path(), schema).map_err(|error| error.to_string())
    }

    fn sql(&self, statement: &str) -> Vec<Vec<String>> {
        let file = rusqlite::Connection::open(self.path()).unwrap();
        let mut statement = file.prepare(statement).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let text = |column| match row.get_ref(column).unwrap() {
                ValueRef::Null => "\\N".to_owned(),
                ValueRef::Integer(value) => value.to_string(),
                ValueRef::Real(value) => value.to_string(),
                ValueRef::Text(value) => String::from_utf8(value.to_vec()).unwrap(),
                ValueRef::Blob(value) => format!("{value:02x?}"),
            };
            found.push((0..columns).map(text).collect());
        }
        found
    }

    fn bytes(&self, hex: &str) -> String {
        format!("x'{hex}'")
    }

    fn set_version(&self, version: i32) {
        let file = rusqlite::Connection::open(self.path()).unwrap();
        file.pragma_update(None, "user_version", version).unwrap();
    }
}

/// A PostgreSQL with an empty database.
struct PostgresDatabase {
    server: PostgresServer,
}

impl PostgresDatabase {
    const NAME: &str = "world";

    fn new() -> Self {
        let server = PostgresServer::start(Disk::Unsynced);
        server.create_database(Self::NAME);
        Self { server }
    }

    fn target(&self) -> PostgresTarget {
        PostgresTarget::new(&self.server.url(Self::NAME)).unwrap()
    }
}

impl SqlDatabase for PostgresDatabase {
    type Link = PostgresArchive;

    async fn open(&self, schema: ArchiveSchema) -> Result<PostgresArchive, String> {
        let opened = PostgresArchive::open(&self.target(), schema).await;
        opened.map_err(|error| error.to_string())
    }

    fn sql(&self, statement: &str) -> Vec<Vec<String>> {
        self.server.sql(Self::NAME, statement)
    }

    fn bytes(&self, hex: &str) -> String {
        format!("'\\x{hex}'::bytea")
    }

    fn set_version(&self, version: i32) {
        self.sql(&format!("UPDATE everhold_archive SET schema_version = {version}"));
    }
}

#[tokio::test]
async fn sqlite_archive_conforms() {
    sql_archive_conformance(&SqliteDatabase::new()).await;
}

#[tokio::test]
async fn postgres_archive_conforms() {
    sql_archive_conformance(&PostgresDatabase::new()).await;
}

fn held() -> Tenure {
    tenure(&"meadow".parse().unwrap(), 1, 1)
}

fn mark(tick: u64, number: u64) -> CommitMark {
    let position = Position {
        epoch: Epoch(1),
        tick: Tick(tick),
        hash: RecordHash([7; 32]),
    };
    CommitMark { position, number }
}

/// A commit of one character, which is the account of this number.
fn commit(parent: Option<CommitMark>, mark: CommitMark) -> ArchiveCommit {
    ArchiveCommit {
        mark,
        parent,
        kept: parent.map_or(Position::GENESIS, |parent| parent.position),
        wall: WallMs(5),
        blob: None,
        characters: vec![suite_character(mark.number, 1, &held().zone)],
        ledger: Vec::new(),
        audit: Vec::new(),
    }
}

async fn last(archive: &impl Archive) -> Option<CommitMark> {
    archive.zone(&held().zone, None).await.unwrap().unwrap().last
}

fn assert_unavailable<T: std::fmt::Debug>(result: &Result<T, ArchiveError>) {
    assert!(matches!(result, Err(ArchiveError::Unavailable(_))), "{result:?}");
}
