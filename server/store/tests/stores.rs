//! The conformance suites against SQLite with real files, and what only files can do: vanish, break, outlive a process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "stores/bans.rs"]
mod bans;
#[path = "stores/evidence.rs"]
mod evidence;
#[path = "stores/homes.rs"]
mod homes;
#[path = "stores/leases.rs"]
mod leases;
#[path = "stores/rules.rs"]
mod rules;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use everhold_core::cluster::{Home, HomeStore};
use everhold_core::durability::store::{AppendAnswer, Origin, StoreError, ZoneStore};
use everhold_core::ownership::{Authority, AuthorityError, LeaseTerms};
use everhold_protocol::{Account, Epoch, Tick, ZoneName};
use everhold_store::conformance::{
    SuiteHistory, authority_conformance, membership_conformance, reinstate, renew, tenure, zone_store_conformance,
};
use everhold_store::redis::{RedisAuthority, RedisStore, RedisTarget};
use everhold_store::sqlite::{SqliteAuthority, SqliteError, SqliteStore};
use everhold_testing::redis::{Persistence, RedisServer};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Returns what a holder says of itself.
fn terms() -> LeaseTerms {
    LeaseTerms {
        addr: ([127, 0, 0, 1], 1).into(),
        ttl: Duration::from_secs(4),
    }
}

fn zone() -> ZoneName {
    "meadow".parse().unwrap()
}

fn remove(path: &Path) {
    let file = |suffix| format!("{}{suffix}", path.display());
    let _gone = ["", "-wal", "-shm"].map(|suffix| std::fs::remove_file(file(suffix)));
}

#[tokio::test]
async fn sqlite_store_conforms() {
    let directory = directory();
    let lose = |store: &SqliteStore, zone: &ZoneName| remove(&store.zone_path(zone));
    zone_store_conformance(|| SqliteStore::open(directory.path()).unwrap(), lose).await;
}

#[tokio::test]
async fn sqlite_store_that_loses_its_marks_with_its_zones_conforms() {
    let directory = directory();
    let world = directory.path().join("world.db");
    let lose = |store: &SqliteStore, zone: &ZoneName| {
        remove(&store.zone_path(zone));
        remove(&world);
    };
    zone_store_conformance(|| SqliteStore::open(directory.path()).unwrap(), lose).await;
}

#[tokio::test]
async fn sqlite_authority_conforms() {
    let directory = directory();
    authority_conformance(|| SqliteAuthority::open(directory.path()).unwrap()).await;
}

#[tokio::test]
async fn sqlite_membership_conforms() {
    let directory = directory();
    membership_conformance(|| SqliteAuthority::open(directory.path()).unwrap()).await;
}

/// So many links to one Redis, each handed out once.
async fn redis_stores(redis: &RedisServer, count: usize) -> impl Fn() -> RedisStore {
    let target = RedisTarget::new(&redis.url(), "test").unwrap();
    let mut links = Vec::new();
    for _ in 0..count {
        links.push(RedisStore::open(&target).await.unwrap());
    }
    let next = std::cell::RefCell::new(links);
    move || next.borrow_mut().pop().unwrap()
}

async fn redis_authorities(redis: &RedisServer, count: usize) -> impl Fn() -> RedisAuthority {
    let target = RedisTarget::new(&redis.url(), "test").unwrap();
    let mut links = Vec::new();
    for _ in 0..count {
        links.push(RedisAuthority::open(&target, Duration::from_secs(1)).await.unwrap());
    }
    let next = std::cell::RefCell::new(links);
    move || next.borrow_mut().pop().unwrap()
}

#[tokio::test]
async fn redis_store_conforms() {
    let redis = RedisServer::start(Persistence::None);
    let lose = |_: &RedisStore, zone: &ZoneName| {
        for key in ["meta", "journal", "chain", "parts", "quarantine"] {
            let _count = redis.command(&["DEL", &format!("test:{{{zone}}}:{key}")]);
        }
    };
    zone_store_conformance(redis_stores(&redis, 2).await, lose).await;
}

#[tokio::test]
async fn redis_authority_conforms() {
    let redis = RedisServer::start(Persistence::None);
    authority_conformance(redis_authorities(&redis, 8).await).await;
}

#[tokio::test]
async fn redis_membership_conforms() {
    let redis = RedisServer::start(Persistence::None);
    membership_conformance(redis_authorities(&redis, 2).await).await;
}

#[tokio::test]
async fn emptied_zone_file_is_lost() {
    let directory = directory();
    let store = SqliteStore::open(directory.path()).unwrap();
    store.fence(&tenure(&zone(), 1, 1)).await.unwrap();
    remove(&store.zone_path(&zone()));
    std::fs::write(store.zone_path(&zone()), b"").unwrap();
    assert!(matches!(
        store.fence(&tenure(&zone(), 2, 2)).await,
        Err(StoreError::Lost)
    ));
}

#[tokio::test]
async fn empty_file_of_a_zone_that_never_was_is_an_error_that_names_it() {
    let directory = directory();
    let store = SqliteStore::open(directory.path()).unwrap();
    std::fs::write(store.zone_path(&zone()), b"").unwrap();
    let Err(StoreError::Unavailable(message)) = store.fence(&tenure(&zone(), 1, 1)).await else {
        panic!("it was made")
    };
    assert!(message.contains("zone-meadow.db is empty"), "{message}");
}

#[tokio::test]
async fn corrupt_zone_file_is_an_error_that_names_it() {
    let directory = directory();
    let store = SqliteStore::open(directory.path()).unwrap();
    std::fs::write(store.zone_path(&zone()), vec![0x5a; 8_192]).unwrap();
    let Err(StoreError::Corrupt(message)) = store.fence(&tenure(&zone(), 1, 1)).await else {
        panic!("not corrupt")
    };
    assert!(message.contains("zone-meadow.db"), "{message}");
}

#[tokio::test]
async fn damaged_page_is_corrupt_and_not_lost() {
    let directory = directory();
    let store = SqliteStore::open(directory.path()).unwrap();
    store.fence(&tenure(&zone(), 1, 1)).await.unwrap();
    drop(store);
    let path = directory.path().join("zone-meadow.db");
    // The last connection of a process that ends in order leaves no log behind; wait for its thread to do so.
    let store = reopen_when_checkpointed(directory.path(), &path).await;
    let mut bytes = std::fs::read(&path).unwrap();
    let page = 4_096;
    assert!(bytes.len() > 2 * page);
    bytes[page..].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let read = store.read_zone(&zone()).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
}

async fn reopen_when_checkpointed(directory: &Path, path: &Path) -> SqliteStore {
    let log = format!("{}-wal", path.display());
    while Path::new(&log).exists() {
        tokio::task::yield_now().await;
    }
    SqliteStore::open(directory).unwrap()
}

#[tokio::test]
async fn schema_of_another_version_is_refused_by_name() {
    let directory = directory();
    drop(SqliteStore::open(directory.path()).unwrap());
    let path = directory.path().join("world.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let Err(error) = SqliteStore::open(directory.path()) else {
        panic!("it opened")
    };
    assert!(matches!(error, SqliteError::SchemaUnknown { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("world.db"), "{error}");
    assert!(SqliteAuthority::open(directory.path()).is_err());
}

#[test]
fn corrupt_world_file_is_an_error_that_names_it() {
    let directory = directory();
    std::fs::write(directory.path().join("world.db"), vec![0x5a; 8_192]).unwrap();
    let Err(error) = SqliteAuthority::open(directory.path()) else {
        panic!("it opened")
    };
    assert!(
        matches!(error, SqliteError::Corrupt { .. }) && error.to_string().contains("world.db"),
        "{error}"
    );
}

#[test]
fn unwritable_directory_is_an_error_that_names_it() {
    let directory = directory();
    let file = directory.path().join("a-file");
    std::fs::write(&file, b"").unwrap();
    // Not even root can make files in these; permissions would not stop it.
    for path in [file.join("state"), "/proc/everhold".into()] {
        let Err(error) = SqliteStore::open(&path) else {
            panic!("it opened")
        };
        assert!(matches!(error, SqliteError::Directory { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert!(SqliteAuthority::open(&path).is_err());
    }
}

#[tokio::test]
async fn deleted_files_are_made_anew_and_holders_put_back_what_they_hold() {
    let parent = directory();
    let directory = parent.path().join("world");
    let (authority, store) = (
        SqliteAuthority::open(&directory).unwrap(),
        SqliteStore::open(&directory).unwrap(),
    );
    store.fence(&tenure(&zone(), 1, 1)).await.unwrap();
    let held = tenure(&zone(), 3, 1);
    reinstate(&authority, &held, terms(), 5).await.unwrap();
    store.fence(&held).await.unwrap();
    let records = SuiteHistory::new(1).records_to(Tick(3));
    store.append(&held, &records).await.unwrap();
    std::fs::remove_dir_all(&directory).unwrap();

    let renewed = renew(&authority, &held, 5).await;
    assert!(matches!(renewed, Err(AuthorityError::ZoneUnknown(_))), "{renewed:?}");
    reinstate(&authority, &held, terms(), 5).await.unwrap();
    let appended = store.append(&held, &records).await;
    assert!(matches!(appended, Err(StoreError::Lost)), "{appended:?}");
    store.create(&held, Origin::Memory).await.unwrap();

    let seen = SqliteAuthority::open(&directory).unwrap().leases().await.unwrap().views;
    assert_eq!((seen.len(), seen[0].epoch, seen[0].players), (1, Epoch(3), 5));
    let summary = SqliteStore::open(&directory).unwrap().summary(&zone()).await.unwrap();
    assert_eq!(summary.map(|zone| zone.fence_epoch), Some(Epoch(3)));
}

/// As `rm *.db` does: the logs stay, and SQLite would take them for those of the files that are made instead.
#[tokio::test]
async fn nothing_of_a_deleted_file_is_in_the_one_that_is_made_instead() {
    let directory = directory();
    let (authority, store) = (
        SqliteAuthority::open(directory.path()).unwrap(),
        SqliteStore::open(directory.path()).unwrap(),
    );
    for number in 0..50 {
        let zone: ZoneName = format!("zone-{number}").parse().unwrap();
        authority.declare_zone(&zone).await.unwrap();
    }
    store.fence(&tenure(&zone(), 1, 1)).await.unwrap();
    let mut history = SuiteHistory::new(1);
    store
        .append(&tenure(&zone(), 1, 1), &history.records_to(Tick(40)))
        .await
        .unwrap();
    for file in [directory.path().join("world.db"), store.zone_path(&zone())] {
        assert!(Path::new(&format!("{}-wal", file.display())).exists(), "there is a log");
        std::fs::remove_file(file).unwrap();
    }

    let next = SqliteAuthority::open(directory.path()).unwrap();
    assert_eq!(next.leases().await.unwrap().views, []);
    assert_eq!(authority.leases().await.unwrap().views, []);
    let lost = store
        .append(&tenure(&zone(), 1, 1), &history.records_to(Tick(41)))
        .await;
    assert!(matches!(lost, Err(StoreError::Lost)), "{lost:?}");
    store.create(&tenure(&zone(), 1, 1), Origin::Nothing).await.unwrap();
    let seen = SqliteStore::open(directory.path()).unwrap();
    assert!(seen.read_zone(&zone()).await.unwrap().records.is_empty());
    for name in ["world.db", "zone-meadow.db"] {
        let file = rusqlite::Connection::open(directory.path().join(name)).unwrap();
        let check: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "{name}");
    }
}

#[tokio::test]
async fn zone_file_without_its_mark_is_adopted_not_overwritten() {
    let directory = directory();
    let records = SuiteHistory::new(1).records_to(Tick(3));
    let store = SqliteStore::open(directory.path()).unwrap();
    store.fence(&tenure(&zone(), 1, 1)).await.unwrap();
    store.append(&tenure(&zone(), 1, 1), &records).await.unwrap();
    remove(&directory.path().join("world.db"));
    let store = SqliteStore::open(directory.path()).unwrap();
    store.fence(&tenure(&zone(), 2, 2)).await.unwrap();
    assert_eq!(store.read_zone(&zone()).await.unwrap().records, records);
}

#[tokio::test]
async fn data_outlives_the_handles_that_wrote_it() {
    let directory = directory();
    let records = SuiteHistory::new(1).records_to(Tick(40));
    let store = SqliteStore::open(directory.path()).unwrap();
    store.fence(&tenure(&zone(), 1, 1)).await.unwrap();
    assert_eq!(
        store.append(&tenure(&zone(), 1, 1), &records).await.unwrap(),
        AppendAnswer::Ok
    );
    // Files as a killed process leaves them: copied while the log is not yet merged and the connection is open.
    let copy = self::directory();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    let adopter = SqliteStore::open(copy.path()).unwrap();
    adopter.fence(&tenure(&zone(), 2, 2)).await.unwrap();
    assert_eq!(adopter.read_zone(&zone()).await.unwrap().records, records);
}

#[tokio::test]
async fn blocked_file_is_unavailable_and_blocks_no_other() {
    let directory = directory();
    let store = SqliteStore::open(directory.path()).unwrap();
    let free: ZoneName = "forest".parse().unwrap();
    for zone in [&zone(), &free] {
        store.fence(&tenure(zone, 1, 1)).await.unwrap();
    }
    // What a process that is stopped inside a transaction does to its file.
    let blocker = rusqlite::Connection::open(store.zone_path(&zone())).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let records = SuiteHistory::new(1).records_to(Tick(1));
    let (held, neighbour) = (tenure(&zone(), 1, 1), tenure(&free, 1, 1));
    let (blocked, other) = tokio::join!(store.append(&held, &records), store.append(&neighbour, &records));
    assert!(matches!(blocked, Err(StoreError::Unavailable(_))), "{blocked:?}");
    assert_eq!(other.unwrap(), AppendAnswer::Ok);
    blocker.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.append(&held, &records).await.unwrap(), AppendAnswer::Ok);
}

/// Names the directory to the copy of this test binary that is going to be killed.
const VICTIM_DIRECTORY: &str = "STORES_TEST_VICTIM_DIRECTORY";
/// Starts the lines on standard error that name acknowledged ticks.
const VICTIM_REPORT: &str = "acknowledged";

/// Not a test by itself: the process that `killed_writer_loses_nothing_that_was_acknowledged` kills.
#[tokio::test]
async fn victim() {
    let Some(directory) = std::env::var_os(VICTIM_DIRECTORY) else {
        return;
    };
    let store = SqliteStore::open(directory.as_ref()).unwrap();
    store.fence(&tenure(&zone(), 1, 1)).await.unwrap();
    let mut history = SuiteHistory::new(1);
    for tick in 1.. {
        let answer = store
            .append(&tenure(&zone(), 1, 1), &history.records_to(Tick(tick)))
            .await
            .unwrap();
        assert_eq!(answer, AppendAnswer::Ok);
        // In one write, which a kill cannot cut: a pipe takes so few bytes whole.
        let line = format!("{VICTIM_REPORT} {tick}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

/// Ends the process also when the test fails.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_victim(directory: &Path) -> Victim {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM_DIRECTORY, directory)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Victim(child)
}

#[tokio::test]
async fn killed_writer_loses_nothing_that_was_acknowledged() {
    let directory = directory();
    let mut victim = start_victim(directory.path());
    let mut told = BufReader::new(victim.0.stderr.take().unwrap()).lines();
    let tick = |line: String| {
        line.strip_prefix(VICTIM_REPORT)
            .map(|tick| tick.trim().parse::<u64>().unwrap())
    };
    while told.next().unwrap().map(tick).unwrap() < Some(200) {}
    drop(victim);
    // What it wrote before it died may still be in the pipe.
    let acknowledged = told.filter_map(|line| tick(line.unwrap())).last().unwrap_or(200);
    let adopter = SqliteStore::open(directory.path()).unwrap();
    adopter.fence(&tenure(&zone(), 2, 2)).await.unwrap();
    let records = adopter.read_zone(&zone()).await.unwrap().records;
    assert!(
        records.len() as u64 >= acknowledged,
        "{} of {acknowledged}",
        records.len()
    );
    assert_eq!(
        records,
        SuiteHistory::new(1).records_to(Tick(records.len() as u64)),
        "whole and in order"
    );
}

/// Each of a crowd gets the answer to its own question, whatever else is written in the same commit.
#[tokio::test]
async fn crowd_of_homes_is_written_each_as_it_asked() {
    let directory = directory();
    let store = SqliteStore::open(directory.path()).unwrap();
    let home = |generation| Home {
        zone: zone(),
        generation,
    };
    let taken = Account(7);
    store.set_home(taken, None, &home(9)).await.unwrap();
    let mut crowd = tokio::task::JoinSet::new();
    for account in (0..1_000).map(Account) {
        let (store, home) = (store.clone(), home(1));
        crowd.spawn(async move { (account, store.set_home(account, None, &home).await.unwrap()) });
    }
    while let Some(set) = crowd.join_next().await {
        let (account, conflict) = set.unwrap();
        assert_eq!(conflict, (account == taken).then(|| home(9)));
        assert_eq!(
            store.record(account).await.unwrap().map(|record| record.home),
            Some(home(if account == taken { 9 } else { 1 }))
        );
    }
}

/// Shards of one host start at the same moment, and one of them makes the files.
#[test]
fn files_are_made_once_however_many_open_them_at_the_same_time() {
    for _ in 0..20 {
        let directory = directory();
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for nonce in 1..=8 {
                let (directory, start) = (directory.path(), &start);
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    start.wait();
                    let store = SqliteStore::open(directory).unwrap();
                    let fenced = runtime.block_on(store.fence(&tenure(&zone(), 1, nonce)));
                    assert!(
                        matches!(fenced, Ok(()) | Err(StoreError::Fenced { epoch: Epoch(1) })),
                        "{fenced:?}"
                    );
                });
            }
        });
        let mode = |name: &str| -> String {
            let file = rusqlite::Connection::open(directory.path().join(name)).unwrap();
            file.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(
            (mode("world.db"), mode("zone-meadow.db")),
            ("wal".to_owned(), "wal".to_owned())
        );
    }
}
