//! Writing to an archive's file: the fence first, then a part of a blob, or a commit, row by row with statements that
//! are prepared once. It opens no transaction.

use everhold_core::durability::archive::{
    AccountAnswer, ArchiveBlob, ArchiveCommit, ArchiveError, AuditRow, CharacterRow, ColumnValue, CommitAnswer,
    CommitMark, CommitReport, DeletionAnswer, LedgerRow, WallMs, checksum, row::name_key,
};
use everhold_core::ownership::{DataStamp, Tenure};
use everhold_core::zone::archive_schema::ArchiveSchema;
use everhold_protocol::{Account, Epoch, ZoneName};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Transaction, params, params_from_iter};

use super::read::{self, Terms};
use super::{ArchiveStep, Rollback, numbered};
use crate::archive::{RawZone, before_write, fixed, undeleted};

/// The zone that writes characters, and the tick that it has reached; `None`: they are written outside a zone.
type Writer<'a> = Option<(&'a ZoneName, DataStamp)>;

/// Raises the fence to the grant, and returns the zone's last commit.
pub(super) fn fence(file: &Transaction<'_>, tenure: &Tenure) -> ArchiveStep<Option<CommitMark>> {
    let (zone, grant) = (tenure.zone.as_str(), tenure.grant);
    let raised = file
        .prepare_cached(&numbered(fixed::FENCE))?
        .query_row((zone, grant.epoch().0, grant.nonce().0.cast_signed()), |row| {
            read::mark(row, 0)
        })
        .optional()?;
    let Some(last) = raised else {
        let epoch = file
            .prepare_cached("SELECT fence_epoch FROM zones WHERE zone = ?1")?
            .query_row([zone], |row| row.get(0).map(Epoch))?;
        return Err(Rollback::Refused(ArchiveError::Fenced { epoch }));
    };
    RawZone::last(last).map_err(Rollback::Refused)
}

pub(super) fn put_part(
    file: &Transaction<'_>,
    tenure: &Tenure,
    mark: CommitMark,
    index: u32,
    bytes: &[u8],
) -> ArchiveStep<()> {
    fence(file, tenure)?;
    let (epoch, number) = (mark.position.epoch.0, mark.number.cast_signed());
    file.prepare_cached(&numbered(fixed::PUT_PART))?.execute((
        tenure.zone.as_str(),
        epoch,
        number,
        index,
        checksum(bytes),
        bytes,
    ))?;
    Ok(())
}

pub(super) fn commit(
    file: &Transaction<'_>,
    terms: Terms<'_>,
    tenure: &Tenure,
    commit: &ArchiveCommit,
) -> ArchiveStep<CommitAnswer> {
    let last = fence(file, tenure)?;
    if last == Some(commit.mark) {
        return Ok(CommitAnswer::Duplicate);
    }
    if last != commit.parent {
        return Ok(CommitAnswer::Moved { last });
    }
    let (zone, position) = (&tenure.zone, commit.mark.position);
    if let Some(blob) = commit.blob {
        put_blob(file, zone, commit, blob)?;
    }
    let mut report = CommitReport {
        undone: undo(file, zone, commit)?,
        ..CommitReport::default()
    };
    for character in &commit.characters {
        let writer = Some((zone, position.stamp()));
        match put_character(file, terms, writer, character, commit.wall)? {
            None => {}
            Some(Obstacle::Newer) => report.superseded.push(character.account),
            Some(Obstacle::Name) => report.names_taken.push(character.account),
        }
    }
    for row in &commit.ledger {
        put_ledger(file, terms.0, zone, row)?;
    }
    for row in &commit.audit {
        put_audit(file, zone, row)?;
    }
    file.prepare_cached(&numbered(fixed::MOVE))?.execute((
        zone.as_str(),
        position.epoch.0,
        position.tick.0.cast_signed(),
        position.hash.0,
        commit.mark.number.cast_signed(),
        commit.wall.0,
    ))?;
    Ok(CommitAnswer::Done(report))
}

/// Marks the rows of ticks that this history does not go on from, and has those stand again that it does go on from.
fn undo(file: &Transaction<'_>, zone: &ZoneName, commit: &ArchiveCommit) -> ArchiveStep<u64> {
    let Some(parent) = commit.parent.filter(|parent| parent.position != commit.kept) else {
        return Ok(0);
    };
    let mut undone = 0;
    for statement in [fixed::UNDO_LEDGER, fixed::UNDO_AUDIT] {
        undone += file.execute(
            &numbered(statement),
            (
                zone.as_str(),
                commit.mark.position.epoch.0,
                commit.kept.tick.0.cast_signed(),
                parent.position.epoch.0,
            ),
        )?;
    }
    let (kept_epoch, kept_tick) = (commit.kept.epoch.0, commit.kept.tick.0.cast_signed());
    if commit.kept.epoch < parent.position.epoch {
        for statement in [fixed::UNDO_LEDGER_EPOCHS, fixed::UNDO_AUDIT_EPOCHS] {
            let epochs = (commit.mark.position.epoch.0, parent.position.epoch.0);
            let values = (zone.as_str(), epochs.0, kept_tick, epochs.1, kept_epoch);
            undone += file.execute(&numbered(statement), values)?;
        }
    }
    for statement in [fixed::STAND_LEDGER, fixed::STAND_AUDIT] {
        file.execute(&numbered(statement), (zone.as_str(), kept_epoch, kept_tick))?;
    }
    Ok(undone as u64)
}

fn put_blob(file: &Transaction<'_>, zone: &ZoneName, commit: &ArchiveCommit, blob: ArchiveBlob) -> ArchiveStep<()> {
    let (position, number) = (commit.mark.position, commit.mark.number.cast_signed());
    let (parts, bytes): (u32, i64) = file
        .prepare_cached(&numbered(fixed::COUNT_PARTS))?
        .query_row((zone.as_str(), position.epoch.0, number, blob.parts), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if (parts, bytes.cast_unsigned()) != (blob.parts, blob.bytes) {
        return Err(Rollback::Refused(ArchiveError::Corrupt(format!(
            "the blob of tick {} has {parts} of {} parts, {bytes} of {} bytes",
            position.tick, blob.parts, blob.bytes
        ))));
    }
    file.execute(
        &numbered(fixed::PUT_BLOB),
        (
            zone.as_str(),
            position.epoch.0,
            number,
            position.tick.0.cast_signed(),
            position.hash.0,
            blob.parts,
            blob.bytes.cast_signed(),
            commit.wall.0,
        ),
    )?;
    file.execute(&numbered(fixed::DROP_BLOBS), [zone.as_str()])?;
    file.execute(&numbered(fixed::DROP_PARTS), (zone.as_str(), position.epoch.0, number))?;
    Ok(())
}

/// The reason why a character is not written as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// A newer row stands.
    Newer,
    /// Another account has the name; all else is written.
    Name,
}

fn put_character(
    file: &Transaction<'_>,
    (schema, statements): Terms<'_>,
    writer: Writer<'_>,
    row: &CharacterRow,
    wall: WallMs,
) -> ArchiveStep<Option<Obstacle>> {
    let account = row.account.0.cast_signed();
    let text = |text: &str| Value::Text(text.to_owned());
    let bytes = row.payload.as_ref().map(|payload| payload.len() as i64);
    let own = [
        writer.map_or(Value::Null, |(zone, _)| text(zone.as_str())),
        account.into(),
        row.generation.cast_signed().into(),
        row.place.zone().map_or(Value::Null, |zone| text(zone.as_str())),
        writer.map_or(Value::Null, |(_, stamp)| i64::from(stamp.epoch.0).into()),
        writer.map_or(Value::Null, |(_, stamp)| stamp.tick.0.cast_signed().into()),
        wall.0.into(),
        bytes.map_or(Value::Null, Value::from),
    ];
    let values = own.into_iter().chain(row.columns.iter().map(column_value));
    let is_written = file.prepare_cached(&statements.put)?.exists(params_from_iter(values))?;
    if !is_written {
        return Ok(Some(Obstacle::Newer));
    }
    put_payload(file, row)?;
    put_belongings(file, schema, row)?;
    match &row.name {
        Some(name) if !put_name(file, account, name)? => Ok(Some(Obstacle::Name)),
        _ => Ok(None),
    }
}

fn column_value(value: &ColumnValue) -> Value {
    match value {
        ColumnValue::Integer(value) => Value::Integer(*value),
        ColumnValue::Real(value) => Value::Real(*value),
        ColumnValue::Text(value) => Value::Text(value.clone()),
        ColumnValue::Bool(value) => Value::Integer(i64::from(*value)),
    }
}

/// Writes the payload, if there is one. That of a character that a zone has is left: should the zone's history be lost,
/// it is the last that there is of it.
fn put_payload(file: &Transaction<'_>, row: &CharacterRow) -> ArchiveStep<()> {
    let Some(payload) = &row.payload else {
        return Ok(());
    };
    let key = (row.account.0.cast_signed(), row.generation.cast_signed());
    file.prepare_cached(
        "INSERT INTO payloads (account, generation, checksum, bytes) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (account) DO UPDATE SET generation = excluded.generation,
         checksum = excluded.checksum, bytes = excluded.bytes",
    )?
    .execute((key.0, key.1, checksum(payload), &payload[..]))?;
    Ok(())
}

/// Replaces the belongings, and writes only those that differ.
fn put_belongings(file: &Transaction<'_>, schema: &ArchiveSchema, row: &CharacterRow) -> ArchiveStep<()> {
    let Some(belongings) = &row.belongings else {
        return Ok(());
    };
    let account = row.account.0.cast_signed();
    let mut ids: Vec<i64> = belongings.iter().map(|belonging| belonging.id.cast_signed()).collect();
    ids.sort_unstable();
    let mut statement = file.prepare_cached("SELECT id FROM belongings WHERE account = ?1")?;
    let there = statement.query_map([account], |row| row.get(0))?;
    let there = there.collect::<rusqlite::Result<Vec<i64>>>()?;
    for gone in there.into_iter().filter(|id| ids.binary_search(id).is_err()) {
        file.prepare_cached("DELETE FROM belongings WHERE account = ?1 AND id = ?2")?
            .execute((account, gone))?;
    }
    let mut statement = file.prepare_cached(
        "INSERT INTO belongings AS b (account, id, kind, count) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (account, id) DO UPDATE SET kind = excluded.kind, count = excluded.count
         WHERE b.kind <> excluded.kind OR b.count <> excluded.count",
    )?;
    for belonging in belongings {
        let kind = &schema.belongings()[belonging.kind as usize].name;
        statement.execute((account, belonging.id.cast_signed(), kind, belonging.count))?;
    }
    Ok(())
}

/// Gives the account the name, unless another has it. Whether it has it now.
fn put_name(file: &Transaction<'_>, account: i64, name: &str) -> ArchiveStep<bool> {
    let key = name_key(name);
    let changed = file
        .prepare_cached(
            "INSERT INTO names AS n (name_key, name, account) VALUES (?1, ?2, ?3)
             ON CONFLICT (name_key) DO UPDATE SET name = excluded.name WHERE n.account = excluded.account",
        )?
        .execute((&key, name, account))?;
    if changed == 0 {
        return Ok(false);
    }
    file.prepare_cached("DELETE FROM names WHERE account = ?1 AND name_key <> ?2")?
        .execute((account, &key))?;
    Ok(true)
}

fn put_ledger(file: &Transaction<'_>, schema: &ArchiveSchema, zone: &ZoneName, row: &LedgerRow) -> ArchiveStep<()> {
    let number = |account: Option<Account>| account.map(|account| account.0.cast_signed());
    file.prepare_cached(
        "INSERT INTO ledger (zone, tick, epoch, seq, wall_ms, session, command, value, thing, amount, giver, taker)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT DO NOTHING",
    )?
    .execute(params![
        zone.as_str(),
        row.stamp.tick.0.cast_signed(),
        row.stamp.epoch.0,
        row.seq,
        row.wall.0,
        row.command.map(|(session, _)| session.0.cast_signed()),
        row.command.map(|(_, command)| command.cast_signed()),
        schema.values()[row.value as usize].name,
        row.thing.map(u64::cast_signed),
        row.amount,
        number(row.from),
        number(row.to),
    ])?;
    Ok(())
}

fn put_audit(file: &Transaction<'_>, zone: &ZoneName, row: &AuditRow) -> ArchiveStep<()> {
    file.prepare_cached(
        "INSERT INTO audit (zone, tick, epoch, seq, wall_ms, event, account, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
    )?
    .execute((
        zone.as_str(),
        row.stamp.map(|stamp| stamp.tick.0.cast_signed()),
        row.stamp.map(|stamp| stamp.epoch.0),
        row.seq,
        row.wall.0,
        &row.event,
        row.account.map(|account| account.0.cast_signed()),
        &row.detail,
    ))?;
    Ok(())
}

/// Writes a character outside a zone.
pub(super) fn put_account(
    file: &Transaction<'_>,
    terms: Terms<'_>,
    row: &CharacterRow,
    wall: WallMs,
) -> ArchiveStep<AccountAnswer> {
    let stands = read::account(file, terms, row.account)?;
    if let Some(answer) = before_write(stands.as_ref(), row) {
        return Ok(answer);
    }
    if let Some(name) = &row.name {
        let by = file
            .prepare_cached("SELECT account FROM names WHERE name_key = ?1")?
            .query_row([name_key(name)], |row| row.get(0).map(i64::cast_unsigned))
            .optional()?;
        if let Some(by) = by.map(Account).filter(|by| *by != row.account) {
            return Ok(AccountAnswer::NameTaken { by });
        }
    }
    match put_character(file, terms, None, row, wall)? {
        None => Ok(AccountAnswer::Stored),
        Some(_) => Err(Rollback::Refused(ArchiveError::Corrupt(format!(
            "account {} changed within a transaction",
            row.account.0
        )))),
    }
}

/// Deletes a character.
pub(super) fn delete_account(
    file: &Transaction<'_>,
    terms: Terms<'_>,
    (account, generation): (Account, i64),
    audit: &AuditRow,
) -> ArchiveStep<DeletionAnswer> {
    let number = account.0.cast_signed();
    let deleted = file.execute(&terms.1.delete, (number, generation, audit.wall.0))?;
    if deleted == 0 {
        return Ok(undeleted(
            read::account(file, terms, account)?.as_ref(),
            generation.cast_unsigned(),
        ));
    }
    for statement in fixed::FORGET {
        file.execute(&numbered(statement), [number])?;
    }
    let about = audit.account.map(|account| account.0.cast_signed());
    file.execute(
        &numbered(fixed::AUDIT),
        (audit.wall.0, &audit.event, about, &audit.detail),
    )?;
    Ok(DeletionAnswer::Deleted)
}
