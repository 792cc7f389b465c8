//! The common parts of the statements on a zone's file: how a step of a transaction ends, and how a hash is read. No
//! statement is here.

use everhold_core::durability::store::{RecordHash, StoreError};
use rusqlite::Row;

use super::file::Rollback;

/// Outcome of a step inside a transaction: a failure undoes the whole transaction.
pub(super) type StepResult<T> = Result<T, Rollback<StoreError>>;

/// Reads the hash in a column.
pub(super) fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<RecordHash> {
    row.get(column).map(RecordHash)
}
