//! Appending to a zone's journal: what is a repeat, what a gap, what a fork.

use bytes::Bytes;
use everhold_core::durability::store::{AppendAnswer, RecordHash, StoredRecord, assert_consecutive};
use everhold_core::ownership::{DataStamp, Grant};
use everhold_protocol::{Epoch, Tick};
use rusqlite::{OptionalExtension, Row, Transaction};

use super::row::{StepResult, hash};

/// The predecessor of the first record to be written.
enum Predecessor {
    /// The record that it names.
    Right,
    /// Nothing, or something of a lower epoch that is to be written over as well.
    Missing { last: Tick },
    /// Another record of this epoch.
    Wrong,
}

pub(super) fn append(file: &Transaction<'_>, grant: Grant, records: &[StoredRecord]) -> StepResult<AppendAnswer> {
    assert_consecutive(records);
    let rest = skip_stored(file, records)?;
    let Some(first) = rest.first() else {
        return Ok(AppendAnswer::Duplicate);
    };
    if let Some(tick) = first_of_epoch(file, first.tick, grant)? {
        return Ok(AppendAnswer::Fork { tick });
    }
    match predecessor(file, first, grant)? {
        Predecessor::Right => {}
        Predecessor::Missing { last } => return Ok(AppendAnswer::Gap { last }),
        Predecessor::Wrong => return Ok(AppendAnswer::Fork { tick: first.tick - 1 }),
    }
    if let Some(last) = head_tick(file)?.filter(|head| first.tick <= *head)
        && stored(file, first.tick)?.is_some()
    {
        // A checkpoint covers what would be written over; only a base could take that back.
        return Ok(AppendAnswer::Gap { last });
    }
    file.prepare_cached("DELETE FROM record WHERE tick >= ?1")?
        .execute([first.tick.0.cast_signed()])?;
    let mut insert =
        file.prepare_cached("INSERT INTO record (tick, epoch, prev_hash, hash, body) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for record in rest {
        insert.execute((
            record.tick.0.cast_signed(),
            grant.epoch().0,
            record.prev_hash.0,
            record.hash.0,
            &record.body[..],
        ))?;
    }
    Ok(AppendAnswer::Ok)
}

/// Returns the epoch that wrote the last record, and its tick.
pub(super) fn newest(file: &Transaction<'_>) -> StepResult<Option<DataStamp>> {
    let mut statement = file.prepare_cached("SELECT epoch, tick FROM record ORDER BY tick DESC LIMIT 1")?;
    let newest = statement.query_row([], |row| {
        let tick = row.get::<_, i64>(1)?.cast_unsigned();
        Ok(DataStamp {
            epoch: Epoch(row.get(0)?),
            tick: Tick(tick),
        })
    });
    Ok(newest.optional()?)
}

/// Reads the records of these ticks, as far as they are there.
pub(super) fn read(file: &Transaction<'_>, from: Tick, ticks: u32) -> StepResult<Vec<StoredRecord>> {
    let mut statement = file.prepare_cached(
        "SELECT tick, prev_hash, hash, body FROM record WHERE tick >= ?1 AND tick < ?2 ORDER BY tick",
    )?;
    let end = from + u64::from(ticks);
    let records = statement.query_map((from.0.cast_signed(), end.0.cast_signed()), read_record)?;
    Ok(records.collect::<Result<_, _>>()?)
}

/// Deletes the records after a tick that another epoch wrote.
pub(super) fn rewind(file: &Transaction<'_>, epoch: Epoch, last: Tick) -> StepResult<()> {
    file.prepare_cached("DELETE FROM record WHERE tick > ?1 AND epoch != ?2")?
        .execute((last.0.cast_signed(), epoch.0))?;
    Ok(())
}

/// Reads a record.
pub(super) fn read_record(row: &Row<'_>) -> rusqlite::Result<StoredRecord> {
    Ok(StoredRecord {
        tick: Tick(row.get::<_, i64>(0)?.cast_unsigned()),
        prev_hash: hash(row, 1)?,
        hash: hash(row, 2)?,
        body: Bytes::from(row.get::<_, Vec<u8>>(3)?),
    })
}

/// Returns the records that are left after those that are stored already.
fn skip_stored<'a>(file: &Transaction<'_>, records: &'a [StoredRecord]) -> StepResult<&'a [StoredRecord]> {
    let mut rest = records;
    while let Some((first, others)) = rest.split_first() {
        if stored(file, first.tick)?.is_none_or(|(_, hash)| hash != first.hash) {
            break;
        }
        rest = others;
    }
    Ok(rest)
}

/// Finds the first record at or after `tick` that this epoch wrote.
fn first_of_epoch(file: &Transaction<'_>, tick: Tick, grant: Grant) -> StepResult<Option<Tick>> {
    let mut statement =
        file.prepare_cached("SELECT tick FROM record WHERE tick >= ?1 AND epoch >= ?2 ORDER BY tick LIMIT 1")?;
    let found: Option<i64> = statement
        .query_row((tick.0.cast_signed(), grant.epoch().0), |row| row.get(0))
        .optional()?;
    Ok(found.map(i64::cast_unsigned).map(Tick))
}

fn predecessor(file: &Transaction<'_>, first: &StoredRecord, grant: Grant) -> StepResult<Predecessor> {
    let Some(before) = first.tick.0.checked_sub(1).map(Tick) else {
        return Ok(Predecessor::Missing { last: Tick(0) });
    };
    let head = head_tick(file)?;
    if before == Tick(0) && first.prev_hash == RecordHash::GENESIS && head.is_none() {
        return Ok(Predecessor::Right);
    }
    if is_checkpoint(file, before, first.prev_hash)? {
        return Ok(Predecessor::Right);
    }
    Ok(match stored(file, before)? {
        Some((_, hash)) if hash == first.prev_hash => Predecessor::Right,
        Some((epoch, _)) if epoch < grant.epoch() => Predecessor::Missing {
            last: Tick(before.0.saturating_sub(1)),
        },
        Some(_) => Predecessor::Wrong,
        None => Predecessor::Missing {
            last: last_tick(file)?.max(head).unwrap_or(Tick(0)),
        },
    })
}

/// Reads epoch and hash of the record of a tick.
fn stored(file: &Transaction<'_>, tick: Tick) -> StepResult<Option<(Epoch, RecordHash)>> {
    let mut statement = file.prepare_cached("SELECT epoch, hash FROM record WHERE tick = ?1")?;
    Ok(statement
        .query_row([tick.0.cast_signed()], |row| Ok((Epoch(row.get(0)?), hash(row, 1)?)))
        .optional()?)
}

fn is_checkpoint(file: &Transaction<'_>, tick: Tick, hash: RecordHash) -> StepResult<bool> {
    Ok(file
        .prepare_cached("SELECT 1 FROM checkpoint WHERE tick = ?1 AND hash = ?2")?
        .exists((tick.0.cast_signed(), hash.0))?)
}

/// Reads the first and the last tick.
pub(super) fn ends(file: &Transaction<'_>) -> StepResult<Option<(Tick, Tick)>> {
    let mut statement = file.prepare_cached("SELECT min(tick), max(tick) FROM record")?;
    let ends: (Option<i64>, Option<i64>) = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let tick = |tick: i64| Tick(tick.cast_unsigned());
    Ok(ends.0.map(tick).zip(ends.1.map(tick)))
}

fn last_tick(file: &Transaction<'_>) -> StepResult<Option<Tick>> {
    let last: Option<i64> = file
        .prepare_cached("SELECT max(tick) FROM record")?
        .query_row([], |row| row.get(0))?;
    Ok(last.map(i64::cast_unsigned).map(Tick))
}

fn head_tick(file: &Transaction<'_>) -> StepResult<Option<Tick>> {
    let head: Option<i64> = file
        .prepare_cached("SELECT tick FROM checkpoint ORDER BY ord DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(head.map(i64::cast_unsigned).map(Tick))
}
