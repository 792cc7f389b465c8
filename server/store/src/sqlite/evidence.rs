//! Evidence in a zone's file, in tables of its own: they are made when there is any, so that a file without evidence
//! is read by every build of its version.

use bytes::Bytes;
use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceFate, EvidenceMark, EvidenceWhy, StoredEvidence};
use everhold_core::durability::store::StoreError;
use everhold_protocol::{Epoch, Tick};
use rusqlite::{OptionalExtension, Transaction};

use super::file::Rollback;
use super::row::StepResult;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS evidence_part (idx INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS evidence (
        id INTEGER PRIMARY KEY CHECK (id = 0), epoch INTEGER NOT NULL, tick INTEGER NOT NULL, why INTEGER NOT NULL,
        parts INTEGER NOT NULL, bytes INTEGER NOT NULL, is_exported INTEGER NOT NULL, later INTEGER NOT NULL,
        counted_epoch INTEGER NOT NULL
    ) STRICT;
";

pub(super) fn put(file: &Transaction<'_>, index: u32, bytes: &[u8]) -> StepResult<EvidenceAnswer> {
    file.execute_batch(TABLES)?;
    if read(file)?.is_some() {
        return Ok(EvidenceAnswer::Counted);
    }
    if index == 0 {
        file.execute("DELETE FROM evidence_part", [])?;
    }
    file.prepare_cached("INSERT OR REPLACE INTO evidence_part (idx, bytes) VALUES (?1, ?2)")?
        .execute((index, bytes))?;
    Ok(EvidenceAnswer::Kept)
}

pub(super) fn seal(file: &Transaction<'_>, mark: EvidenceMark) -> StepResult<EvidenceAnswer> {
    file.execute_batch(TABLES)?;
    if let Some(kept) = read(file)? {
        if (kept.mark.epoch, kept.mark.tick) == (mark.epoch, mark.tick) {
            return Ok(EvidenceAnswer::Kept);
        }
        file.prepare_cached("UPDATE evidence SET later = later + 1, counted_epoch = ?1 WHERE counted_epoch < ?1")?
            .execute([mark.epoch.0])?;
        return Ok(EvidenceAnswer::Counted);
    }
    file.prepare_cached("DELETE FROM evidence_part WHERE idx >= ?1")?
        .execute([mark.parts])?;
    let mut statement = file.prepare_cached("SELECT count(*), coalesce(sum(length(bytes)), 0) FROM evidence_part")?;
    let found: (u32, i64) = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if found != (mark.parts, mark.bytes.cast_signed()) {
        let (parts, bytes) = found;
        return Err(Rollback::Refused(StoreError::Corrupt(format!(
            "{parts} of {} parts, {bytes} of {} bytes of the evidence were written",
            mark.parts, mark.bytes
        ))));
    }
    file.prepare_cached(
        "INSERT INTO evidence (id, epoch, tick, why, parts, bytes, is_exported, later, counted_epoch)
            VALUES (0, ?1, ?2, ?3, ?4, ?5, 0, 0, ?1)",
    )?
    .execute((
        mark.epoch.0,
        mark.tick.0.cast_signed(),
        mark.why.tag(),
        mark.parts,
        mark.bytes.cast_signed(),
    ))?;
    Ok(EvidenceAnswer::Kept)
}

/// Deletes the parts of what is not sealed. A mark is not looked into: one that cannot be read is no obstacle.
pub(super) fn drop_parts(file: &Transaction<'_>) -> StepResult<()> {
    if has_tables(file)? {
        file.prepare_cached("DELETE FROM evidence_part WHERE NOT EXISTS (SELECT 1 FROM evidence)")?
            .execute([])?;
    }
    Ok(())
}

/// Deletes everything, whatever it is.
pub(super) fn discard(file: &Transaction<'_>) -> StepResult<()> {
    if has_tables(file)? {
        file.execute("DELETE FROM evidence", [])?;
        file.execute("DELETE FROM evidence_part", [])?;
    }
    Ok(())
}

pub(super) fn read(file: &Transaction<'_>) -> StepResult<Option<StoredEvidence>> {
    if !has_tables(file)? {
        return Ok(None);
    }
    let mut statement =
        file.prepare_cached("SELECT epoch, tick, why, parts, bytes, is_exported, later FROM evidence")?;
    let row = statement.query_row([], |row| {
        let why: u8 = row.get(2)?;
        let mark = EvidenceMark {
            epoch: Epoch(row.get(0)?),
            tick: Tick(row.get::<_, i64>(1)?.cast_unsigned()),
            why: EvidenceWhy::from_tag(why).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, i64::from(why)))?,
            parts: row.get(3)?,
            bytes: row.get::<_, i64>(4)?.cast_unsigned(),
        };
        Ok(StoredEvidence {
            mark,
            is_exported: row.get(5)?,
            later: row.get::<_, i64>(6)?.cast_unsigned(),
        })
    });
    Ok(row.optional()?)
}

pub(super) fn read_part(file: &Transaction<'_>, index: u32) -> StepResult<Option<Bytes>> {
    if read(file)?.is_none() {
        return Ok(None);
    }
    let mut statement = file.prepare_cached("SELECT bytes FROM evidence_part WHERE idx = ?1")?;
    let bytes: Option<Vec<u8>> = statement.query_row([index], |row| row.get(0)).optional()?;
    Ok(bytes.map(Bytes::from))
}

/// Returns whether there is evidence of this mark.
pub(super) fn settle(file: &Transaction<'_>, mark: EvidenceMark, fate: EvidenceFate) -> StepResult<bool> {
    if read(file)?.is_none_or(|kept| kept.mark != mark) {
        return Ok(false);
    }
    match fate {
        EvidenceFate::Exported => _ = file.execute("UPDATE evidence SET is_exported = 1", [])?,
        EvidenceFate::Forgotten => discard(file)?,
    }
    Ok(true)
}

fn has_tables(file: &Transaction<'_>) -> StepResult<bool> {
    Ok(file
        .prepare_cached("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'evidence'")?
        .exists([])?)
}
