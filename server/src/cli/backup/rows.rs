//! The rows of a backup: a zone's state and characters, those that rest in its name, and its ledger. Whether a row
//! fits the copy of its zone, is decided in core.

use std::collections::BTreeMap;
use std::io::{BufWriter, Seek, Write};
use std::time::Duration;

use everhold_core::durability::adoption::ANSWER_MAX;
use everhold_core::durability::archive::{
    Archive, ArchiveError, ArchivedAccount, ArchivedPayload, CharacterPlace, LedgerRow, WallMs,
};
use everhold_core::durability::backup::{BackupCharacter, BackupFrame, BackupWriter, RowVerdict, is_same_row};
use everhold_core::limits::{ARCHIVE_PAGE_ROWS_MAX, LEDGER_PAGE_ROWS_MAX, PART_BYTES_MAX};
use everhold_core::ownership::DataStamp;
use everhold_protocol::{Account, Epoch, Tick, ZoneName};

use super::super::history::{CodedError, file_error};
use super::file::{BackupDraft, BackupFrames};
use super::source::{BackupSource, CopiedZone};
use crate::deadline::answer;

/// Times that a page is asked for of an archive that does not answer, in fewer rows each time.
const ASKED_MAX: u32 = 8;
/// The wait before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Before every tick.
const NEVER: DataStamp = DataStamp {
    epoch: Epoch::NONE,
    tick: Tick(0),
};
/// The rows after which it is said how far it is.
const SAY_EVERY: u64 = 100_000;

/// The number of what was written of a zone.
#[derive(Debug, Default)]
pub(super) struct CopyProgress {
    pub(super) residents: u64,
    pub(super) rests: u64,
    pub(super) ledger: u64,
}

/// The accounts of all copies: each with its generation, and the zone.
pub(super) type SeenAccounts = Vec<(Account, u64, ZoneName)>;

/// All that the archive has in a zone's name, read before the zone is copied, in a file without a name; and the
/// commit from which on rows may have changed meanwhile.
pub(super) struct RowSpool {
    file: std::fs::File,
    since: DataStamp,
    damaged: Vec<Account>,
}

/// The rows that changed while the others were read, as they fit the copy.
#[derive(Debug, Default)]
pub(super) struct ChangedRows {
    /// Characters at rest, and reservations.
    outside: BTreeMap<Account, BackupCharacter>,
    /// Names of characters in the copy.
    names: BTreeMap<Account, String>,
}

/// Reads everything that the archive has in a zone's name, however long it takes.
pub(super) async fn spool(
    draft: &BackupDraft,
    source: &BackupSource,
    zone: &ZoneName,
) -> anyhow::Result<Option<RowSpool>> {
    let Some(archive) = source.archive().await? else {
        return Ok(None);
    };
    let last = source.archived(zone).await?.and_then(|zone| zone.last);
    let since = last.map_or(NEVER, |last| last.position.stamp());
    let file = tempfile::tempfile_in(draft.directory()).map_err(file_error)?;
    let mut out = BufWriter::new(file);
    let (mut writer, first) = BackupWriter::begin();
    out.write_all(&first).map_err(file_error)?;
    let (mut after, mut rows, mut damaged) = (None, 0, Vec::new());
    loop {
        let page = page(archive, Some(zone), after).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.account());
        for row in page {
            let ArchivedAccount::Character(row) = row else { continue };
            let payload = match row.payload {
                ArchivedPayload::Damaged => {
                    damaged.push(row.account);
                    continue;
                }
                ArchivedPayload::Whole(payload) => Some(payload),
                ArchivedPayload::Absent => row.last_payload,
            };
            let frame = BackupFrame::Character(BackupCharacter {
                account: row.account,
                generation: row.generation,
                is_resident: false,
                name: row.name,
                payload,
                columns: row.columns,
                belongings: answer(ANSWER_MAX, archive.belongings(row.account)).await?,
            });
            out.write_all(&writer.frame(&frame)).map_err(file_error)?;
            rows += 1;
            if rows % SAY_EVERY == 0 {
                super::super::print(format_args!("zone {zone}: {rows} rows of the archive so far"))?;
            }
        }
    }
    out.write_all(&writer.finish()).map_err(file_error)?;
    let mut file = out.into_inner().map_err(|error| file_error(error.into_error()))?;
    file.rewind().map_err(file_error)?;
    Ok(Some(RowSpool { file, since, damaged }))
}

/// Reads the rows that changed since the spool was begun, and judges them by the copy. The inner error: the copy is
/// too old for this account's row.
pub(super) async fn changes(
    source: &BackupSource,
    copied: &CopiedZone,
    spool: Option<&RowSpool>,
) -> anyhow::Result<Result<ChangedRows, Account>> {
    let mut changes = ChangedRows::default();
    let (Some(archive), Some(spool)) = (source.archive().await?, spool) else {
        return Ok(Ok(changes));
    };
    let (zone, mut after) = (&copied.head.zone, None);
    loop {
        let rows = ARCHIVE_PAGE_ROWS_MAX;
        let page = answer(ANSWER_MAX, archive.accounts_since(zone, spool.since, after, rows)).await?;
        let Some(last) = page.last() else {
            return Ok(Ok(changes));
        };
        after = Some(last.account());
        for row in &page {
            let ArchivedAccount::Character(character) = row else {
                continue;
            };
            let account = character.account;
            let payload = match copied.copy.judge(row) {
                RowVerdict::Resident => {
                    changes.names.extend(character.name.clone().map(|name| (account, name)));
                    continue;
                }
                RowVerdict::Elsewhere => continue,
                RowVerdict::Behind => return Ok(Err(account)),
                RowVerdict::Damaged => return Err(damaged(account).into()),
                RowVerdict::Rests(payload) => Some(payload),
                RowVerdict::Reserved => None,
            };
            let belongings = answer(ANSWER_MAX, archive.belongings(account)).await?;
            // They are read by themselves: they are those of the row if it is the same still.
            let again = answer(ANSWER_MAX, archive.account(account)).await?;
            if !again.is_some_and(|again| is_same_row(row, &again)) {
                return Ok(Err(account));
            }
            let character = BackupCharacter {
                account,
                generation: character.generation,
                is_resident: false,
                name: character.name.clone(),
                payload,
                columns: character.columns.clone(),
                belongings,
            };
            changes.outside.insert(account, character);
        }
    }
}

/// Writes a zone with its rows, and notes its accounts.
pub(super) async fn write_zone(
    draft: &mut BackupDraft,
    source: &BackupSource,
    copied: &CopiedZone,
    (spool, changes): (Option<RowSpool>, ChangedRows),
    seen: &mut SeenAccounts,
) -> anyhow::Result<CopyProgress> {
    let zone = &copied.head.zone;
    draft.write(&BackupFrame::Zone(copied.head.clone()))?;
    for start in (0..copied.body.len()).step_by(PART_BYTES_MAX) {
        let end = copied.body.len().min(start + PART_BYTES_MAX);
        draft.write(&BackupFrame::Part(copied.body.slice(start..end)))?;
    }
    let mut progress = CopyProgress::default();
    let ChangedRows { outside, mut names } = changes;
    let mut put_outside = |draft: &mut BackupDraft, character: BackupCharacter| {
        progress.rests += u64::from(character.payload.is_some());
        seen.push((character.account, character.generation, zone.clone()));
        draft.write(&BackupFrame::Character(character))
    };
    let residents = &copied.copy.residents;
    if let Some(spool) = spool {
        let is_newer = |account: &Account| residents.contains_key(account) || outside.contains_key(account);
        if let Some(account) = spool.damaged.iter().find(|account| !is_newer(account)) {
            return Err(damaged(*account).into());
        }
        let mut frames = BackupFrames::of(spool.file);
        while let Some(frame) = frames.next()? {
            let BackupFrame::Character(character) = frame else {
                continue;
            };
            if residents.contains_key(&character.account) {
                if let Some(name) = character.name {
                    names.entry(character.account).or_insert(name);
                }
            } else if !outside.contains_key(&character.account) {
                put_outside(draft, character)?;
            }
        }
    }
    for character in outside.into_values() {
        put_outside(draft, character)?;
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
    Ok(progress)
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

fn damaged(account: Account) -> CodedError {
    let why = format!(
        "nothing is written: the archive's row of account {}, which rests, is damaged; `everhold verify` finds \
         all",
        account.0
    );
    CodedError::new("character_damaged", why)
}

/// Writes the zone's ledger up to the copy's tick: the archive's rows as far as its newest blob says that it has all,
/// and those of the zone's own history after that.
async fn write_ledger(
    draft: &mut BackupDraft,
    source: &BackupSource,
    archive: &dyn Archive,
    copied: &CopiedZone,
) -> anyhow::Result<u64> {
    let (zone, end) = (&copied.head.zone, copied.head.position);
    let archived = source.archived(zone).await?;
    let newest = archived.as_ref().and_then(|zone| zone.blobs.first());
    let covered: Option<Tick> = newest.map(|blob| blob.mark.position.tick.min(end.tick));
    let (mut after, mut rows) = (None, 0);
    'pages: while let Some(covered) = covered {
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

/// Writes the bans that the archive has.
pub(super) async fn write_bans(draft: &mut BackupDraft, source: &BackupSource) -> anyhow::Result<()> {
    let Some(archive) = source.archive().await? else {
        return Ok(());
    };
    let mut after = None;
    loop {
        let bans = answer(ANSWER_MAX, archive.bans(after, ARCHIVE_PAGE_ROWS_MAX)).await?;
        let Some(last) = bans.last() else { return Ok(()) };
        after = Some(last.account);
        for ban in bans {
            draft.write(&BackupFrame::Ban(ban))?;
        }
    }
}

/// Writes deleted accounts, and characters that rest in the name of no zone. Returns the deleted ones, in order.
pub(super) async fn write_outside(
    draft: &mut BackupDraft,
    source: &BackupSource,
    seen: &SeenAccounts,
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
