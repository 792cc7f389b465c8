//! Bans in the file: an audit row for each revision, of which the newest counts.

use everhold_core::durability::archive::WallMs;
use everhold_core::durability::bans::Ban;
use everhold_core::limits::ARCHIVE_PAGE_ROWS_MAX;
use everhold_protocol::Account;
use rusqlite::{OptionalExtension, Transaction};

use super::{ArchiveStep, numbered};
use crate::archive::{ban_after, ban_of_row, ban_that_stands, fixed};
use crate::sqlite::file::Rollback;

pub(super) fn read(file: &Transaction<'_>, account: Account) -> ArchiveStep<Option<Ban>> {
    let mut statement = file.prepare_cached(&numbered(fixed::BAN))?;
    let row = statement.query_row([account.0.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)));
    let row: Option<(i64, String)> = row.optional()?;
    let ban = row.map(|(account, detail)| ban_of_row(account, &detail));
    ban.transpose().map_err(Rollback::Refused)
}

pub(super) fn put(file: &Transaction<'_>, ban: &Ban, wall: WallMs) -> ArchiveStep<Option<Ban>> {
    if let Some(answer) = ban_that_stands(read(file, ban.account)?, ban) {
        return Ok(answer);
    }
    file.prepare_cached(&numbered(fixed::AUDIT))?.execute((
        wall.0,
        ban.event(),
        ban.account.0.cast_signed(),
        ban.to_text(),
    ))?;
    Ok(None)
}

pub(super) fn page(file: &Transaction<'_>, after: Option<Account>, rows: u32) -> ArchiveStep<Vec<Ban>> {
    let Some(first) = ban_after(after) else {
        return Ok(Vec::new());
    };
    let rows = rows.min(ARCHIVE_PAGE_ROWS_MAX);
    let mut statement = file.prepare_cached(&numbered(fixed::BANS))?;
    let read = statement.query_map((first, rows), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let read: Vec<(i64, String)> = read.collect::<rusqlite::Result<_>>()?;
    let bans = read.iter().map(|(account, detail)| ban_of_row(*account, detail));
    bans.collect::<Result<_, _>>().map_err(Rollback::Refused)
}
