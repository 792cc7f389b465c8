//! Rows of a commit as PostgreSQL takes many at once: one statement for each table, with an array for each column. Rows
//! go in order of their key, so that two commits that touch the same ones wait for each other, and never both.

use std::collections::BTreeSet;

use deadpool_postgres::Transaction;
use everhold_core::durability::archive::row::name_key;
use everhold_core::durability::archive::{AuditRow, CharacterRow, ColumnValue, LedgerRow, WallMs, checksum};
use everhold_core::ownership::DataStamp;
use everhold_core::zone::archive_schema::{ArchiveSchema, ColumnKind};
use everhold_protocol::{Account, ZoneName};
use tokio_postgres::types::ToSql;

use super::DeclaredTerms;
use super::failure::Step;

/// The zone that writes characters, and the tick that it has reached; `None`: they are written outside a zone.
pub(super) type Writer<'a> = Option<(&'a ZoneName, DataStamp)>;

/// A column's values.
type Array<'a> = Box<dyn ToSql + Sync + Send + 'a>;

fn number(account: Account) -> i64 {
    account.0.cast_signed()
}

/// Gives the values of each declared column.
fn declared<'a>(schema: &ArchiveSchema, rows: &[&'a CharacterRow]) -> Vec<Array<'a>> {
    let column = |(at, column): (usize, &everhold_core::zone::archive_schema::ArchiveColumn)| -> Array<'a> {
        let values = rows.iter().map(|row| &row.columns[at]);
        // The row was checked against the schema: no value is of another kind than its column.
        match column.kind {
            ColumnKind::Integer => Box::new(values.filter_map(integer).collect::<Vec<i64>>()),
            ColumnKind::Real => Box::new(values.filter_map(real).collect::<Vec<f64>>()),
            ColumnKind::Text => Box::new(values.filter_map(text).collect::<Vec<&str>>()),
            ColumnKind::Bool => Box::new(values.filter_map(boolean).collect::<Vec<bool>>()),
        }
    };
    schema.columns().iter().enumerate().map(column).collect()
}

fn integer(value: &ColumnValue) -> Option<i64> {
    match value {
        ColumnValue::Integer(value) => Some(*value),
        _ => None,
    }
}

fn real(value: &ColumnValue) -> Option<f64> {
    match value {
        ColumnValue::Real(value) => Some(*value),
        _ => None,
    }
}

fn text(value: &ColumnValue) -> Option<&str> {
    match value {
        ColumnValue::Text(value) => Some(value),
        _ => None,
    }
}

fn boolean(value: &ColumnValue) -> Option<bool> {
    match value {
        ColumnValue::Bool(value) => Some(*value),
        _ => None,
    }
}

const fn array_type(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Integer => "bigint[]",
        ColumnKind::Real => "double precision[]",
        ColumnKind::Text => "text[]",
        ColumnKind::Bool => "boolean[]",
    }
}

/// Makes the statement that writes characters: the writing zone, epoch, tick, time, then an array for each column.
fn put_characters(terms: &DeclaredTerms) -> String {
    let columns = terms.schema.columns().iter().zip(9..);
    let arrays: String = columns
        .map(|(column, at)| format!(", ${at}::{}", array_type(column.kind)))
        .collect();
    let names: String = (0..terms.schema.columns().len()).map(|at| format!(", d{at}")).collect();
    let (into, unless_newer) = (&terms.statements.into, &terms.statements.unless_newer);
    format!(
        "INSERT INTO characters AS c {into} \
         SELECT account, generation, zone, $2::bigint, $3::bigint, $4::bigint, payload_bytes{names} \
         FROM unnest($5::bigint[], $6::bigint[], $7::text[], $8::bigint[]{arrays}) \
         AS r(account, generation, zone, payload_bytes{names}) ORDER BY account {unless_newer}"
    )
}

/// Writes characters, and returns those that were written: of the others something newer stands.
pub(super) async fn characters(
    transaction: &Transaction<'_>,
    terms: &DeclaredTerms,
    writer: Writer<'_>,
    rows: &[CharacterRow],
    wall: WallMs,
) -> Step<BTreeSet<Account>> {
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows: Vec<&CharacterRow> = rows.iter().collect();
    let accounts: Vec<i64> = rows.iter().map(|row| number(row.account)).collect();
    let generations: Vec<i64> = rows.iter().map(|row| row.generation.cast_signed()).collect();
    let zones: Vec<Option<&str>> = rows.iter().map(|row| row.place.zone().map(ZoneName::as_str)).collect();
    let lengths = rows
        .iter()
        .map(|row| row.payload.as_ref().map(|payload| payload.len() as i64));
    let lengths: Vec<Option<i64>> = lengths.collect();
    let zone = writer.map(|(zone, _)| zone.as_str());
    let epoch = writer.map(|(_, stamp)| i64::from(stamp.epoch.0));
    let tick = writer.map(|(_, stamp)| stamp.tick.0.cast_signed());
    let declared = declared(&terms.schema, &rows);
    let own: [&(dyn ToSql + Sync); 8] = [&zone, &epoch, &tick, &wall.0, &accounts, &generations, &zones, &lengths];
    let mut values = own.to_vec();
    values.extend(declared.iter().map(|array| &**array as &(dyn ToSql + Sync)));
    let statement = transaction.prepare_cached(&put_characters(terms)).await?;
    let written = transaction.query(&statement, &values).await?;
    let account = |row: &tokio_postgres::Row| Ok(Account(row.try_get::<_, i64>(0)?.cast_unsigned()));
    written.iter().map(account).collect()
}

/// Writes the payloads of these characters. That of a character that a zone has is left: should the zone's history be
/// lost, it is the last that there is of it.
pub(super) async fn payloads(transaction: &Transaction<'_>, rows: &[&CharacterRow]) -> Step<()> {
    let with: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row, row.payload.as_ref()?)))
        .collect();
    if !with.is_empty() {
        let accounts: Vec<i64> = with.iter().map(|(row, _)| number(row.account)).collect();
        let generations: Vec<i64> = with.iter().map(|(row, _)| row.generation.cast_signed()).collect();
        let checksums: Vec<Vec<u8>> = with.iter().map(|(_, payload)| checksum(payload).to_vec()).collect();
        let payloads: Vec<&[u8]> = with.iter().map(|(_, payload)| &payload[..]).collect();
        let statement = transaction
            .prepare_cached(
                "INSERT INTO payloads (account, generation, checksum, bytes) \
                 SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[]) ORDER BY 1 \
                 ON CONFLICT (account) DO UPDATE SET generation = excluded.generation, \
                 checksum = excluded.checksum, bytes = excluded.bytes",
            )
            .await?;
        let values: [&(dyn ToSql + Sync); 4] = [&accounts, &generations, &checksums, &payloads];
        transaction.execute(&statement, &values).await?;
    }
    Ok(())
}

/// Replaces the belongings of those characters that have any, and writes only what differs.
pub(super) async fn belongings(
    transaction: &Transaction<'_>,
    schema: &ArchiveSchema,
    rows: &[&CharacterRow],
) -> Step<()> {
    let rows: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((number(row.account), row.belongings.as_ref()?)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let owners: Vec<i64> = rows.iter().map(|(account, _)| *account).collect();
    let all: Vec<_> = rows
        .iter()
        .flat_map(|(account, belongings)| belongings.iter().map(move |belonging| (*account, belonging)))
        .collect();
    let accounts: Vec<i64> = all.iter().map(|(account, _)| *account).collect();
    let ids: Vec<i64> = all.iter().map(|(_, belonging)| belonging.id.cast_signed()).collect();
    let kind = |kind: u32| schema.belongings()[kind as usize].name.as_str();
    let kinds: Vec<&str> = all.iter().map(|(_, belonging)| kind(belonging.kind)).collect();
    let counts: Vec<i64> = all.iter().map(|(_, belonging)| belonging.count).collect();
    let statement = transaction
        .prepare_cached(
            "DELETE FROM belongings b WHERE b.account = ANY($1) AND NOT EXISTS \
             (SELECT 1 FROM unnest($2::bigint[], $3::bigint[]) AS k(account, id) \
              WHERE k.account = b.account AND k.id = b.id)",
        )
        .await?;
    transaction.execute(&statement, &[&owners, &accounts, &ids]).await?;
    if all.is_empty() {
        return Ok(());
    }
    let statement = transaction
        .prepare_cached(
            "INSERT INTO belongings AS b (account, id, kind, count) \
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[]) ORDER BY 1, 2 \
             ON CONFLICT (account, id) DO UPDATE SET kind = excluded.kind, count = excluded.count \
             WHERE (b.kind, b.count) IS DISTINCT FROM (excluded.kind, excluded.count)",
        )
        .await?;
    let values: [&(dyn ToSql + Sync); 4] = [&accounts, &ids, &kinds, &counts];
    transaction.execute(&statement, &values).await?;
    Ok(())
}

/// Gives these characters their new names, and returns those whose name another account has.
pub(super) async fn names(transaction: &Transaction<'_>, rows: &[&CharacterRow]) -> Step<BTreeSet<Account>> {
    let named: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((number(row.account), row.name.as_ref()?)))
        .collect();
    if named.is_empty() {
        return Ok(BTreeSet::new());
    }
    let accounts: Vec<i64> = named.iter().map(|(account, _)| *account).collect();
    let keys: Vec<String> = named.iter().map(|(_, name)| name_key(name)).collect();
    let names: Vec<&str> = named.iter().map(|(_, name)| name.as_str()).collect();
    let statement = transaction
        .prepare_cached(
            "INSERT INTO names AS n (name_key, name, account) \
             SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]) AS r(name_key, name, account) \
             ORDER BY r.name_key COLLATE \"C\" \
             ON CONFLICT (name_key) DO UPDATE SET name = excluded.name WHERE n.account = excluded.account \
             RETURNING account",
        )
        .await?;
    let given = transaction.query(&statement, &[&keys, &names, &accounts]).await?;
    let given = given.iter().map(|row| row.try_get(0));
    let given = given.collect::<Result<BTreeSet<i64>, tokio_postgres::Error>>()?;
    let statement = transaction
        .prepare_cached(
            "DELETE FROM names n USING unnest($1::bigint[], $2::text[]) AS r(account, name_key) \
             WHERE n.account = r.account AND n.name_key <> r.name_key AND r.account = ANY($3)",
        )
        .await?;
    let renamed: Vec<i64> = given.iter().copied().collect();
    transaction.execute(&statement, &[&accounts, &keys, &renamed]).await?;
    let taken = accounts.into_iter().filter(|account| !given.contains(account));
    Ok(taken.map(|account| Account(account.cast_unsigned())).collect())
}

/// Writes the ledger.
pub(super) async fn ledger(
    transaction: &Transaction<'_>,
    schema: &ArchiveSchema,
    zone: &ZoneName,
    rows: &[LedgerRow],
) -> Step<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let numbers = |value: fn(&LedgerRow) -> i64| rows.iter().map(value).collect::<Vec<i64>>();
    let maybe = |value: fn(&LedgerRow) -> Option<i64>| rows.iter().map(value).collect::<Vec<Option<i64>>>();
    let values: Vec<&str> = rows
        .iter()
        .map(|row| &*schema.values()[row.value as usize].name)
        .collect();
    let arrays: [Array<'_>; 10] = [
        Box::new(numbers(|row| row.stamp.tick.0.cast_signed())),
        Box::new(numbers(|row| row.stamp.epoch.0.into())),
        Box::new(numbers(|row| row.seq.into())),
        Box::new(numbers(|row| row.wall.0)),
        Box::new(maybe(|row| row.command.map(|(session, _)| session.0.cast_signed()))),
        Box::new(maybe(|row| row.command.map(|(_, command)| command.cast_signed()))),
        Box::new(maybe(|row| row.thing.map(u64::cast_signed))),
        Box::new(numbers(|row| row.amount)),
        Box::new(maybe(|row| row.from.map(number))),
        Box::new(maybe(|row| row.to.map(number))),
    ];
    let zone = zone.as_str();
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&zone, &values];
    parameters.extend(arrays.iter().map(|array| &**array as &(dyn ToSql + Sync)));
    let statement = transaction
        .prepare_cached(
            "INSERT INTO ledger \
             (zone, value, tick, epoch, seq, wall_ms, session, command, thing, amount, giver, taker) \
             SELECT $1::text, r.* FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], \
             $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[]) AS r \
             ON CONFLICT DO NOTHING",
        )
        .await?;
    transaction.execute(&statement, &parameters).await?;
    Ok(())
}

/// Writes audit rows of a zone.
pub(super) async fn audit(transaction: &Transaction<'_>, zone: &ZoneName, rows: &[AuditRow]) -> Step<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let stamps = rows.iter().map(|row| row.stamp);
    let ticks: Vec<Option<i64>> = stamps.clone().map(|stamp| Some(stamp?.tick.0.cast_signed())).collect();
    let epochs: Vec<Option<i64>> = stamps.map(|stamp| Some(stamp?.epoch.0.into())).collect();
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq.into()).collect();
    let walls: Vec<i64> = rows.iter().map(|row| row.wall.0).collect();
    let events: Vec<&str> = rows.iter().map(|row| row.event.as_str()).collect();
    let accounts: Vec<Option<i64>> = rows.iter().map(|row| row.account.map(number)).collect();
    let details: Vec<&str> = rows.iter().map(|row| row.detail.as_str()).collect();
    let statement = transaction
        .prepare_cached(
            "INSERT INTO audit (zone, tick, epoch, seq, wall_ms, event, account, detail) \
             SELECT $1::text, r.* FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], \
             $7::bigint[], $8::text[]) AS r ON CONFLICT DO NOTHING",
        )
        .await?;
    let zone = zone.as_str();
    let values: [&(dyn ToSql + Sync); 8] = [&zone, &ticks, &epochs, &seqs, &walls, &events, &accounts, &details];
    transaction.execute(&statement, &values).await?;
    Ok(())
}
