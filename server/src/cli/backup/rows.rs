//! The rows of a backup: a zone's state and characters, those that rest in its name, and its ledger. Whether a row fits
//! the copy of its zone, is decided in core.

use std::collections::BTreeMap;
use std::time::Duration;

use everhold_core::durability::adoption::ANSWER_MAX;
use everhold_core::durability::archive::{
    Archive, ArchiveError, ArchivedAccount, ArchivedPayload, CharacterPlace, LedgerRow, WallMs,
};
use everhold_core::durability::backup::{BackupCharacter, BackupFrame, RowVerdict, is_same_row};
use everhold_core::limits::{ARCHIVE_PAGE_ROWS_MAX, LEDGER_PAGE_ROWS_MAX, PART_BYTES_MAX};
use everhold_protocol::{Account, Tick, ZoneName};

use super::super::history::CodedError;
use super::file::BackupDraft;
use super::source::{CopiedZone, Source};
use crate::deadline::answer;

/// Times that a page is asked for of an archive that does not answer, in fewer rows each time.
const ASKED_MAX: u32 = 8;
/// The wait before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// The rows at rest after which it is said how far it is.
const SAY_EVERY: u64 = 100_000;

/// The number of what was written of a zone.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) residents: u64,
    pub(super) rests: u64,
    pub(super) ledger: u64,
}

/// Writes a zone with its rows, and notes its accounts. The inner error: the copy is too old for this account's row.
pub(super) async fn write_zone(
    draft: &mut BackupDraft,
    source: &Source,
    copied: &CopiedZone,
    seen: &mut Vec<(Account, u64, ZoneName)>,
) -> anyhow::Result<Result<Progress, Account>> {
    let zone = &copied.head.zone;
    draft.write(&BackupFrame::Zone(copied.head.clone()))?;
    for start in (0..copied.body.len()).step_by(PART_BYTES_MAX) {
        let end = copied.body.len().min(start + PART_BYTES_MAX);
        draft.write(&BackupFrame::Part(copied.body.slice(start..end)))?;
    }
    let mut progress = Progress::default();
    let mut names = BTreeMap::new();
    if let Some(archive) = source.archive().await? {
        let rests = write_rests(draft, archive, copied, (&mut names, seen)).await?;
        match rests {
            Ok(rests) => progress.rests = rests,
            Err(account) => return Ok(Err(account)),
        }
    }
    for row in &copied.characters {
        seen.push((row.account, row.generation, zone.clone()));
        draft.write(&BackupFrame::Character(BackupCharacter {
            account: row.account,
            generation: row.generation,
            is_resident: true,
            name: names.remove(&row.account),
            payload: row.payload.clone(),
            columns: row.columns.clone(),
            belongings: row.belongings.clone().unwrap_or_default(),
        }))?;
        progress.residents += 1;
    }
    if let Some(archive) = source.archive().await? {
        progress.ledger = write_ledger(draft, source, archive, copied).await?;
    }
    draft.write(&BackupFrame::ZoneEnd)?;
    Ok(Ok(progress))
}

/// Reads a page of accounts. One that does not come is asked for in fewer rows.
async fn page(
    archive: &dyn Archive,
    home: Option<&ZoneName>,
    after: Option<Account>,
) -> anyhow::Result<Vec<ArchivedAccount>> {
    let mut rows = ARCHIVE_PAGE_ROWS_MAX;
    for _ in 1..ASKED_MAX {
        match answer(ANSWER_MAX, archive.accounts(home, after, rows)).await {
            Err(ArchiveError::Unavailable(_)) => rows = (rows / 2).max(1),
            answer => return Ok(answer?),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    Ok(answer(ANSWER_MAX, archive.accounts(home, after, rows)).await?)
}

/// Writes the characters that rest in the zone's name, and takes the names of those that are in it.
async fn write_rests(
    draft: &mut BackupDraft,
    archive: &dyn Archive,
    copied: &CopiedZone,
    (names, seen): (&mut BTreeMap<Account, String>, &mut Vec<(Account, u64, ZoneName)>),
) -> anyhow::Result<Result<u64, Account>> {
    let zone = &copied.head.zone;
    let (mut after, mut rests) = (None, 0);
    loop {
        let rows = page(archive, Some(zone), after).await?;
        let Some(last) = rows.last() else { return Ok(Ok(rests)) };
        let mut kept: Vec<(&ArchivedAccount, BackupCharacter)> = Vec::new();
        for row in &rows {
            let ArchivedAccount::Character(character) = row else {
                continue;
            };
            let account = character.account;
            let payload = match copied.copy.judge(row) {
                RowVerdict::Resident => {
                    names.extend(character.name.clone().map(|name| (account, name)));
                    continue;
                }
                RowVerdict::Elsewhere => continue,
                RowVerdict::Behind => return Ok(Err(account)),
                RowVerdict::Damaged => return Err(damaged(account).into()),
                RowVerdict::Rests(payload) => Some(payload),
                RowVerdict::Reserved => None,
            };
            let character = BackupCharacter {
                account,
                generation: character.generation,
                is_resident: false,
                name: character.name.clone(),
                payload,
                columns: character.columns.clone(),
                belongings: answer(ANSWER_MAX, archive.belongings(account)).await?,
            };
            kept.push((row, character));
        }
        // Belongings are read by themselves: they are those of the row if it is the same still.
        let again = if kept.is_empty() {
            Vec::new()
        } else {
            page(archive, Some(zone), after).await?
        };
        for (row, character) in kept {
            if !again.iter().any(|now| is_same_row(row, now)) {
                return Ok(Err(character.account));
            }
            rests += u64::from(character.payload.is_some());
            seen.push((character.account, character.generation, zone.clone()));
            draft.write(&BackupFrame::Character(character))?;
            if rests.is_multiple_of(SAY_EVERY) && rests > 0 {
                super::super::print(format_args!("zone {zone}: {rests} at rest so far"))?;
            }
        }
        after = Some(last.account());
    }
}

fn damaged(account: Account) -> CodedError {
    let why = format!(
        "nothing is written: the archive's row of account {}, which rests, is damaged; `everhold verify` finds all such",
        account.0
    );
    CodedError::new("character_damaged", why)
}

/// Writes the zone's ledger up to the copy's tick: the archive's rows as far as its newest blob says that it has all,
/// and those of the zone's own history after that.
async fn write_ledger(
    draft: &mut BackupDraft,
    source: &Source,
    archive: &dyn Archive,
    copied: &CopiedZone,
) -> anyhow::Result<u64> {
    let (zone, end) = (&copied.head.zone, copied.head.position);
    let archived = source.archived(zone).await?;
    let newest = archived.as_ref().and_then(|zone| zone.blobs.first());
    let covered: Option<Tick> = newest.map(|blob| blob.mark.position.tick.min(end.tick));
    let (mut after, mut rows) = (None, 0);
    'pages: loop {
        let Some(covered) = covered else { break };
        let page = answer(ANSWER_MAX, archive.ledger(zone, after, LEDGER_PAGE_ROWS_MAX)).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key());
        for row in page {
            if row.stamp.tick > covered {
                break 'pages;
            }
            // Another history's, of an owner after the copy.
            if row.stamp.epoch <= end.epoch {
                rows += 1;
                draft.write(&BackupFrame::Ledger(row))?;
            }
        }
    }
    let mut moves = copied.moves.clone();
    moves.settle(covered);
    for row in moves.rows().filter(|row| row.stamp.tick <= end.tick) {
        rows += 1;
        draft.write(&BackupFrame::Ledger(with_time(row, copied)))?;
    }
    Ok(rows)
}

/// The time of a row that the archive does not have: as many ticks ago as its tick is.
fn with_time(row: &LedgerRow, copied: &CopiedZone) -> LedgerRow {
    let ticks = copied.head.position.tick.since(row.stamp.tick);
    let ms = ticks.saturating_mul(1_000) / u64::from(copied.tick_hz);
    let wall = WallMs(copied.wall.0.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)));
    LedgerRow { wall, ..row.clone() }
}

/// Writes deleted accounts, and characters that rest in the name of no zone. Returns the deleted ones, in order.
pub(super) async fn write_outside(
    draft: &mut BackupDraft,
    source: &Source,
    seen: &[(Account, u64, ZoneName)],
) -> anyhow::Result<Vec<(Account, u64)>> {
    let mut deleted = Vec::new();
    let Some(archive) = source.archive().await? else {
        return Ok(deleted);
    };
    let mut known: Vec<Account> = seen.iter().map(|(account, ..)| *account).collect();
    known.sort_unstable();
    let mut after = None;
    loop {
        let rows = page(archive, None, after).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.account());
        for row in rows {
            match row {
                ArchivedAccount::Deleted { account, generation } => {
                    deleted.push((account, generation));
                    draft.write(&BackupFrame::Deleted(account, generation))?;
                }
                ArchivedAccount::Character(character) => {
                    let account = character.account;
                    if character.place != CharacterPlace::Rest || known.binary_search(&account).is_ok() {
                        continue;
                    }
                    let payload = match character.payload {
                        ArchivedPayload::Whole(payload) => payload,
                        ArchivedPayload::Absent | ArchivedPayload::Damaged => return Err(damaged(account).into()),
                    };
                    draft.write(&BackupFrame::Character(BackupCharacter {
                        account,
                        generation: character.generation,
                        is_resident: false,
                        name: character.name,
                        payload: Some(payload),
                        columns: character.columns,
                        belongings: answer(ANSWER_MAX, archive.belongings(account)).await?,
                    }))?;
                }
            }
        }
    }
    deleted.sort_unstable();
    Ok(deleted)
}
