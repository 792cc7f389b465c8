//! Checkpoints in a zone's file: parts first, then the head's move, which is one transaction with everything that
//! follows from it.

use bytes::Bytes;
use everhold_core::durability::store::{CheckpointHead, CheckpointKind, PartKey, Position, StoreError, StoredRecord};
use everhold_core::ownership::Grant;
use everhold_protocol::{Epoch, Tick};
use rusqlite::{OptionalExtension, Row, Transaction};

use super::file::Rollback;
use super::row::{StepResult, hash};

/// A checkpoint that is or was the head, and its place in the order.
struct Stored {
    ord: i64,
    head: CheckpointHead,
}

pub(super) fn put_part(file: &Transaction<'_>, position: Position, index: u32, bytes: &[u8]) -> StepResult<()> {
    // A repeat that comes late, or a second capture of the same tick: the checkpoint there is complete and stays as it
    // is.
    if find(file, position)?.is_some() {
        return Ok(());
    }
    file.prepare_cached("INSERT OR REPLACE INTO part (tick, epoch, hash, idx, bytes) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((
            position.tick.0.cast_signed(),
            position.epoch.0,
            position.hash.0,
            index,
            bytes,
        ))?;
    Ok(())
}

/// Deletes the first parts at a position, but those of a checkpoint that is complete.
pub(super) fn drop_parts(file: &Transaction<'_>, position: Position, parts: u32) -> StepResult<()> {
    if find(file, position)?.is_none() {
        file.prepare_cached("DELETE FROM part WHERE tick = ?1 AND epoch = ?2 AND hash = ?3 AND idx < ?4")?
            .execute((position.tick.0.cast_signed(), position.epoch.0, position.hash.0, parts))?;
    }
    Ok(())
}

pub(super) fn move_head(file: &Transaction<'_>, grant: Grant, head: CheckpointHead) -> StepResult<()> {
    if find(file, head.position)?.is_some() {
        return Ok(());
    }
    check_order(file, head)?;
    check_parts(file, head)?;
    drop_other_history(file, grant, head.position)?;
    let previous_base = newest_base(file)?;
    let is_base = head.kind == CheckpointKind::Base;
    file.prepare_cached(
        "INSERT INTO checkpoint (epoch, tick, hash, is_base, parts, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        head.position.epoch.0,
        head.position.tick.0.cast_signed(),
        head.position.hash.0,
        is_base,
        head.parts,
        head.bytes.cast_signed(),
    ))?;
    if is_base {
        trim(file, previous_base, head.position.tick)?;
    }
    Ok(())
}

/// Reads the checkpoints from the previous base on, in order.
pub(super) fn chain(file: &Transaction<'_>) -> StepResult<Vec<CheckpointHead>> {
    let mut statement =
        file.prepare_cached("SELECT ord, epoch, tick, hash, is_base, parts, bytes FROM checkpoint ORDER BY ord")?;
    let stored = statement.query_map([], read_stored)?.collect::<Result<Vec<_>, _>>()?;
    let mut chain: Vec<CheckpointHead> = stored.into_iter().map(|stored| stored.head).collect();
    for index in 1..chain.len() {
        if chain[index].kind != CheckpointKind::Base {
            chain[index].kind = CheckpointKind::Delta {
                parent: chain[index - 1].position,
            };
        }
    }
    Ok(chain)
}

/// Reads parts of bodies, in the order in which they are asked for.
pub(super) fn read_parts(file: &Transaction<'_>, parts: &[PartKey]) -> StepResult<Vec<Option<Bytes>>> {
    let mut statement =
        file.prepare_cached("SELECT bytes FROM part WHERE tick = ?1 AND epoch = ?2 AND hash = ?3 AND idx = ?4")?;
    let mut read = Vec::with_capacity(parts.len());
    for (position, index) in parts {
        let key = (position.tick.0.cast_signed(), position.epoch.0, position.hash.0, index);
        let bytes: Option<Vec<u8>> = statement.query_row(key, |row| row.get(0)).optional()?;
        read.push(bytes.map(Bytes::from));
    }
    Ok(read)
}

/// Deletes the checkpoints after `head`, and all parts of what is no checkpoint then, but for what this epoch wrote.
pub(super) fn rewind(file: &Transaction<'_>, epoch: Epoch, head: Option<Position>) -> StepResult<()> {
    let last = match head {
        Some(head) => find(file, head)?.unwrap_or(i64::MAX),
        None => i64::MIN,
    };
    file.prepare_cached("DELETE FROM checkpoint WHERE ord > ?1 AND epoch != ?2")?
        .execute((last, epoch.0))?;
    file.prepare_cached(
        "DELETE FROM part WHERE epoch != ?1 AND NOT EXISTS (SELECT 1 FROM checkpoint
            WHERE checkpoint.tick = part.tick AND checkpoint.epoch = part.epoch AND checkpoint.hash = part.hash)",
    )?
    .execute([epoch.0])?;
    Ok(())
}

/// Checks that a delta builds on the head, or that a base is newer than it.
fn check_order(file: &Transaction<'_>, head: CheckpointHead) -> StepResult<()> {
    let current = newest(file)?.map(|stored| stored.head.position);
    let fits = match head.kind {
        CheckpointKind::Delta { parent } => current == Some(parent) && head.position.tick > parent.tick,
        CheckpointKind::Base => {
            current.is_none_or(|current| (head.position.epoch, head.position.tick) > (current.epoch, current.tick))
        }
    };
    if fits {
        Ok(())
    } else {
        Err(Rollback::Refused(StoreError::ParentMoved))
    }
}

/// Checks that all parts are there, and removes others: an earlier attempt at the same position may have had more.
fn check_parts(file: &Transaction<'_>, head: CheckpointHead) -> StepResult<()> {
    let key = (
        head.position.tick.0.cast_signed(),
        head.position.epoch.0,
        head.position.hash.0,
        head.parts,
    );
    file.prepare_cached("DELETE FROM part WHERE tick = ?1 AND epoch = ?2 AND hash = ?3 AND idx >= ?4")?
        .execute(key)?;
    let mut statement = file.prepare_cached(
        "SELECT count(*), coalesce(sum(length(bytes)), 0) FROM part WHERE tick = ?1 AND epoch = ?2 AND hash = ?3",
    )?;
    let found: (u32, i64) = statement.query_row((key.0, key.1, key.2), |row| Ok((row.get(0)?, row.get(1)?)))?;
    if found == (head.parts, head.bytes.cast_signed()) {
        return Ok(());
    }
    corrupt(format!(
        "{} of {} parts, {} of {} bytes of the checkpoint of tick {} were written",
        found.0, head.parts, found.1, head.bytes, head.position.tick
    ))
}

/// Drops records of a lower epoch that do not lead to a new head or follow from it: a head that a higher epoch moves is
/// the truth.
fn drop_other_history(file: &Transaction<'_>, grant: Grant, position: Position) -> StepResult<()> {
    let mut statement =
        file.prepare_cached("SELECT tick, prev_hash, hash, body FROM record WHERE tick >= ?1 ORDER BY tick LIMIT 2")?;
    let near = statement.query_map([position.tick.0.cast_signed()], super::journal::read_record)?;
    let near = near.collect::<Result<Vec<_>, _>>()?;
    let follows = |record: &StoredRecord| record.tick == position.tick.next() && record.prev_hash == position.hash;
    let fits = match &near[..] {
        [] => true,
        [first, rest @ ..] if first.tick == position.tick => {
            first.hash == position.hash && rest.first().is_none_or(follows)
        }
        [first, ..] => follows(first),
    };
    if fits {
        return Ok(());
    }
    let of_epoch = file
        .prepare_cached("SELECT 1 FROM record WHERE tick >= ?1 AND epoch >= ?2")?
        .exists((position.tick.0.cast_signed(), grant.epoch().0))?;
    if of_epoch {
        return corrupt(format!("this epoch has another record at tick {}", position.tick));
    }
    file.prepare_cached("DELETE FROM record WHERE tick >= ?1")?
        .execute([position.tick.0.cast_signed()])?;
    Ok(())
}

/// Deletes what a new base makes superfluous: the base before the previous one, and all journal up to the previous one.
fn trim(file: &Transaction<'_>, previous_base: Option<Stored>, base_tick: Tick) -> StepResult<()> {
    if let Some(previous) = previous_base {
        file.prepare_cached("DELETE FROM record WHERE tick <= ?1")?
            .execute([previous.head.position.tick.0.cast_signed()])?;
        file.prepare_cached("DELETE FROM checkpoint WHERE ord < ?1")?
            .execute([previous.ord])?;
    }
    file.prepare_cached(
        "DELETE FROM part WHERE NOT EXISTS (SELECT 1 FROM checkpoint
            WHERE checkpoint.tick = part.tick AND checkpoint.epoch = part.epoch AND checkpoint.hash = part.hash)",
    )?
    .execute([])?;
    file.prepare_cached("DELETE FROM quarantine WHERE tick <= ?1")?
        .execute([base_tick.0.cast_signed()])?;
    Ok(())
}

fn find(file: &Transaction<'_>, position: Position) -> StepResult<Option<i64>> {
    let mut statement =
        file.prepare_cached("SELECT ord FROM checkpoint WHERE tick = ?1 AND epoch = ?2 AND hash = ?3")?;
    let key = (position.tick.0.cast_signed(), position.epoch.0, position.hash.0);
    Ok(statement.query_row(key, |row| row.get(0)).optional()?)
}

fn newest(file: &Transaction<'_>) -> StepResult<Option<Stored>> {
    Ok(file
        .prepare_cached(
            "SELECT ord, epoch, tick, hash, is_base, parts, bytes FROM checkpoint ORDER BY ord DESC LIMIT 1",
        )?
        .query_row([], read_stored)
        .optional()?)
}

fn newest_base(file: &Transaction<'_>) -> StepResult<Option<Stored>> {
    Ok(file
        .prepare_cached(
            "SELECT ord, epoch, tick, hash, is_base, parts, bytes FROM checkpoint
             WHERE is_base = 1 ORDER BY ord DESC LIMIT 1",
        )?
        .query_row([], read_stored)
        .optional()?)
}

/// Reads a row. The parent of a delta is the row before it; [`chain`] fills it in.
fn read_stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let position = Position {
        epoch: Epoch(row.get(1)?),
        tick: Tick(row.get::<_, i64>(2)?.cast_unsigned()),
        hash: hash(row, 3)?,
    };
    let is_base: bool = row.get(4)?;
    let kind = if is_base {
        CheckpointKind::Base
    } else {
        CheckpointKind::Delta {
            parent: Position::GENESIS,
        }
    };
    let head = CheckpointHead {
        position,
        kind,
        parts: row.get(5)?,
        bytes: row.get::<_, i64>(6)?.cast_unsigned(),
    };
    Ok(Stored { ord: row.get(0)?, head })
}

fn corrupt<T>(what: String) -> StepResult<T> {
    Err(Rollback::Refused(StoreError::Corrupt(what)))
}
