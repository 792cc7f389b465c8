//! The archive's tables as SQLite and PostgreSQL share them: the statements that are the same in both, how a row is
//! read, and what people can ask. It opens no database.

mod account;
mod ban;
mod declaration;
pub mod query;
mod raw;
mod statement;

pub use declaration::ColumnMismatch;
pub use statement::Dialect;

pub(crate) use account::{before_write, undeleted};
pub(crate) use ban::{ban_after, ban_of_row, ban_that_stands};
pub(crate) use declaration::{Declaration, undeclared};
pub(crate) use raw::{
    RawCharacter, RawLedgerRow, RawMark, RawPayload, RawZone, account_from, corrupt, ledger_from, verified,
};
pub(crate) use statement::{Statements, fixed};

/// The version of the tables that this build makes and reads.
pub(crate) const SCHEMA_VERSION: i32 = 1;

/// The tables for SQLite.
pub(crate) const SQLITE_SCHEMA: &str = include_str!("archive/sqlite.sql");

/// The tables for PostgreSQL.
pub(crate) const POSTGRES_SCHEMA: &str = include_str!("archive/postgres.sql");
