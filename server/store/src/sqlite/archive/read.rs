//! Reading from an archive's file: zones, parts of blobs, accounts, belongings. It writes nothing.

use bytes::Bytes;
use everhold_core::durability::archive::{
    ArchiveError, ArchivedAccount, ArchivedZone, Belonging, ColumnValue, CommitMark, LedgerKey, LedgerRow, check_reader,
};
use everhold_core::limits::{ARCHIVE_PAGE_ROWS_MAX, LEDGER_PAGE_ROWS_MAX};
use everhold_core::ownership::{DataStamp, Grant, Nonce};
use everhold_core::zone::archive_schema::{ArchiveSchema, ColumnKind};
use everhold_protocol::{Account, Epoch, ZoneName};
use rusqlite::{OptionalExtension, Row, Transaction};

use super::{ArchiveStep, Rollback, numbered};
use crate::archive::{
    RawCharacter, RawLedgerRow, RawMark, RawPayload, RawZone, Statements, account_from, fixed, ledger_from, verified,
};

/// Columns of a character's row before those of the game.
const OWN_COLUMNS: usize = 12;

/// Reads a mark from four columns; `None`: they are empty.
pub(super) fn mark(row: &Row<'_>, from: usize) -> rusqlite::Result<Option<RawMark>> {
    let Some(epoch) = row.get::<_, Option<i64>>(from)? else {
        return Ok(None);
    };
    Ok(Some((
        epoch,
        row.get(from + 1)?,
        row.get(from + 2)?,
        row.get(from + 3)?,
    )))
}

fn raw_zone(row: &Row<'_>) -> rusqlite::Result<RawZone> {
    Ok(RawZone {
        zone: row.get(0)?,
        fence: (row.get(1)?, row.get(2)?),
        last: mark(row, 3)?,
    })
}

fn with_blobs(file: &Transaction<'_>, zone: RawZone) -> ArchiveStep<ArchivedZone> {
    let mut statement = file.prepare_cached(&numbered(fixed::BLOBS))?;
    let blobs = statement.query_map([&zone.zone], |row| {
        let mark = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok((mark, row.get(4)?, row.get(5)?))
    })?;
    let blobs = blobs.collect::<rusqlite::Result<_>>()?;
    zone.with(blobs).map_err(Rollback::Refused)
}

pub(super) fn zone(
    file: &Transaction<'_>,
    zone: &ZoneName,
    reader: Option<Grant>,
) -> ArchiveStep<Option<ArchivedZone>> {
    let found = file
        .prepare_cached(&numbered(fixed::ZONE))?
        .query_row([zone.as_str()], raw_zone)
        .optional()?;
    let found = found.map(|zone| with_blobs(file, zone)).transpose()?;
    check_reader(found.as_ref().map(|zone| zone.fence), reader).map_err(Rollback::Refused)?;
    Ok(found)
}

pub(super) fn zones(file: &Transaction<'_>, after: &str, rows: u32) -> ArchiveStep<Vec<ArchivedZone>> {
    let mut statement = file.prepare_cached(&numbered(fixed::ZONES))?;
    let zones = statement.query_map((after, rows.min(ARCHIVE_PAGE_ROWS_MAX)), raw_zone)?;
    let zones = zones.collect::<rusqlite::Result<Vec<_>>>()?;
    zones.into_iter().map(|zone| with_blobs(file, zone)).collect()
}

/// Checks that the reader, if it has a grant, holds the fence.
fn check(file: &Transaction<'_>, zone: &ZoneName, reader: Option<Grant>) -> ArchiveStep<()> {
    let fence = file
        .prepare_cached("SELECT fence_epoch, fence_nonce FROM zones WHERE zone = ?1")?
        .query_row([zone.as_str()], |row| {
            Ok((Epoch(row.get(0)?), Nonce(row.get::<_, i64>(1)?.cast_unsigned())))
        })
        .optional()?;
    check_reader(fence, reader).map_err(Rollback::Refused)
}

pub(super) fn part(
    file: &Transaction<'_>,
    zone: &ZoneName,
    reader: Option<Grant>,
    mark: CommitMark,
    index: u32,
) -> ArchiveStep<Option<Bytes>> {
    check(file, zone, reader)?;
    let (epoch, number) = (mark.position.epoch.0, mark.number.cast_signed());
    let part: Option<(Vec<u8>, Vec<u8>)> = file
        .prepare_cached(&numbered(fixed::PART))?
        .query_row((zone.as_str(), epoch, number, index), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let what = || format!("part {index} of the blob of {zone} at tick {}", mark.position.tick);
    let part = part.map(|(kept, bytes)| verified(&kept, bytes, what));
    part.transpose().map_err(Rollback::Refused)
}

fn character(row: &Row<'_>, schema: &ArchiveSchema) -> rusqlite::Result<RawCharacter> {
    let columns = schema.columns().iter().zip(OWN_COLUMNS..).map(|(column, at)| {
        Ok(match column.kind {
            ColumnKind::Integer => ColumnValue::Integer(row.get(at)?),
            ColumnKind::Real => ColumnValue::Real(row.get(at)?),
            ColumnKind::Text => ColumnValue::Text(row.get(at)?),
            ColumnKind::Bool => ColumnValue::Bool(row.get(at)?),
        })
    });
    let generation: Option<i64> = row.get(9)?;
    let payload = generation.map(|generation| {
        Ok::<_, rusqlite::Error>(RawPayload {
            generation,
            checksum: row.get(10)?,
            bytes: row.get(11)?,
        })
    });
    Ok(RawCharacter {
        account: row.get(0)?,
        generation: row.get(1)?,
        is_deleted: row.get(2)?,
        zone: row.get(3)?,
        epoch: row.get(4)?,
        tick: row.get(5)?,
        wall_ms: row.get(6)?,
        payload_bytes: row.get(7)?,
        name: row.get(8)?,
        payload: payload.transpose()?,
        columns: columns.collect::<rusqlite::Result<_>>()?,
    })
}

/// The game's declarations, and the statements that name them.
pub(super) type Terms<'a> = (&'a ArchiveSchema, &'a Statements);

pub(super) fn account(
    file: &Transaction<'_>,
    (schema, statements): Terms<'_>,
    account: Account,
) -> ArchiveStep<Option<ArchivedAccount>> {
    let found = file
        .prepare_cached(&statements.account)?
        .query_row([account.0.cast_signed()], |row| character(row, schema))
        .optional()?;
    found.map(RawCharacter::checked).transpose().map_err(Rollback::Refused)
}

pub(super) fn accounts(
    file: &Transaction<'_>,
    (schema, statements): Terms<'_>,
    home: Option<&ZoneName>,
    after: Option<Account>,
    rows: u32,
) -> ArchiveStep<Vec<ArchivedAccount>> {
    let Some(from) = account_from(after) else {
        return Ok(Vec::new());
    };
    let rows = rows.min(ARCHIVE_PAGE_ROWS_MAX);
    let read = |row: &Row<'_>| character(row, schema);
    let found = match home {
        None => {
            let mut statement = file.prepare_cached(&statements.accounts)?;
            let found = statement.query_map((from, rows), read)?;
            found.collect::<rusqlite::Result<Vec<_>>>()?
        }
        Some(home) => {
            let mut statement = file.prepare_cached(&statements.accounts_in_zone)?;
            let found = statement.query_map((from, rows, home.as_str()), read)?;
            found.collect::<rusqlite::Result<Vec<_>>>()?
        }
    };
    let found = found.into_iter().map(RawCharacter::checked);
    found.collect::<Result<_, ArchiveError>>().map_err(Rollback::Refused)
}

pub(super) fn accounts_since(
    file: &Transaction<'_>,
    (schema, statements): Terms<'_>,
    (home, since): (&ZoneName, DataStamp),
    after: Option<Account>,
    rows: u32,
) -> ArchiveStep<Vec<ArchivedAccount>> {
    let Some(from) = account_from(after) else {
        return Ok(Vec::new());
    };
    let rows = rows.min(ARCHIVE_PAGE_ROWS_MAX);
    let mut statement = file.prepare_cached(&statements.accounts_since)?;
    let since = (since.epoch.0, since.tick.0.cast_signed());
    let found = statement.query_map((from, rows, home.as_str(), since.0, since.1), |row| {
        character(row, schema)
    })?;
    let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
    let found = found.into_iter().map(RawCharacter::checked);
    found.collect::<Result<_, ArchiveError>>().map_err(Rollback::Refused)
}

pub(super) fn belongings(
    file: &Transaction<'_>,
    schema: &ArchiveSchema,
    account: Account,
) -> ArchiveStep<Vec<Belonging>> {
    let mut statement = file.prepare_cached(&numbered(fixed::BELONGINGS))?;
    let mut rows = statement.query([account.0.cast_signed()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let kind: String = row.get(1)?;
        if let Some(kind) = schema.belonging_number(&kind) {
            found.push(Belonging {
                id: row.get::<_, i64>(0)?.cast_unsigned(),
                kind,
                count: row.get(2)?,
            });
        }
    }
    Ok(found)
}

fn raw_ledger(row: &Row<'_>) -> rusqlite::Result<RawLedgerRow> {
    Ok(RawLedgerRow {
        key: (row.get(0)?, row.get(1)?, row.get(2)?),
        wall_ms: row.get(3)?,
        command: (row.get(4)?, row.get(5)?),
        value: row.get(6)?,
        thing: row.get(7)?,
        amount: row.get(8)?,
        parties: (row.get(9)?, row.get(10)?),
    })
}

pub(super) fn ledger(
    file: &Transaction<'_>,
    schema: &ArchiveSchema,
    zone: &ZoneName,
    after: Option<LedgerKey>,
    rows: u32,
) -> ArchiveStep<Vec<LedgerRow>> {
    let sql = numbered(&format!("{} {}", fixed::LEDGER, fixed::LEDGER_ORDER));
    let mut statement = file.prepare_cached(&sql)?;
    let (tick, epoch, seq) = ledger_from(after);
    let mut read = statement.query((zone.as_str(), tick, epoch, seq))?;
    let most = rows.min(LEDGER_PAGE_ROWS_MAX) as usize;
    let mut found = Vec::new();
    while found.len() < most
        && let Some(row) = read.next()?
    {
        let row = raw_ledger(row)?.checked(schema);
        found.extend(row.map_err(Rollback::Refused)?);
    }
    Ok(found)
}
