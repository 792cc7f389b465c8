//! The part of the suite of [`Archive`] that concerns its tables: columns that a game declares later, and versions that
//! this build does not know.

use everhold_core::durability::archive::{AccountAnswer, Archive, ArchivedAccount, ColumnValue, WallMs};
use everhold_core::zone::archive_schema::{ArchiveColumn, ArchiveSchema, ColumnKind};
use everhold_protocol::Account;

use super::archive_database::SqlDatabase;
use super::archive_rows::{at_rest, suite_schema};

pub(super) async fn run(archive: &impl Archive, database: &impl SqlDatabase) {
    column_declared_later_is_added_with_its_default(archive, database).await;
    declarations_can_be_read_in_the_archive(database);
    column_of_another_type_is_refused(database).await;
    many_processes_add_the_same_column_at_once(database).await;
    tables_of_a_newer_version_are_refused_and_left_alone(archive, database).await;
}

/// The suite's declarations with these columns after its own.
fn with_columns(columns: &[(&str, ColumnKind)]) -> ArchiveSchema {
    let schema = suite_schema();
    let added = columns.iter().map(|(name, kind)| ArchiveColumn {
        name: (*name).to_owned(),
        kind: *kind,
        about: format!("The {name} that came later."),
    });
    let columns = schema.columns().iter().cloned().chain(added).collect();
    ArchiveSchema::new(columns, schema.belongings().to_vec(), schema.values().to_vec()).expect("well-formed")
}

async fn columns_of(archive: &impl Archive, account: u64) -> Vec<ColumnValue> {
    match archive.account(Account(account)).await.expect("answered") {
        Some(ArchivedAccount::Character(character)) => character.columns,
        other => panic!("account {account} has no character: {other:?}"),
    }
}

async fn column_declared_later_is_added_with_its_default(archive: &impl Archive, database: &impl SqlDatabase) {
    let stored = AccountAnswer::Stored;
    let put = archive.put_account(&at_rest(500, 1, b"old"), WallMs(1)).await;
    assert_eq!(put.expect("answered"), stored);
    // A reserved word of SQL among them.
    let added = [
        ("select", ColumnKind::Integer),
        ("luck", ColumnKind::Real),
        ("title", ColumnKind::Text),
        ("is_saved", ColumnKind::Bool),
    ];
    let later = database.open(with_columns(&added)).await.expect("columns are added");
    let defaults = [
        ColumnValue::Integer(0),
        ColumnValue::Real(0.0),
        ColumnValue::Text(String::new()),
        ColumnValue::Bool(false),
    ];
    assert_eq!(columns_of(&later, 500).await[4..], defaults);
    let mut row = at_rest(500, 2, b"new");
    let values = [
        ColumnValue::Integer(-1),
        ColumnValue::Real(1.5),
        ColumnValue::Text("Dame".to_owned()),
        ColumnValue::Bool(true),
    ];
    row.columns.extend(values.clone());
    assert_eq!(later.put_account(&row, WallMs(2)).await.expect("answered"), stored);
    assert_eq!(columns_of(&later, 500).await[4..], values);
    // A build that does not know them goes on, and leaves them as they are; so does one that lost them.
    let put = archive.put_account(&at_rest(500, 3, b"older build"), WallMs(3)).await;
    assert_eq!(put.expect("answered"), stored);
    assert_eq!(columns_of(&later, 500).await[4..], values);
    let without = database
        .open(with_columns(&added[..1]))
        .await
        .expect("a removed column stays");
    assert_eq!(columns_of(&without, 500).await[4..], values[..1]);
}

fn declarations_can_be_read_in_the_archive(database: &impl SqlDatabase) {
    let rows = database.sql("SELECT kind, about FROM declarations WHERE subject = 'column' AND name = 'luck'");
    assert_eq!(rows, [["real", "The luck that came later."]]);
    let kinds = database.sql("SELECT name FROM declarations WHERE subject = 'belonging' ORDER BY name");
    assert_eq!(kinds, [["feather"], ["pebble"]]);
}

async fn column_of_another_type_is_refused(database: &impl SqlDatabase) {
    let Err(why) = database.open(with_columns(&[("luck", ColumnKind::Text)])).await else {
        panic!("it opened")
    };
    assert!(
        why.contains("`luck` is real") && why.contains("declares it as text"),
        "{why}"
    );
}

async fn many_processes_add_the_same_column_at_once(database: &impl SqlDatabase) {
    let schema = with_columns(&[("haste", ColumnKind::Integer)]);
    let open = || database.open(schema.clone());
    let opened = tokio::join!(open(), open(), open(), open());
    let opened = [opened.0, opened.1, opened.2, opened.3];
    let failed: Vec<&String> = opened.iter().filter_map(|link| link.as_ref().err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

async fn tables_of_a_newer_version_are_refused_and_left_alone(archive: &impl Archive, database: &impl SqlDatabase) {
    let declared = || database.sql("SELECT name FROM declarations ORDER BY name");
    let before = declared();
    database.set_version(99);
    let Err(why) = database.open(with_columns(&[("unseen", ColumnKind::Integer)])).await else {
        panic!("it opened")
    };
    assert!(why.contains("99") && why.contains("version"), "{why}");
    assert_eq!(declared(), before, "nothing was changed");
    database.set_version(1);
    assert_eq!(columns_of(archive, 500).await.len(), 4, "what is open goes on");
}
