//! Failures of PostgreSQL, and those that a step of a transaction finds itself. It decides nothing about what follows.

use everhold_core::durability::archive::ArchiveError;
use tokio_postgres::error::SqlState;

/// The reason why a step ended a transaction: it is rolled back.
#[derive(Debug)]
pub(super) enum SqlFailure {
    /// PostgreSQL failed.
    Sql(tokio_postgres::Error),
    /// The step refused it.
    Refused(ArchiveError),
}

impl From<tokio_postgres::Error> for SqlFailure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<ArchiveError> for SqlFailure {
    fn from(error: ArchiveError) -> Self {
        Self::Refused(error)
    }
}

impl From<SqlFailure> for ArchiveError {
    fn from(failure: SqlFailure) -> Self {
        let error = match failure {
            SqlFailure::Sql(error) => error,
            SqlFailure::Refused(refusal) => return refusal,
        };
        let is_damage = |code: &SqlState| [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code);
        if error.code().is_some_and(is_damage) {
            Self::Corrupt(text(&error))
        } else {
            Self::Unavailable(text(&error))
        }
    }
}

/// Outcome of a step inside a transaction.
pub(super) type Step<T> = Result<T, SqlFailure>;

/// Puts an error into words, with its causes.
pub(super) fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
