//! Every query of `everhold sql`, on rows that commits have written.

use everhold_core::durability::archive::{
    Archive, ArchiveBlob, ArchiveCommit, AuditRow, Belonging, CharacterPlace, CharacterRow, ColumnValue, CommitAnswer,
    LedgerRow, WallMs,
};
use everhold_core::ownership::DataStamp;
use everhold_protocol::{Account, Epoch, Tick};
use everhold_store::archive::Dialect;
use everhold_store::archive::query::{queries, text};
use everhold_store::conformance::{SqlDatabase, suite_character, suite_schema, tenure};

use crate::{PostgresDatabase, SqliteDatabase, commit, held, mark};

/// The value `wealth` of the suite's game.
const WEALTH: u32 = 0;
/// The value `thing` of the suite's game.
const THING: u32 = 1;
/// The thing that changes hands.
const CROWN: u64 = 77;

fn stamp(tick: u64) -> DataStamp {
    DataStamp {
        epoch: Epoch(1),
        tick: Tick(tick),
    }
}

fn character(account: u64, name: Option<&str>, wealth: i64) -> CharacterRow {
    let mut row = suite_character(account, 1, &held().zone);
    row.name = name.map(str::to_owned);
    row.columns[0] = ColumnValue::Integer(wealth);
    row
}

/// A change at `tick`, a hundred milliseconds after the one of the tick before.
fn change(tick: u64, value: u32, amount: i64, [from, to]: [Option<u64>; 2]) -> LedgerRow {
    LedgerRow {
        stamp: stamp(tick),
        seq: 0,
        wall: wall(tick),
        command: None,
        value,
        thing: (value == THING).then_some(CROWN),
        amount,
        from: from.map(Account),
        to: to.map(Account),
    }
}

fn wall(tick: u64) -> WallMs {
    WallMs(tick.cast_signed() * 100)
}

fn event(tick: u64, event: &str, account: u64) -> AuditRow {
    AuditRow {
        stamp: Some(stamp(tick)),
        seq: 0,
        wall: wall(tick),
        event: event.to_owned(),
        account: Some(Account(account)),
        detail: String::new(),
    }
}

/// Three characters, a crown that the second finds and gives to the first, and a tick that epoch 2 takes back.
fn first_commit() -> ArchiveCommit {
    let mut first = commit(None, mark(10, 1));
    first.blob = Some(ArchiveBlob { parts: 1, bytes: 4 });
    first.wall = wall(10);
    let mut resting = character(3, None, 10);
    (resting.place, resting.payload) = (CharacterPlace::Rest, Some(b"rests".to_vec().into()));
    first.characters = vec![character(1, Some("Ann"), 50), character(2, Some("Ben"), 90), resting];
    let crown = Belonging {
        id: CROWN,
        kind: 1,
        count: 1,
    };
    first.characters[0].belongings = Some(vec![crown]);
    first.ledger = vec![
        change(1, WEALTH, 50, [None, Some(1)]),
        change(2, THING, 1, [None, Some(2)]),
        change(3, THING, 1, [Some(2), Some(1)]),
        change(4, WEALTH, 20, [Some(1), Some(2)]),
        change(5, WEALTH, 5, [Some(2), None]),
        change(10, WEALTH, 30, [Some(1), Some(2)]),
    ];
    let joined = [1, 2, 3].map(|account| event(account, "joined", account));
    first.audit = joined.to_vec();
    // Once more, as after a hand-off: one player is there once.
    first.audit.push(event(5, "joined", 1));
    first.audit.push(event(6, "left", 2));
    first.audit.push(event(7, "joined", 2));
    first.audit.push(event(8, "left", 3));
    first
}

async fn fill(archive: &impl Archive) {
    let first = first_commit();
    archive
        .put_blob_part(&held(), first.mark, 0, b"blob".to_vec().into())
        .await
        .unwrap();
    let answer = archive.commit(&held(), &first).await.unwrap();
    assert!(matches!(answer, CommitAnswer::Done(_)), "{answer:?}");
    let mut second = commit(Some(first.mark), mark(12, 1));
    second.mark.position.epoch = Epoch(2);
    (second.kept.tick, second.wall) = (Tick(9), wall(12));
    second.characters.clear();
    let heir = tenure(&held().zone, 2, 2);
    let answer = archive.commit(&heir, &second).await.unwrap();
    assert!(
        matches!(&answer, CommitAnswer::Done(report) if report.undone == 1),
        "{answer:?}"
    );
}

/// The answers, in the order of the queries: rows apart by `|`.
const ANSWERS: [&str; 10] = [
    "2 Ben 90|1 Ann 50|3 \\N 10",
    "200 meadow 2 thing 1 \\N 2|300 meadow 3 thing 1 2 1",
    "1 Ann feather 1",
    "1 Ann meadow|3 \\N meadow",
    "300 meadow 3 thing 77 1 2|400 meadow 4 wealth \\N -20 2",
    "thing 1 0|wealth 0 5",
    "1 2 wealth 1 20|2 1 thing 1 1",
    "meadow 2|at rest 1",
    "meadow 2 2 12 1200 1000 1",
    "meadow 2 10 10 1",
];

async fn each_query_answers(database: &impl SqlDatabase) {
    fill(&database.open(suite_schema()).await.unwrap()).await;
    let queries = queries(&suite_schema());
    assert_eq!(queries.len(), ANSWERS.len());
    for (query, expected) in queries.iter().zip(ANSWERS) {
        let given = [(":thing", "77"), (":account", "1"), (":at", "650"), (":since", "200")];
        let sql = given
            .iter()
            .fold(query.sql.clone(), |sql, (name, value)| sql.replace(name, value));
        assert!(!sql.contains(':'), "{sql}");
        let rows = database.sql(&sql).iter().map(|row| row.join(" ")).collect::<Vec<_>>();
        assert_eq!(rows.join("|"), expected, "{}", query.title);
    }
}

#[tokio::test]
async fn each_query_answers_on_sqlite() {
    each_query_answers(&SqliteDatabase::new()).await;
}

#[tokio::test]
async fn each_query_answers_on_postgres() {
    each_query_answers(&PostgresDatabase::new()).await;
}

/// The printed tables, without the queries.
fn printed(dialect: Dialect) -> String {
    let text = text(dialect, &suite_schema());
    let (tables, queries) = text.split_once("-- Queries.").unwrap();
    assert_eq!(queries.matches("\nSELECT ").count(), ANSWERS.len());
    tables.to_owned()
}

#[test]
fn printed_tables_are_those_that_an_archive_has() {
    let file = rusqlite::Connection::open_in_memory().unwrap();
    file.execute_batch(&printed(Dialect::Sqlite)).unwrap();
    let read = "SELECT name, type FROM pragma_table_info('characters') WHERE name IN ('wealth', 'motto') ORDER BY name";
    let mut columns = file.prepare(read).unwrap();
    let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let columns: Vec<(String, String)> = columns.map(Result::unwrap).collect();
    assert_eq!(
        columns,
        [("motto", "TEXT"), ("wealth", "INTEGER")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    let database = PostgresDatabase::new();
    database.sql(&printed(Dialect::Postgres));
    assert_eq!(
        database.sql("SELECT wealth, motto FROM characters"),
        Vec::<Vec<String>>::new()
    );
}
