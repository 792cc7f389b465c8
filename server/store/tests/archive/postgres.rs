//! PostgreSQL dies, hangs, is replaced, or holds a row that a commit needs.

use std::time::Duration;

use everhold_core::durability::archive::{Archive, ArchiveError, CommitAnswer, CommitReport};
use everhold_protocol::Account;
use everhold_store::conformance::{SqlDatabase, suite_character, suite_schema, tenure};
use everhold_store::postgres::{PostgresArchive, PostgresError, PostgresTarget};
use everhold_testing::postgres::url_at;
use everhold_testing::proxy::{Faults, Proxy, Way};
use tokio_postgres::NoTls;

use crate::{PostgresDatabase, assert_unavailable, commit, held, last, mark};

/// Far above everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Period of looks, and of questions that are asked again.
const AGAIN: Duration = Duration::from_millis(20);

/// Asks again for as long as the outcome is unknown.
async fn until_answered<T>(ask: impl AsyncFn() -> Result<T, ArchiveError>) -> Result<T, ArchiveError> {
    let asking = async {
        loop {
            match ask().await {
                Err(ArchiveError::Unavailable(_)) => tokio::time::sleep(AGAIN).await,
                answer => return answer,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("it comes back by itself")
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(AGAIN).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"));
}

/// Makes every COMMIT that has changed a zone wait inside the server for as long as the returned session lives.
async fn hold_commits(database: &PostgresDatabase) -> tokio_postgres::Client {
    database.sql(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END'; \
         CREATE CONSTRAINT TRIGGER hold AFTER UPDATE ON zones DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION hold()",
    );
    let url = database.server.url(PostgresDatabase::NAME);
    let (holder, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    holder.query_one("SELECT pg_advisory_lock(42)", &[]).await.unwrap();
    holder
}

/// Waits until a COMMIT is held.
async fn until_held(database: &PostgresDatabase) {
    let held = "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'advisory'";
    until("a commit is held", || database.sql(held) == [["1"]]).await;
}

fn proxied(database: &PostgresDatabase) -> (Proxy, PostgresTarget) {
    let proxy = Proxy::tcp(database.server.addr(), 1);
    let target = PostgresTarget::new(&url_at(proxy.addr(), PostgresDatabase::NAME)).unwrap();
    (proxy, target)
}

#[tokio::test]
async fn commit_whose_answer_is_lost_by_a_kill_is_resolved_and_done_once() {
    let mut database = PostgresDatabase::new();
    let (proxy, target) = proxied(&database);
    let archive = PostgresArchive::open(&target, suite_schema()).await.unwrap();
    archive.fence(&held()).await.unwrap();
    let (owner, first) = (held(), commit(None, mark(5, 1)));
    let holder = hold_commits(&database).await;
    let lose = async {
        until_held(&database).await;
        proxy.set(Faults {
            back: Way::STALLED,
            ..Faults::default()
        });
        drop(holder);
        let committed = "SELECT count(*) FROM zones WHERE commit_number = 1";
        until("it is committed", || database.sql(committed) == [["1"]]).await;
        database.server.kill();
        proxy.reset();
    };
    let (answer, ()) = tokio::join!(archive.commit(&owner, &first), lose);
    assert_unavailable(&answer);
    proxy.heal();
    database.server.start_again();
    let zone = until_answered(async || archive.zone(&held().zone, None).await)
        .await
        .unwrap();
    assert_eq!(zone.unwrap().last, Some(first.mark), "asked, it says that it was done");
    let again = until_answered(async || archive.commit(&held(), &first).await).await;
    assert_eq!(again, Ok(CommitAnswer::Duplicate));
    assert_eq!(database.sql("SELECT account FROM characters"), [["1"]]);
}

#[tokio::test]
async fn commit_that_a_kill_cut_off_is_resolved_and_done_when_it_is_repeated() {
    let mut database = PostgresDatabase::new();
    let archive = database.open(suite_schema()).await.unwrap();
    archive.fence(&held()).await.unwrap();
    let (owner, first) = (held(), commit(None, mark(5, 1)));
    let _holder = hold_commits(&database).await;
    let cut = async {
        until_held(&database).await;
        database.server.kill();
    };
    let (answer, ()) = tokio::join!(archive.commit(&owner, &first), cut);
    assert_unavailable(&answer);
    assert_unavailable(&archive.account(Account(1)).await);
    database.server.start_again();
    let zone = until_answered(async || archive.zone(&held().zone, None).await)
        .await
        .unwrap();
    assert_eq!(zone.unwrap().last, None, "asked, it says that it was not done");
    let done = Ok(CommitAnswer::Done(CommitReport::default()));
    assert_eq!(
        until_answered(async || archive.commit(&held(), &first).await).await,
        done
    );
    assert_eq!(last(&archive).await, Some(first.mark));
}

#[tokio::test]
async fn server_that_is_not_heard_is_unavailable_and_answers_when_it_is() {
    let database = PostgresDatabase::new();
    let (proxy, target) = proxied(&database);
    let archive = PostgresArchive::open(&target, suite_schema()).await.unwrap();
    assert_eq!(archive.account(Account(1)).await, Ok(None));
    proxy.set(Faults::CUT);
    // More than there are connections: each has its deadline.
    let asked = tokio::join!(
        archive.account(Account(1)),
        archive.account(Account(2)),
        archive.account(Account(3)),
        archive.account(Account(4)),
        archive.account(Account(5)),
    );
    for answer in [asked.0, asked.1, asked.2, asked.3, asked.4] {
        assert_unavailable(&answer);
    }
    proxy.heal();
    let answered = until_answered(async || archive.account(Account(1)).await).await;
    assert_eq!(answered, Ok(None));
}

#[tokio::test]
async fn row_that_another_session_holds_is_unavailable_and_no_other_zone_waits() {
    let database = PostgresDatabase::new();
    let archive = database.open(suite_schema()).await.unwrap();
    archive.fence(&held()).await.unwrap();
    let url = database.server.url(PostgresDatabase::NAME);
    let (mut holder, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    // What a process that is stopped inside a transaction does to the row.
    let transaction = holder.transaction().await.unwrap();
    let lock = "SELECT 1 FROM zones WHERE zone = 'meadow' FOR UPDATE";
    transaction.query_one(lock, &[]).await.unwrap();
    let (owner, first) = (held(), commit(None, mark(5, 1)));
    let neighbour = tenure(&"forest".parse().unwrap(), 1, 1);
    let (blocked, other) = tokio::join!(archive.commit(&owner, &first), archive.fence(&neighbour));
    assert_unavailable(&blocked);
    assert_eq!(other, Ok(()));
    transaction.rollback().await.unwrap();
    let done = Ok(CommitAnswer::Done(CommitReport::default()));
    assert_eq!(archive.commit(&held(), &first).await, done);
}

/// Commits of one zone that write the same accounts as those of other zones, in an order of their own.
async fn write_shared_accounts(archive: PostgresArchive, zone: u64) {
    let held = tenure(&format!("zone-{zone}").parse().unwrap(), 1, 1);
    let mut parent = None;
    for number in 1..=20 {
        let mut next = commit(parent, mark(number, number));
        let mut accounts: Vec<u64> = (100..140).collect();
        accounts.rotate_left(usize::try_from(zone * 7 % 40).unwrap());
        if zone.is_multiple_of(2) {
            accounts.reverse();
        }
        let row = |account: u64| {
            let mut row = suite_character(account, number * 10 + zone, &held.zone);
            row.name = Some(format!("name-{}", account + (number + zone) % 2 * 100));
            row
        };
        next.characters = accounts.into_iter().map(row).collect();
        let answer = archive.commit(&held, &next).await;
        assert!(matches!(answer, Ok(CommitAnswer::Done(_))), "{answer:?}");
        parent = Some(next.mark);
    }
}

#[tokio::test]
async fn zones_that_write_the_same_accounts_at_once_wait_for_each_other_and_never_both() {
    let database = PostgresDatabase::new();
    let archive = database.open(suite_schema()).await.unwrap();
    let mut zones = tokio::task::JoinSet::new();
    for zone in 0..8 {
        zones.spawn(write_shared_accounts(archive.clone(), zone));
    }
    while let Some(ended) = zones.join_next().await {
        ended.unwrap();
    }
    let newest = "SELECT count(*) FROM characters WHERE generation = 207 AND zone = 'zone-7'";
    assert_eq!(database.sql(newest), [["40"]]);
    let names = "SELECT count(*), count(DISTINCT account) FROM names";
    assert_eq!(database.sql(names), [["40", "40"]], "each has one");
}

#[tokio::test]
async fn another_archive_in_the_same_place_says_of_no_account_that_there_is_none() {
    let database = PostgresDatabase::new();
    let archive = database.open(suite_schema()).await.unwrap();
    assert_eq!(archive.account(Account(7)).await, Ok(None));
    database.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    assert_unavailable(&archive.account(Account(7)).await);
    let other = database.open(suite_schema()).await.unwrap();
    assert_ne!(other.identity(), archive.identity());
    assert_eq!(other.account(Account(7)).await, Ok(None));
    for _ in 0..10 {
        assert_unavailable(&archive.account(Account(7)).await);
        assert_unavailable(&archive.fence(&held()).await);
        assert_unavailable(&archive.zone(&held().zone, None).await);
    }
}

#[tokio::test]
async fn server_that_is_not_there_is_an_error_that_says_why() {
    let mut database = PostgresDatabase::new();
    let target = database.target();
    let unknown = PostgresTarget::new(&database.server.url("nowhere")).unwrap();
    let Err(PostgresError::Connect(why)) = PostgresArchive::open(&unknown, suite_schema()).await else {
        panic!("it opened")
    };
    assert!(why.contains("\"nowhere\" does not exist"), "{why}");
    database.server.stop();
    let Err(PostgresError::Connect(why)) = PostgresArchive::open(&target, suite_schema()).await else {
        panic!("it opened")
    };
    assert!(why.contains("refused"), "{why}");
}
