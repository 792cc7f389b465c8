//! The archive, as `everhold verify` looks at it: blobs, whether each restores to the digest that it says, and whether
//! the rows of a zone's characters say what the blob of the same commit does.

use std::collections::BTreeMap;
use std::sync::Arc;

use everhold_core::durability::adoption::ANSWER_MAX;
use everhold_core::durability::archive::{
    Archive, ArchiveError, ArchivedAccount, ArchivedBlob, ArchivedCharacter, ArchivedPayload, ArchivedZone, Belonging,
    ColumnValue, WallMs,
};
use everhold_core::durability::archivist::{CutFacts, character_row};
use everhold_core::limits::ARCHIVE_PAGE_ROWS_MAX;
use everhold_core::ownership::RulesTag;
use everhold_core::zone::{CaptureTitle, Cut, Game, Zone};
use everhold_protocol::{Account, ZoneName};

use super::findings::{VerifyFindings, ZoneFindings};
use super::zone::KeptWorlds;
use crate::config::ArchivePlace;
use crate::deadline::answer;
use crate::stores::ArchiveDoor;

/// The columns and belongings of a character, by which a row and a blob are compared.
type CharacterColumns = (Vec<ColumnValue>, Vec<Belonging>);

/// Looks at all zones of an archive.
pub(super) async fn look_at(
    place: ArchivePlace,
    worlds: &KeptWorlds,
    zones: &mut Vec<ZoneFindings>,
    world: &mut VerifyFindings,
) -> anyhow::Result<()> {
    if let ArchivePlace::File(path) = &place
        && !path.exists()
    {
        world.note(format!("there is no archive at {}", path.display()));
        return Ok(());
    }
    let game: Arc<dyn Game> = worlds.own();
    let door = ArchiveDoor::new(place, game).await?;
    let archive = door.archive().await?;
    let mut after: Option<ZoneName> = None;
    loop {
        let page = answer(ANSWER_MAX, archive.zones(after.as_ref(), ARCHIVE_PAGE_ROWS_MAX)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.zone.clone());
        for archived in page {
            let known = zones.iter().position(|found| found.zone == archived.zone);
            let place = known.unwrap_or_else(|| {
                zones.push(ZoneFindings::new(archived.zone.clone()));
                zones.len() - 1
            });
            look_at_zone(archive, worlds, &archived, &mut zones[place]).await?;
        }
    }
}

async fn look_at_zone(
    archive: &dyn Archive,
    worlds: &KeptWorlds,
    archived: &ArchivedZone,
    found: &mut ZoneFindings,
) -> anyhow::Result<()> {
    for blob in &archived.blobs {
        let tick = blob.mark.position.tick;
        let Some(body) = read_blob(archive, archived, blob, found).await? else {
            continue;
        };
        let id = match CaptureTitle::read(&body) {
            Ok(title) => title.terms.map(|(_, id)| id),
            Err(error) => {
                found
                    .findings
                    .damage("blob_damaged", format!("the blob of tick {tick}: {error}"));
                continue;
            }
        };
        let Some(config) = id.and_then(|id| worlds.config(&archived.zone, id)) else {
            let tag = id.map_or_else(|| "unknown".to_owned(), |id| RulesTag::new(&id).to_string());
            found.findings.note(format!(
                "the blob of tick {tick} is of the rules {tag}, which are not at hand"
            ));
            continue;
        };
        let game = Arc::clone(&config.game);
        match Zone::restore(config, &[&body]) {
            Ok(zone) => {
                found.blobs += 1;
                // Rows change with later commits.
                if archived.last == Some(blob.mark) {
                    compare_rows(archive, (zone, game), found).await?;
                }
            }
            Err(error) => found
                .findings
                .damage("blob_damaged", format!("the blob of tick {tick}: {error}")),
        }
    }
    Ok(())
}

/// Reads a blob; `None` if it is damaged, which is noted.
async fn read_blob(
    archive: &dyn Archive,
    archived: &ArchivedZone,
    blob: &ArchivedBlob,
    found: &mut ZoneFindings,
) -> anyhow::Result<Option<Vec<u8>>> {
    let tick = blob.mark.position.tick;
    let mut body = Vec::new();
    for index in 0..blob.blob.parts {
        let part = answer(
            ANSWER_MAX,
            archive.read_blob_part(&archived.zone, None, blob.mark, index),
        )
        .await;
        match part {
            Ok(Some(part)) => body.extend_from_slice(&part),
            Ok(None) => {
                let now = answer(ANSWER_MAX, archive.zone(&archived.zone, None)).await?;
                // A commit meanwhile has deleted it.
                if now.is_none_or(|now| now.blobs.contains(blob)) {
                    let text = format!("part {index} of the blob of tick {tick} is missing");
                    found.findings.damage("blob_damaged", text);
                }
                return Ok(None);
            }
            Err(ArchiveError::Corrupt(why)) => {
                found
                    .findings
                    .damage("blob_damaged", format!("the blob of tick {tick}: {why}"));
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if body.len() as u64 == blob.blob.bytes {
        return Ok(Some(body));
    }
    let (is, was) = (body.len(), blob.blob.bytes);
    found.findings.damage(
        "blob_damaged",
        format!("the blob of tick {tick} has {is} of {was} bytes"),
    );
    Ok(None)
}

async fn compare_rows(
    archive: &dyn Archive,
    (mut zone, game): (Zone, Arc<dyn Game>),
    found: &mut ZoneFindings,
) -> anyhow::Result<()> {
    let name = found.zone.clone();
    let frozen = zone.freeze(Cut::Base);
    let mut expected: BTreeMap<Account, CharacterColumns> = BTreeMap::new();
    for character in CutFacts::of(&frozen, &*game, WallMs::default()).characters {
        let row = character_row(&name, &character);
        expected.insert(row.account, (row.columns, row.belongings.unwrap_or_default()));
    }
    let mut after = None;
    loop {
        let page = answer(ANSWER_MAX, archive.accounts(Some(&name), after, ARCHIVE_PAGE_ROWS_MAX)).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.account());
        for account in page {
            let ArchivedAccount::Character(row) = account else {
                continue;
            };
            if row.payload == ArchivedPayload::Damaged {
                let text = format!("the character of account {}, which rests, is damaged", row.account.0);
                found.findings.damage("character_damaged", text);
            }
            let Some(of_blob) = expected.remove(&row.account) else {
                // It rests outside its zone, or its account is reserved and it is not born.
                if row.payload != ArchivedPayload::Absent || row.stamp.is_none() {
                    continue;
                }
                let text = format!(
                    "the row of account {} is of a character that the blob lacks",
                    row.account.0
                );
                found.findings.damage("row_without_character", text);
                continue;
            };
            found.rows += 1;
            compare_row(archive, &row, of_blob, found).await?;
        }
    }
    for account in expected.keys() {
        // A character that has moved on has its row elsewhere.
        if answer(ANSWER_MAX, archive.account(*account)).await?.is_none() {
            let text = format!(
                "the blob has a character of account {}, of which there is no row",
                account.0
            );
            found.findings.damage("character_without_row", text);
        }
    }
    Ok(())
}

async fn compare_row(
    archive: &dyn Archive,
    row: &ArchivedCharacter,
    (columns, mut belongings): CharacterColumns,
    found: &mut ZoneFindings,
) -> anyhow::Result<()> {
    let account = row.account;
    let mut stored = answer(ANSWER_MAX, archive.belongings(account)).await?;
    belongings.sort_unstable_by_key(|thing| thing.id);
    stored.sort_unstable_by_key(|thing| thing.id);
    if row.columns != columns {
        let text = format!("the row of account {} says other columns than the blob", account.0);
        found.findings.damage("row_differs", text);
    }
    if stored != belongings {
        let text = format!("the belongings of account {} are others than in the blob", account.0);
        found.findings.damage("row_differs", text);
    }
    Ok(())
}
