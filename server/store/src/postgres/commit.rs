//! Writing a zone to an archive on PostgreSQL: the fence first, which locks the zone's row, then a part of a blob, or a
//! commit. It opens no transaction.

use deadpool_postgres::Transaction;
use everhold_core::durability::archive::{
    ArchiveBlob, ArchiveCommit, ArchiveError, CharacterRow, CommitAnswer, CommitMark, CommitReport, checksum,
};
use everhold_core::ownership::Tenure;
use everhold_protocol::{Epoch, ZoneName};
use tokio_postgres::types::ToSql;

use super::failure::Step;
use super::{DeclaredTerms, batch, read};
use crate::archive::{RawZone, corrupt, fixed};

/// Raises the fence to the grant, and returns the zone's last commit.
pub(super) async fn fence(transaction: &Transaction<'_>, tenure: &Tenure) -> Step<Option<CommitMark>> {
    let (zone, grant) = (tenure.zone.as_str(), tenure.grant);
    let (epoch, nonce) = (i64::from(grant.epoch().0), grant.nonce().0.cast_signed());
    let statement = transaction.prepare_cached(fixed::FENCE).await?;
    if let Some(row) = transaction.query_opt(&statement, &[&zone, &epoch, &nonce]).await? {
        return Ok(RawZone::last(read::mark(&row, 0)?)?);
    }
    let row = transaction
        .query_one("SELECT fence_epoch FROM zones WHERE zone = $1", &[&zone])
        .await?;
    let epoch = u32::try_from(row.try_get::<_, i64>(0)?).map_err(corrupt("an epoch"))?;
    Err(ArchiveError::Fenced { epoch: Epoch(epoch) }.into())
}

pub(super) async fn put_part(
    transaction: &Transaction<'_>,
    tenure: &Tenure,
    mark: CommitMark,
    index: u32,
    bytes: &[u8],
) -> Step<()> {
    fence(transaction, tenure).await?;
    let statement = transaction.prepare_cached(fixed::PUT_PART).await?;
    let (zone, epoch) = (tenure.zone.as_str(), i64::from(mark.position.epoch.0));
    let (number, part, kept) = (mark.number.cast_signed(), i64::from(index), checksum(bytes));
    let values: [&(dyn ToSql + Sync); 6] = [&zone, &epoch, &number, &part, &&kept[..], &bytes];
    transaction.execute(&statement, &values).await?;
    Ok(())
}

pub(super) async fn commit(
    transaction: &Transaction<'_>,
    terms: &DeclaredTerms,
    tenure: &Tenure,
    commit: &ArchiveCommit,
) -> Step<CommitAnswer> {
    let last = fence(transaction, tenure).await?;
    if last == Some(commit.mark) {
        return Ok(CommitAnswer::Duplicate);
    }
    if last != commit.parent {
        return Ok(CommitAnswer::Moved { last });
    }
    let (zone, position) = (&tenure.zone, commit.mark.position);
    if let Some(blob) = commit.blob {
        put_blob(transaction, zone, commit, blob).await?;
    }
    let mut report = CommitReport {
        undone: undo(transaction, zone, commit).await?,
        ..CommitReport::default()
    };
    let writer = Some((zone, position.stamp()));
    let written = batch::characters(transaction, terms, writer, &commit.characters, commit.wall).await?;
    let accounts = commit.characters.iter().map(|row| row.account);
    report.superseded = accounts.filter(|account| !written.contains(account)).collect();
    let rows = commit.characters.iter().filter(|row| written.contains(&row.account));
    let rows: Vec<&CharacterRow> = rows.collect();
    batch::payloads(transaction, &rows).await?;
    batch::belongings(transaction, &terms.schema, &rows).await?;
    let taken = batch::names(transaction, &rows).await?;
    let accounts = commit.characters.iter().map(|row| row.account);
    report.names_taken = accounts.filter(|account| taken.contains(account)).collect();
    batch::ledger(transaction, &terms.schema, zone, &commit.ledger).await?;
    batch::audit(transaction, zone, &commit.audit).await?;
    let statement = transaction.prepare_cached(fixed::MOVE).await?;
    let (epoch, tick) = (i64::from(position.epoch.0), position.tick.0.cast_signed());
    let number = commit.mark.number.cast_signed();
    let (hash, wall) = (&position.hash.0[..], commit.wall.0);
    let values: [&(dyn ToSql + Sync); 6] = [&zone.as_str(), &epoch, &tick, &hash, &number, &wall];
    transaction.execute(&statement, &values).await?;
    Ok(CommitAnswer::Done(report))
}

/// Marks the rows of ticks that this history does not go on from, and has those stand again that it does go on from.
async fn undo(transaction: &Transaction<'_>, zone: &ZoneName, commit: &ArchiveCommit) -> Step<u64> {
    let Some(parent) = commit.parent.filter(|parent| parent.position != commit.kept) else {
        return Ok(0);
    };
    let (epoch, tick) = (
        i64::from(commit.mark.position.epoch.0),
        commit.kept.tick.0.cast_signed(),
    );
    let parent_epoch = i64::from(parent.position.epoch.0);
    let mut undone = 0;
    for statement in [fixed::UNDO_LEDGER, fixed::UNDO_AUDIT] {
        undone += transaction
            .execute(statement, &[&zone.as_str(), &epoch, &tick, &parent_epoch])
            .await?;
    }
    let kept_epoch = i64::from(commit.kept.epoch.0);
    if kept_epoch < parent_epoch {
        for statement in [fixed::UNDO_LEDGER_EPOCHS, fixed::UNDO_AUDIT_EPOCHS] {
            let values: [&(dyn ToSql + Sync); 5] = [&zone.as_str(), &epoch, &tick, &parent_epoch, &kept_epoch];
            undone += transaction.execute(statement, &values).await?;
        }
    }
    for statement in [fixed::STAND_LEDGER, fixed::STAND_AUDIT] {
        transaction
            .execute(statement, &[&zone.as_str(), &kept_epoch, &tick])
            .await?;
    }
    Ok(undone)
}

async fn put_blob(
    transaction: &Transaction<'_>,
    zone: &ZoneName,
    commit: &ArchiveCommit,
    blob: ArchiveBlob,
) -> Step<()> {
    let (zone, position, number) = (zone.as_str(), commit.mark.position, commit.mark.number.cast_signed());
    let (epoch, tick) = (i64::from(position.epoch.0), position.tick.0.cast_signed());
    let parts = i64::from(blob.parts);
    let row = transaction
        .query_one(fixed::COUNT_PARTS, &[&zone, &epoch, &number, &parts])
        .await?;
    let (found_parts, found_bytes): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let bytes = blob.bytes.cast_signed();
    if (found_parts, found_bytes) != (parts, bytes) {
        return Err(ArchiveError::Corrupt(format!(
            "the blob of tick {} has {found_parts} of {parts} parts, {found_bytes} of {bytes} bytes",
            position.tick
        ))
        .into());
    }
    let hash = &position.hash.0[..];
    let values: [&(dyn ToSql + Sync); 8] = [&zone, &epoch, &number, &tick, &hash, &parts, &bytes, &commit.wall.0];
    transaction.execute(fixed::PUT_BLOB, &values).await?;
    transaction.execute(fixed::DROP_BLOBS, &[&zone]).await?;
    transaction
        .execute(fixed::DROP_PARTS, &[&zone, &epoch, &number])
        .await?;
    Ok(())
}
