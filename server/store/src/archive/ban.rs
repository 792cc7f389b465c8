//! Bans as audit rows: how one is read, and which stands. It reads nothing itself.

use everhold_core::durability::archive::ArchiveError;
use everhold_core::durability::bans::Ban;
use everhold_protocol::Account;

/// Reads the ban of an audit row.
pub(crate) fn ban_of_row(account: i64, detail: &str) -> Result<Ban, ArchiveError> {
    let ban = Ban::from_text(Account(account.cast_unsigned()), detail);
    ban.map_err(|error| ArchiveError::Corrupt(format!("the ban of account {}: {error}", account.cast_unsigned())))
}

/// Returns what stands in the way of a write: `Some(None)` if it was done before, `None` if it is to be done.
pub(crate) fn ban_that_stands(stands: Option<Ban>, ban: &Ban) -> Option<Option<Ban>> {
    match stands {
        Some(stands) if stands == *ban => Some(None),
        Some(stands) if stands.revision >= ban.revision => Some(Some(stands)),
        _ => None,
    }
}

/// Returns the number of the account that follows, in the order of the database, in which numbers have a sign. `None`:
/// there is none.
pub(crate) fn ban_after(after: Option<Account>) -> Option<i64> {
    after.map_or(Some(i64::MIN), |after| after.0.cast_signed().checked_add(1))
}
