//! The declarations of a game beside those that an archive has: what is to be added, and what cannot be.

use std::collections::BTreeMap;

use everhold_core::zone::archive_schema::{ArchiveSchema, ColumnKind};

/// Error of a column that the archive has with another type. It stays as it is: its values would be lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archive's column `{name}` is {found}, and the game declares it as {declared}: give it another name")]
pub struct ColumnMismatch {
    /// The column.
    pub name: String,
    /// Its type in the archive.
    pub found: String,
    /// Its type in the game.
    pub declared: &'static str,
}

/// The subject of a column's row in `declarations`.
const COLUMN: &str = "column";

/// A row of `declarations`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declaration {
    pub(crate) subject: &'static str,
    pub(crate) name: String,
    /// The kind of a column; empty for others.
    pub(crate) kind: String,
    pub(crate) about: String,
    /// The column to be added to `characters`, if it is one.
    pub(crate) column: Option<ColumnKind>,
}

/// Returns what the game declares and the archive has not, or with another sentence. `known` are the archive's rows:
/// subject, name, kind, sentence. A declared column that is there is not added again.
pub(crate) fn undeclared(
    schema: &ArchiveSchema,
    known: &[(String, String, String, String)],
) -> Result<Vec<Declaration>, ColumnMismatch> {
    let columns = schema.columns().iter().map(|column| Declaration {
        subject: COLUMN,
        name: column.name.clone(),
        kind: column.kind.name().to_owned(),
        about: column.about.clone(),
        column: Some(column.kind),
    });
    let kinds = [("belonging", schema.belongings()), ("value", schema.values())];
    let kinds = kinds.into_iter().flat_map(|(subject, kinds)| {
        kinds.iter().map(move |kind| Declaration {
            subject,
            name: kind.name.clone(),
            kind: String::new(),
            about: kind.about.clone(),
            column: None,
        })
    });
    let rows = known
        .iter()
        .map(|(subject, name, kind, about)| ((&**subject, &**name), (kind, about)));
    let rows: BTreeMap<(&str, &str), (&String, &String)> = rows.collect();
    let mut missing = Vec::new();
    for mut declaration in columns.chain(kinds) {
        let Some((found, about)) = rows.get(&(declaration.subject, &*declaration.name)) else {
            missing.push(declaration);
            continue;
        };
        if let Some(kind) = declaration.column.take()
            && *found != kind.name()
        {
            return Err(ColumnMismatch {
                found: (*found).clone(),
                name: declaration.name.clone(),
                declared: kind.name(),
            });
        }
        if **about != declaration.about {
            missing.push(declaration);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use everhold_core::zone::archive_schema::{ArchiveColumn, ArchiveKind};

    use super::*;

    fn schema(kind: ColumnKind, about: &str) -> ArchiveSchema {
        let column = ArchiveColumn {
            name: "wealth".to_owned(),
            kind,
            about: about.to_owned(),
        };
        let pebble = ArchiveKind {
            name: "wealth".to_owned(),
            about: about.to_owned(),
        };
        ArchiveSchema::new(vec![column], vec![pebble], Vec::new()).expect("well-formed")
    }

    fn rows(declarations: &[Declaration]) -> Vec<(String, String, String, String)> {
        let row = |row: &Declaration| {
            (
                row.subject.to_owned(),
                row.name.clone(),
                row.kind.clone(),
                row.about.clone(),
            )
        };
        declarations.iter().map(row).collect()
    }

    #[test]
    fn declarations_are_missing_once_and_sentences_are_renewed() {
        let first = undeclared(&schema(ColumnKind::Integer, "a"), &[]).expect("nothing is in the way");
        let subjects: Vec<_> = first.iter().map(|row| (row.subject, row.column)).collect();
        assert_eq!(subjects, [("column", Some(ColumnKind::Integer)), ("belonging", None)]);
        assert_eq!(
            undeclared(&schema(ColumnKind::Integer, "a"), &rows(&first)),
            Ok(Vec::new())
        );
        let again = undeclared(&schema(ColumnKind::Integer, "b"), &rows(&first)).expect("the same columns");
        assert!(
            again.len() == 2 && again.iter().all(|row| row.column.is_none()),
            "{again:?}"
        );
    }

    #[test]
    fn column_of_another_type_is_refused() {
        let known = rows(&undeclared(&schema(ColumnKind::Integer, "a"), &[]).expect("nothing is in the way"));
        let error = undeclared(&schema(ColumnKind::Text, "a"), &known).expect_err("another type");
        let (found, declared) = ("integer".to_owned(), "text");
        assert_eq!(
            error,
            ColumnMismatch {
                name: "wealth".to_owned(),
                found,
                declared
            }
        );
    }
}
