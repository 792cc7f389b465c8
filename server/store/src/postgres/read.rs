//! Reading from an archive on PostgreSQL: zones, parts of blobs, accounts, belongings. It writes nothing.

use bytes::Bytes;
use deadpool_postgres::{Client, GenericClient, Transaction};
use everhold_core::durability::archive::{
    ArchiveError, ArchiveIdentity, ArchivedAccount, ArchivedZone, Belonging, ColumnValue, CommitMark, LedgerKey,
    LedgerRow, check_reader,
};
use everhold_core::limits::{ARCHIVE_PAGE_ROWS_MAX, LEDGER_PAGE_ROWS_MAX};
use everhold_core::ownership::{DataStamp, Grant, Nonce};
use everhold_core::zone::archive_schema::{ArchiveSchema, ColumnKind};
use everhold_protocol::{Account, Epoch, ZoneName};
use tokio_postgres::Row;

use super::DeclaredTerms;
use super::failure::Step;
use crate::archive::{
    RawCharacter, RawLedgerRow, RawMark, RawPayload, RawZone, account_from, corrupt, fixed, ledger_from, verified,
};

/// Columns of a character's row before those of the game.
const OWN_COLUMNS: usize = 12;

/// Makes sure that this is the archive that was opened: another one, made in its place, says of everything that there
/// is none.
pub(super) async fn confirm(client: &impl GenericClient, identity: ArchiveIdentity) -> Step<()> {
    let row = client.query_one(fixed::IDENTITY, &[]).await?;
    let found: &[u8] = row.try_get(0)?;
    if found == identity.0 {
        return Ok(());
    }
    let why = "it is another archive than the one that was opened";
    Err(ArchiveError::Unavailable(why.to_owned()).into())
}

/// Reads a mark from four columns; `None`: they are empty.
pub(super) fn mark(row: &Row, from: usize) -> Result<Option<RawMark>, tokio_postgres::Error> {
    let Some(epoch) = row.try_get(from)? else {
        return Ok(None);
    };
    Ok(Some((
        epoch,
        row.try_get(from + 1)?,
        row.try_get(from + 2)?,
        row.try_get(from + 3)?,
    )))
}

fn raw_zone(row: &Row) -> Result<RawZone, tokio_postgres::Error> {
    Ok(RawZone {
        zone: row.try_get(0)?,
        fence: (row.try_get(1)?, row.try_get(2)?),
        last: mark(row, 3)?,
    })
}

async fn with_blobs(transaction: &Transaction<'_>, zone: RawZone) -> Step<ArchivedZone> {
    let statement = transaction.prepare_cached(fixed::BLOBS).await?;
    let rows = transaction.query(&statement, &[&zone.zone]).await?;
    let blobs = rows.iter().map(|row| {
        let mark = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        Ok((mark, row.try_get(4)?, row.try_get(5)?))
    });
    let blobs = blobs.collect::<Result<_, tokio_postgres::Error>>()?;
    Ok(zone.with(blobs)?)
}

pub(super) async fn zone(
    transaction: &Transaction<'_>,
    zone: &ZoneName,
    reader: Option<Grant>,
    identity: ArchiveIdentity,
) -> Step<Option<ArchivedZone>> {
    let statement = transaction.prepare_cached(fixed::ZONE).await?;
    let row = transaction.query_opt(&statement, &[&zone.as_str()]).await?;
    let found = match row {
        Some(row) => Some(with_blobs(transaction, raw_zone(&row)?).await?),
        None => {
            confirm(transaction, identity).await?;
            None
        }
    };
    check_reader(found.as_ref().map(|zone| zone.fence), reader)?;
    Ok(found)
}

pub(super) async fn zones(
    transaction: &Transaction<'_>,
    after: &str,
    rows: u32,
    identity: ArchiveIdentity,
) -> Step<Vec<ArchivedZone>> {
    let statement = transaction.prepare_cached(fixed::ZONES).await?;
    let rows = i64::from(rows.min(ARCHIVE_PAGE_ROWS_MAX));
    let rows = transaction.query(&statement, &[&after, &rows]).await?;
    if rows.is_empty() {
        confirm(transaction, identity).await?;
    }
    let mut zones = Vec::with_capacity(rows.len());
    for row in &rows {
        zones.push(with_blobs(transaction, raw_zone(row)?).await?);
    }
    Ok(zones)
}

/// Checks that the reader, if it has a grant, holds the fence.
async fn check(transaction: &Transaction<'_>, zone: &ZoneName, reader: Option<Grant>) -> Step<()> {
    let statement = transaction
        .prepare_cached("SELECT fence_epoch, fence_nonce FROM zones WHERE zone = $1")
        .await?;
    let row = transaction.query_opt(&statement, &[&zone.as_str()]).await?;
    let fence = match row {
        None => None,
        Some(row) => {
            let (epoch, nonce): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            let epoch = u32::try_from(epoch).map_err(corrupt("an epoch"))?;
            Some((Epoch(epoch), Nonce(nonce.cast_unsigned())))
        }
    };
    Ok(check_reader(fence, reader)?)
}

pub(super) async fn part(
    transaction: &Transaction<'_>,
    zone: &ZoneName,
    reader: Option<Grant>,
    mark: CommitMark,
    index: u32,
) -> Step<Option<Bytes>> {
    check(transaction, zone, reader).await?;
    let statement = transaction.prepare_cached(fixed::PART).await?;
    let (epoch, number) = (i64::from(mark.position.epoch.0), mark.number.cast_signed());
    let row = transaction
        .query_opt(&statement, &[&zone.as_str(), &epoch, &number, &i64::from(index)])
        .await?;
    let Some(row) = row else { return Ok(None) };
    let kept: &[u8] = row.try_get(0)?;
    let what = || format!("part {index} of the blob of {zone} at tick {}", mark.position.tick);
    Ok(Some(verified(kept, row.try_get(1)?, what)?))
}

fn character(row: &Row, schema: &ArchiveSchema) -> Result<RawCharacter, tokio_postgres::Error> {
    let columns = schema.columns().iter().zip(OWN_COLUMNS..).map(|(column, at)| {
        Ok(match column.kind {
            ColumnKind::Integer => ColumnValue::Integer(row.try_get(at)?),
            ColumnKind::Real => ColumnValue::Real(row.try_get(at)?),
            ColumnKind::Text => ColumnValue::Text(row.try_get(at)?),
            ColumnKind::Bool => ColumnValue::Bool(row.try_get(at)?),
        })
    });
    let generation: Option<i64> = row.try_get(9)?;
    let payload = generation.map(|generation| {
        Ok::<_, tokio_postgres::Error>(RawPayload {
            generation,
            checksum: row.try_get(10)?,
            bytes: row.try_get(11)?,
        })
    });
    Ok(RawCharacter {
        account: row.try_get(0)?,
        generation: row.try_get(1)?,
        is_deleted: row.try_get(2)?,
        zone: row.try_get(3)?,
        epoch: row.try_get(4)?,
        tick: row.try_get(5)?,
        wall_ms: row.try_get(6)?,
        payload_bytes: row.try_get(7)?,
        name: row.try_get(8)?,
        payload: payload.transpose()?,
        columns: columns.collect::<Result<_, tokio_postgres::Error>>()?,
    })
}

fn accounts_of(rows: &[Row], schema: &ArchiveSchema) -> Step<Vec<ArchivedAccount>> {
    rows.iter().map(|row| Ok(character(row, schema)?.checked()?)).collect()
}

/// Reads an account inside a transaction, and locks its row.
pub(super) async fn account_locked(
    transaction: &Transaction<'_>,
    terms: &DeclaredTerms,
    account: Account,
) -> Step<Option<ArchivedAccount>> {
    let sql = format!("{} FOR UPDATE OF c", terms.statements.account);
    let statement = transaction.prepare_cached(&sql).await?;
    let rows = transaction.query(&statement, &[&account.0.cast_signed()]).await?;
    Ok(accounts_of(&rows, &terms.schema)?.pop())
}

pub(super) async fn account_or_none(
    client: &Client,
    terms: &DeclaredTerms,
    account: Account,
    identity: ArchiveIdentity,
) -> Step<Option<ArchivedAccount>> {
    let statement = client.prepare_cached(&terms.statements.account).await?;
    let rows = client.query(&statement, &[&account.0.cast_signed()]).await?;
    if rows.is_empty() {
        confirm(client, identity).await?;
    }
    Ok(accounts_of(&rows, &terms.schema)?.pop())
}

pub(super) async fn accounts(
    client: &Client,
    terms: &DeclaredTerms,
    (home, after, rows): (Option<ZoneName>, Option<Account>, u32),
    identity: ArchiveIdentity,
) -> Step<Vec<ArchivedAccount>> {
    let Some(from) = account_from(after) else {
        return Ok(Vec::new());
    };
    let rows = i64::from(rows.min(ARCHIVE_PAGE_ROWS_MAX));
    let found = match home {
        None => {
            let statement = client.prepare_cached(&terms.statements.accounts).await?;
            client.query(&statement, &[&from, &rows]).await?
        }
        Some(home) => {
            let statement = client.prepare_cached(&terms.statements.accounts_in_zone).await?;
            client.query(&statement, &[&from, &rows, &home.as_str()]).await?
        }
    };
    if found.is_empty() {
        confirm(client, identity).await?;
    }
    accounts_of(&found, &terms.schema)
}

pub(super) async fn accounts_since(
    client: &Client,
    terms: &DeclaredTerms,
    (home, since): (ZoneName, DataStamp),
    (after, rows): (Option<Account>, u32),
    identity: ArchiveIdentity,
) -> Step<Vec<ArchivedAccount>> {
    let Some(from) = account_from(after) else {
        return Ok(Vec::new());
    };
    let rows = i64::from(rows.min(ARCHIVE_PAGE_ROWS_MAX));
    let (epoch, tick) = (i64::from(since.epoch.0), since.tick.0.cast_signed());
    let statement = client.prepare_cached(&terms.statements.accounts_since).await?;
    let found = client
        .query(&statement, &[&from, &rows, &home.as_str(), &epoch, &tick])
        .await?;
    if found.is_empty() {
        confirm(client, identity).await?;
    }
    accounts_of(&found, &terms.schema)
}

pub(super) async fn belongings(client: &Client, terms: &DeclaredTerms, account: Account) -> Step<Vec<Belonging>> {
    let statement = client.prepare_cached(fixed::BELONGINGS).await?;
    let rows = client.query(&statement, &[&account.0.cast_signed()]).await?;
    let mut found = Vec::new();
    for row in &rows {
        let (id, kind): (i64, &str) = (row.try_get(0)?, row.try_get(1)?);
        if let Some(kind) = terms.schema.belonging_number(kind) {
            found.push(Belonging {
                id: id.cast_unsigned(),
                kind,
                count: row.try_get(2)?,
            });
        }
    }
    Ok(found)
}

fn raw_ledger(row: &Row) -> Result<RawLedgerRow, tokio_postgres::Error> {
    Ok(RawLedgerRow {
        key: (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?),
        wall_ms: row.try_get(3)?,
        command: (row.try_get(4)?, row.try_get(5)?),
        value: row.try_get(6)?,
        thing: row.try_get(7)?,
        amount: row.try_get(8)?,
        parties: (row.try_get(9)?, row.try_get(10)?),
    })
}

pub(super) async fn ledger(
    client: &Client,
    terms: &DeclaredTerms,
    (zone, after, rows): (ZoneName, Option<LedgerKey>, u32),
    identity: ArchiveIdentity,
) -> Step<Vec<LedgerRow>> {
    let sql = format!("{} AND value = ANY($5) {} LIMIT $6", fixed::LEDGER, fixed::LEDGER_ORDER);
    let statement = client.prepare_cached(&sql).await?;
    let (tick, epoch, seq) = ledger_from(after);
    let declared: Vec<&str> = terms.schema.values().iter().map(|kind| &*kind.name).collect();
    let most = i64::from(rows.min(LEDGER_PAGE_ROWS_MAX));
    let found = client
        .query(&statement, &[&zone.as_str(), &tick, &epoch, &seq, &declared, &most])
        .await?;
    if found.is_empty() {
        confirm(client, identity).await?;
    }
    let mut ledger = Vec::with_capacity(found.len());
    for row in &found {
        ledger.extend(raw_ledger(row)?.checked(&terms.schema)?);
    }
    Ok(ledger)
}
