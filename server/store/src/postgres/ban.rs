//! Bans on PostgreSQL: an audit row for each revision, of which the newest counts. Writers of one account's ban take
//! turns by an advisory lock: there may be no row yet that could be locked.

use everhold_core::durability::archive::WallMs;
use everhold_core::durability::bans::Ban;
use everhold_core::limits::ARCHIVE_PAGE_ROWS_MAX;
use everhold_protocol::Account;
use tokio_postgres::Transaction;

use super::failure::Step;
use crate::archive::{ban_after, ban_of_row, ban_that_stands, fixed};

/// Takes the turn of an account. The text keeps its numbers apart from those of other locks.
const TURN: &str = "SELECT pg_advisory_xact_lock(hashtextextended('ban of account ' || $1::bigint::text, 0))";

pub(super) async fn read(transaction: &Transaction<'_>, account: Account) -> Step<Option<Ban>> {
    let row = transaction.query_opt(fixed::BAN, &[&account.0.cast_signed()]).await?;
    let Some(row) = row else { return Ok(None) };
    let (account, detail): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Some(ban_of_row(account, &detail)?))
}

pub(super) async fn put(transaction: &Transaction<'_>, ban: &Ban, wall: WallMs) -> Step<Option<Ban>> {
    let account = ban.account.0.cast_signed();
    transaction.execute(TURN, &[&account]).await?;
    if let Some(answer) = ban_that_stands(read(transaction, ban.account).await?, ban) {
        return Ok(answer);
    }
    let (event, detail) = (ban.event(), ban.to_text());
    transaction
        .execute(fixed::AUDIT, &[&wall.0, &event, &account, &detail])
        .await?;
    Ok(None)
}

pub(super) async fn page(transaction: &Transaction<'_>, after: Option<Account>, rows: u32) -> Step<Vec<Ban>> {
    let Some(first) = ban_after(after) else {
        return Ok(Vec::new());
    };
    let rows = i64::from(rows.min(ARCHIVE_PAGE_ROWS_MAX));
    let read = transaction.query(fixed::BANS, &[&first, &rows]).await?;
    let ban = |row: &tokio_postgres::Row| -> Step<Ban> {
        let (account, detail): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        Ok(ban_of_row(account, &detail)?)
    };
    read.iter().map(ban).collect()
}
