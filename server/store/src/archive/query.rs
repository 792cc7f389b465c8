//! The archive for people: its tables with a sentence each, and queries that are the same SQL in both databases.

use std::fmt::Write;

use everhold_core::zone::archive_schema::{ArchiveSchema, ColumnKind};

use super::statement::Dialect;
use super::{POSTGRES_SCHEMA, SQLITE_SCHEMA};

/// A query. `:thing`, `:account`, `:at`, and `:since` in it are numbers that the asker gives, the last two in ms since
/// 1970-01-01 UTC: `psql` sets one by `\set thing 7`, `sqlite3` by `.parameter set :thing 7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveQuery {
    /// The question.
    pub title: &'static str,
    /// The query.
    pub sql: String,
}

/// The queries that name no column of the game.
const QUERIES: [(&str, &str); 9] = [
    (
        "Where did the thing go? Each change of hands, in order; no giver or taker is the world itself.",
        "SELECT wall_ms, zone, tick, value, amount, giver, taker FROM ledger
 WHERE thing = :thing AND undone_by IS NULL ORDER BY wall_ms, tick, seq",
    ),
    (
        "Who has the thing now?",
        "SELECT b.account, n.name, b.kind, b.count FROM belongings b
  LEFT JOIN names n ON n.account = b.account WHERE b.id = :thing ORDER BY b.account",
    ),
    (
        "Who was online at a moment, and where?",
        "SELECT a.account, n.name, a.zone FROM audit a LEFT JOIN names n ON n.account = a.account
 WHERE a.event = 'joined' AND a.wall_ms <= :at AND a.undone_by IS NULL AND NOT EXISTS (
       SELECT 1 FROM audit b WHERE b.account = a.account AND b.event IN ('joined', 'left')
          AND b.undone_by IS NULL AND b.wall_ms <= :at AND (b.wall_ms, b.id) > (a.wall_ms, a.id))
 ORDER BY a.account",
    ),
    (
        "What did an account give and take since a moment?",
        "SELECT wall_ms, zone, tick, value, thing, CASE WHEN taker = :account THEN amount ELSE -amount END AS change,
       CASE WHEN taker = :account THEN giver ELSE taker END AS other FROM ledger
 WHERE (giver = :account OR taker = :account) AND wall_ms >= :since AND undone_by IS NULL
 ORDER BY wall_ms, tick, seq",
    ),
    (
        "How much of each value did the world make and take since a moment?",
        "SELECT value, sum(CASE WHEN giver IS NULL THEN amount ELSE 0 END) AS made,
       sum(CASE WHEN taker IS NULL THEN amount ELSE 0 END) AS taken FROM ledger
 WHERE wall_ms >= :since AND undone_by IS NULL GROUP BY value ORDER BY value",
    ),
    (
        "Who gave most to whom since a moment?",
        "SELECT giver, taker, value, count(*) AS times, sum(amount) AS total FROM ledger
 WHERE giver IS NOT NULL AND taker IS NOT NULL AND wall_ms >= :since AND undone_by IS NULL
 GROUP BY giver, taker, value ORDER BY total DESC, giver, taker LIMIT 20",
    ),
    (
        "Where are the characters?",
        "SELECT coalesce(zone, 'at rest') AS place, count(*) AS characters FROM characters
 WHERE NOT is_deleted GROUP BY zone ORDER BY characters DESC, place",
    ),
    (
        "How fresh is each zone's archive, and from which tick could it be restored?",
        "SELECT z.zone, z.fence_epoch, z.commit_epoch, z.commit_tick, z.wall_ms, max(b.wall_ms) AS blob_wall_ms,
       count(b.number) AS blobs FROM zones z LEFT JOIN zone_blobs b ON b.zone = z.zone
 GROUP BY z.zone, z.fence_epoch, z.commit_epoch, z.commit_tick, z.wall_ms ORDER BY z.wall_ms, z.zone",
    ),
    (
        "Which ticks were taken back, because a later epoch went on from before them?",
        "SELECT zone, undone_by, min(tick) AS first_tick, max(tick) AS last_tick, count(*) AS changes FROM ledger
 WHERE undone_by IS NOT NULL GROUP BY zone, undone_by ORDER BY zone, undone_by",
    ),
];

/// Returns the queries for a game: those that name a column take its first one of whole numbers.
#[must_use]
pub fn queries(schema: &ArchiveSchema) -> Vec<ArchiveQuery> {
    let number = schema
        .columns()
        .iter()
        .find(|column| column.kind == ColumnKind::Integer);
    let richest = number.map(|column| ArchiveQuery {
        title: "Who has most?",
        sql: format!(
            "SELECT c.account, n.name, c.\"{0}\" FROM characters c LEFT JOIN names n ON n.account = c.account\n WHERE \
             NOT c.is_deleted ORDER BY c.\"{0}\" DESC, c.account LIMIT 20",
            column.name
        ),
    });
    let fixed = QUERIES.iter().map(|(title, sql)| ArchiveQuery {
        title,
        sql: (*sql).to_owned(),
    });
    richest.into_iter().chain(fixed).collect()
}

/// Returns the tables, the game's own columns, and the queries, as a text of SQL with comments.
#[must_use]
pub fn text(dialect: Dialect, schema: &ArchiveSchema) -> String {
    let tables = match dialect {
        Dialect::Sqlite => SQLITE_SCHEMA,
        Dialect::Postgres => POSTGRES_SCHEMA,
    };
    let mut text = tables.to_owned();
    // Writing to a text does not fail.
    let mut line = |line: std::fmt::Arguments<'_>| _ = writeln!(text, "{line}");
    line(format_args!("\n-- The game's own columns of characters."));
    for column in schema.columns() {
        let (name, definition) = (&column.name, dialect.column(column.kind));
        line(format_args!("-- {}", column.about));
        line(format_args!(
            "ALTER TABLE characters ADD COLUMN \"{name}\" {definition};"
        ));
    }
    line(format_args!(
        "\n-- Queries. :thing, :account, :at, and :since are numbers, the last two in ms since 1970.\n\
         -- psql takes one by \\set thing 7, sqlite3 by .parameter set :thing 7."
    ));
    for query in queries(schema) {
        line(format_args!("\n-- {}\n{};", query.title, query.sql));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the tables that a text makes, each with the line before it.
    fn tables(text: &str) -> Vec<(&str, &str)> {
        let lines: Vec<&str> = text.lines().collect();
        lines
            .windows(2)
            .filter_map(|pair| Some((pair[1].strip_prefix("CREATE TABLE ")?.strip_suffix(" (")?, pair[0])))
            .collect()
    }

    #[test]
    fn each_table_has_a_sentence_and_both_databases_have_the_same() {
        let (files, server) = (tables(SQLITE_SCHEMA), tables(POSTGRES_SCHEMA));
        assert!(files.len() > 8, "{files:?}");
        for (table, before) in files.iter().chain(&server) {
            assert!(before.starts_with("-- ") && before.len() > 20, "{table}: {before}");
        }
        let names = |tables: &[(&str, &str)]| tables.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&files), names(&server));
    }

    #[test]
    fn text_has_all_queries() {
        assert_eq!(
            queries(&ArchiveSchema::default()).len(),
            9,
            "without a column of whole numbers"
        );
        let text = text(Dialect::Sqlite, &ArchiveSchema::default());
        assert_eq!(text.matches("\nSELECT ").count(), 9);
    }
}
