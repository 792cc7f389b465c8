//! Conformance suites, one for each trait: what every implementation must do, whatever it is built on. Behind the
//! feature `conformance`.
//!
//! A suite takes a function that opens *another connection* to one and the same data, so that it can let two processes
//! contend. An implementation runs it in one line:
//!
//! ```no_run
//! # async fn run() {
//! let directory = tempfile::tempdir().expect("a temporary directory");
//! everhold_store::conformance::authority_conformance(|| {
//!     everhold_store::sqlite::SqliteAuthority::open(directory.path()).expect("an authority")
//! })
//! .await;
//! # }
//! ```

mod archive;
mod archive_accounts;
mod archive_blobs;
mod archive_database;
mod archive_rows;
mod archive_schema;
mod authority;
mod bans;
mod history;
mod homes;
mod membership;
mod rules;
mod store;
mod store_checkpoints;
mod store_evidence;
mod store_journal;
mod store_reading;
mod store_seal;

pub use archive::{archive_conformance, sql_archive_conformance};
pub use archive_database::{ArchiveDatabase, KeptAuditRow, KeptLedgerRow, SqlDatabase};
pub use archive_rows::{suite_character, suite_schema};
pub use authority::{authority_conformance, reinstate, renew};
pub use bans::ban_store_conformance;
pub use history::{SuiteHistory, position, tenure};
pub use homes::{expiring_home_store_conformance, home_store_conformance};
pub use membership::membership_conformance;
pub use rules::rules_store_conformance;
pub use store::zone_store_conformance;
