//! The archive's file vanishes, is replaced, is blocked, is damaged.

use std::path::Path;

use everhold_core::durability::archive::{Archive, ArchiveError, CommitAnswer, CommitReport};
use everhold_protocol::Account;
use everhold_store::conformance::suite_schema;
use everhold_store::sqlite::{SqliteArchive, SqliteError};

use crate::{SqliteDatabase, assert_unavailable, commit, held, last, mark};

fn open(path: &Path) -> SqliteArchive {
    SqliteArchive::open(path, suite_schema()).unwrap()
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _gone = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

/// Copies an archive as a backup does, whole and without its log.
fn back_up(from: &Path, to: &Path) {
    let file = rusqlite::Connection::open(from).unwrap();
    file.execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
}

#[tokio::test]
async fn archive_whose_file_is_gone_says_of_no_account_that_there_is_none() {
    let database = SqliteDatabase::new();
    let archive = open(&database.path());
    assert_eq!(archive.account(Account(7)).await, Ok(None));
    remove(&database.path());
    assert_unavailable(&archive.account(Account(7)).await);
    assert_unavailable(&archive.fence(&held()).await);
    assert!(!database.path().exists(), "it is not made anew");
    // Another shard starts, and makes another archive.
    let other = open(&database.path());
    assert_ne!(other.identity(), archive.identity());
    assert_unavailable(&archive.account(Account(7)).await);
}

#[tokio::test]
async fn backup_that_is_put_back_is_taken_and_shows_what_it_lacks() {
    let database = SqliteDatabase::new();
    let archive = open(&database.path());
    let backup = database.directory.path().join("backup.db");
    let done = Ok(CommitAnswer::Done(CommitReport::default()));
    let (first, second) = (commit(None, mark(5, 1)), commit(Some(mark(5, 1)), mark(6, 2)));
    assert_eq!(archive.commit(&held(), &first).await, done);
    back_up(&database.path(), &backup);
    assert_eq!(archive.commit(&held(), &second).await, done);
    remove(&database.path());
    std::fs::rename(&backup, database.path()).unwrap();
    let third = commit(Some(second.mark), mark(7, 3));
    let moved = CommitAnswer::Moved { last: Some(first.mark) };
    assert_eq!(archive.commit(&held(), &third).await, Ok(moved));
    assert_eq!(archive.account(Account(2)).await, Ok(None), "its row was of the second");
    let all = commit(Some(first.mark), mark(7, 4));
    assert_eq!(archive.commit(&held(), &all).await, done);
}

#[tokio::test]
async fn blocked_file_is_unavailable_and_takes_the_commit_once_it_is_free() {
    let database = SqliteDatabase::new();
    let archive = open(&database.path());
    archive.fence(&held()).await.unwrap();
    // What a process that is stopped inside a transaction does to the file.
    let blocker = rusqlite::Connection::open(database.path()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let first = commit(None, mark(5, 1));
    assert_unavailable(&archive.commit(&held(), &first).await);
    assert_eq!(archive.account(Account(1)).await, Ok(None), "it can be read");
    blocker.execute_batch("ROLLBACK").unwrap();
    let done = Ok(CommitAnswer::Done(CommitReport::default()));
    assert_eq!(archive.commit(&held(), &first).await, done);
    assert_eq!(last(&archive).await, Some(first.mark));
}

#[tokio::test]
async fn damaged_file_is_an_error_that_names_it() {
    let database = SqliteDatabase::new();
    std::fs::write(database.path(), vec![0x5a; 8_192]).unwrap();
    let Err(error) = SqliteArchive::open(&database.path(), suite_schema()) else {
        panic!("it opened")
    };
    let names_it = error.to_string().contains("archive.db");
    assert!(matches!(error, SqliteError::Corrupt { .. }) && names_it, "{error}");
}

#[tokio::test]
async fn damaged_page_is_corrupt_and_no_answer() {
    let database = SqliteDatabase::new();
    let archive = open(&database.path());
    archive.commit(&held(), &commit(None, mark(5, 1))).await.unwrap();
    let merged = rusqlite::Connection::open(database.path()).unwrap();
    merged
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop((archive, merged));
    let mut bytes = std::fs::read(database.path()).unwrap();
    // All but the first page, which has the tables' definitions or leads to them.
    bytes[2 * 4_096..].fill(0xff);
    std::fs::write(database.path(), bytes).unwrap();
    match SqliteArchive::open(&database.path(), suite_schema()) {
        Err(error) => assert!(matches!(error, SqliteError::Corrupt { .. }), "{error}"),
        Ok(archive) => {
            let read = archive.account(Account(1)).await;
            assert!(matches!(read, Err(ArchiveError::Corrupt(_))), "{read:?}");
        }
    }
}
