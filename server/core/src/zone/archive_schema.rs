//! The declarations of a game to the archive: which columns a character has, which kinds of belongings and of value
//! there are. The archive makes its tables from them. It holds no row, and knows no database.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::{ARCHIVE_COLUMNS_MAX, ARCHIVE_KIND_BYTES_MAX, ARCHIVE_KINDS_MAX};

/// Longest name of a column, bytes: PostgreSQL cuts names after 63, and an index's name is made of it.
const COLUMN_NAME_BYTES_MAX: usize = 40;

/// Names that the archive's table of characters has itself, or that a database gives to every table.
const TAKEN: [&str; 18] = [
    "account",
    "generation",
    "zone",
    "epoch",
    "tick",
    "wall_ms",
    "is_deleted",
    "payload_bytes",
    "name",
    "rowid",
    "oid",
    "tableoid",
    "xmin",
    "xmax",
    "cmin",
    "cmax",
    "ctid",
    "home",
];

/// The beginning of names that later versions of the archive may give to columns of their own.
const TAKEN_PREFIX: &str = "engine_";

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// A whole number of 64 bits, with a sign. At first 0.
    Integer,
    /// A floating-point number of 64 bits, finite. At first 0.
    Real,
    /// A text without NUL. At first empty.
    Text,
    /// True or false. At first false.
    Bool,
}

impl ColumnKind {
    /// Returns the name under which an archive keeps the kind. It is part of the archive's layout.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Text => "text",
            Self::Bool => "bool",
        }
    }
}

/// A column of the table of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveColumn {
    /// Its name in SQL: `a`-`z`, digits, and `_`, a letter first, at most 40 bytes.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
    /// A sentence for people who read the tables.
    pub about: String,
}

/// A kind of belonging, or of value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveKind {
    /// Its name, as it stands in rows: 1 to 64 bytes without control characters.
    pub name: String,
    /// A sentence for people who read the tables.
    pub about: String,
}

/// Error of declarations that no archive can carry out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The name is no plain SQL name.
    #[error("the column `{0}` must be named by a-z, 0-9, and _, a letter first, in at most 40 bytes")]
    ColumnName(String),
    /// The name is the archive's own.
    #[error("the column `{0}` has a name that the archive or its database uses itself")]
    Taken(String),
    /// The name is no name of a kind.
    #[error("the kind {0:?} must have 1 to 64 bytes and no control characters")]
    KindName(String),
    /// Two have one name.
    #[error("`{0}` is declared twice")]
    Twice(String),
    /// There are more than a table should have.
    #[error("{found} {what} are declared, at most {max} may be")]
    TooMany {
        /// Columns, or kinds.
        what: &'static str,
        /// The number of them.
        found: usize,
        /// The bound.
        max: usize,
    },
}

/// The declarations of one game. Their order is the order of values in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveSchema {
    columns: Vec<ArchiveColumn>,
    belongings: Vec<ArchiveKind>,
    belonging_numbers: BTreeMap<String, u32>,
    values: Vec<ArchiveKind>,
}

impl ArchiveSchema {
    /// Checks the declarations: columns of characters, kinds of belongings, kinds of value in the ledger.
    ///
    /// # Errors
    /// A name is taken, occurs twice, or is none; or there are too many.
    pub fn new(
        columns: Vec<ArchiveColumn>,
        belongings: Vec<ArchiveKind>,
        values: Vec<ArchiveKind>,
    ) -> Result<Self, SchemaError> {
        check_count("columns", columns.len(), ARCHIVE_COLUMNS_MAX)?;
        for column in &columns {
            check_column_name(&column.name)?;
        }
        check_unique(columns.iter().map(|column| &column.name))?;
        for (what, kinds) in [("kinds of belongings", &belongings), ("kinds of value", &values)] {
            check_count(what, kinds.len(), ARCHIVE_KINDS_MAX)?;
            for kind in kinds {
                let fits = (1..=ARCHIVE_KIND_BYTES_MAX).contains(&kind.name.len());
                if !fits || kind.name.chars().any(char::is_control) {
                    return Err(SchemaError::KindName(kind.name.clone()));
                }
            }
            check_unique(kinds.iter().map(|kind| &kind.name))?;
        }
        let names = belongings.iter().map(|kind| kind.name.clone());
        Ok(Self {
            columns,
            belonging_numbers: names.zip(0..).collect(),
            belongings,
            values,
        })
    }

    /// Returns the columns of characters.
    #[must_use]
    pub fn columns(&self) -> &[ArchiveColumn] {
        &self.columns
    }

    /// Returns the kinds of belongings.
    #[must_use]
    pub fn belongings(&self) -> &[ArchiveKind] {
        &self.belongings
    }

    /// Returns the number of a kind of belongings. `None`: it is not declared.
    #[must_use]
    pub fn belonging_number(&self, name: &str) -> Option<u32> {
        self.belonging_numbers.get(name).copied()
    }

    /// Returns the kinds of value.
    #[must_use]
    pub fn values(&self) -> &[ArchiveKind] {
        &self.values
    }
}

fn check_count(what: &'static str, found: usize, max: usize) -> Result<(), SchemaError> {
    if found > max {
        return Err(SchemaError::TooMany { what, found, max });
    }
    Ok(())
}

fn check_column_name(name: &str) -> Result<(), SchemaError> {
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    let begins = name.starts_with(|letter: char| letter.is_ascii_lowercase());
    if !begins || name.len() > COLUMN_NAME_BYTES_MAX || !name.chars().all(is_plain) {
        return Err(SchemaError::ColumnName(name.to_owned()));
    }
    if TAKEN.contains(&name) || name.starts_with(TAKEN_PREFIX) {
        return Err(SchemaError::Taken(name.to_owned()));
    }
    Ok(())
}

fn check_unique<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), SchemaError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(SchemaError::Twice(name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> ArchiveColumn {
        ArchiveColumn {
            name: name.to_owned(),
            kind: ColumnKind::Integer,
            about: String::new(),
        }
    }

    fn kind(name: &str) -> ArchiveKind {
        ArchiveKind {
            name: name.to_owned(),
            about: String::new(),
        }
    }

    fn columns(names: &[&str]) -> Result<ArchiveSchema, SchemaError> {
        ArchiveSchema::new(names.iter().map(|name| column(name)).collect(), Vec::new(), Vec::new())
    }

    #[test]
    fn plain_names_are_declared_in_their_order() {
        let schema = columns(&["order", "a", "x_9"]).expect("plain names");
        let names: Vec<&str> = schema.columns().iter().map(|column| &*column.name).collect();
        assert_eq!(names, ["order", "a", "x_9"]);
    }

    #[test]
    fn names_that_are_no_sql_names_are_refused() {
        for name in [
            "",
            "9a",
            "_a",
            "A",
            "a b",
            "a\"; drop table zones; --",
            "ä",
            &"a".repeat(41),
        ] {
            assert_eq!(
                columns(&[name]),
                Err(SchemaError::ColumnName(name.to_owned())),
                "{name}"
            );
        }
    }

    #[test]
    fn names_of_the_archive_itself_are_refused() {
        for name in ["account", "ctid", "engine_next"] {
            assert_eq!(columns(&[name]), Err(SchemaError::Taken(name.to_owned())), "{name}");
        }
    }

    #[test]
    fn repeated_names_are_refused() {
        assert_eq!(columns(&["a", "b", "a"]), Err(SchemaError::Twice("a".to_owned())));
        let kinds = ArchiveSchema::new(Vec::new(), vec![kind("herb"), kind("herb")], Vec::new());
        assert_eq!(kinds, Err(SchemaError::Twice("herb".to_owned())));
    }

    #[test]
    fn kinds_without_a_plain_name_are_refused() {
        for name in ["", "a\nb", "a\0", &"k".repeat(65)] {
            let kinds = ArchiveSchema::new(Vec::new(), Vec::new(), vec![kind(name)]);
            assert_eq!(kinds, Err(SchemaError::KindName(name.to_owned())), "{name:?}");
        }
    }

    #[test]
    fn more_columns_than_the_bound_are_refused() {
        let many: Vec<ArchiveColumn> = (0..=ARCHIVE_COLUMNS_MAX).map(|n| column(&format!("c{n}"))).collect();
        let found = many.len();
        let error = ArchiveSchema::new(many, Vec::new(), Vec::new()).expect_err("too many");
        assert!(matches!(error, SchemaError::TooMany { found: count, .. } if count == found));
    }
}
