//! A zone in the state store, as `everhold verify` looks at it: checkpoints, journal, seal, evidence, and the homes of
//! its characters. What is wrong with a history is decided in core.

use std::collections::BTreeMap;
use std::io::Seek;
use std::sync::Arc;

use everhold_core::durability::adoption::ANSWER_MAX;
use everhold_core::durability::audit::{Checkup, ZoneHistory, audit};
use everhold_core::durability::export::ExportSummary;
use everhold_core::durability::history::HistoryWorld;
use everhold_core::durability::rules_store::RulesStore;
use everhold_core::durability::store::StoreError;
use everhold_core::game::RuleBook;
use everhold_core::ownership::{RulesId, RulesTag};
use everhold_core::zone::ZoneConfig;
use everhold_protocol::{Account, ZoneName};

use super::super::history::{
    CodedError, LocalWorld, chained, file_error, read_history, replay_code, salvage, write_history,
};
use super::findings::{VerifyFindings, ZoneFindings};
use crate::deadline::answer;
use crate::stores::Storage;

/// The rules that are at hand: those of the files that the store has kept, and those of this command.
pub(super) struct KeptWorlds {
    books: BTreeMap<RulesId, (Arc<RuleBook>, u16)>,
    own: Arc<RuleBook>,
}

impl KeptWorlds {
    pub(super) async fn read(
        rules: &dyn RulesStore,
        local: LocalWorld,
        found: &mut VerifyFindings,
    ) -> anyhow::Result<Self> {
        let (own, tick_hz) = local.into_book();
        let own = Arc::new(own);
        let mut books = BTreeMap::from([(own.rules_id(tick_hz), (Arc::clone(&own), tick_hz))]);
        for id in answer(ANSWER_MAX, rules.kept_files()).await? {
            let tag = RulesTag::new(&id);
            match answer(ANSWER_MAX, rules.kept_file(id)).await {
                Ok(None) => {}
                Ok(Some(file)) => match RuleBook::from_toml(&file.text) {
                    Ok(book) if book.stamp(file.tick_hz) == file.rules => {
                        books.insert(id, (Arc::new(book), file.tick_hz));
                    }
                    // Another build's rules have other ids, and their files may say what this one does not read.
                    _ if book_is_of_another_build(&own, tick_hz, &file.rules) => found.note(format!(
                        "the kept world file of the rules {tag} is another build's (code {}, layout {})",
                        file.rules.code, file.rules.layout
                    )),
                    _ => found.damage(
                        "world_file_damaged",
                        format!("the kept world file of the rules {tag} does not give those rules"),
                    ),
                },
                Err(StoreError::Corrupt(why)) => found.damage("world_file_damaged", why),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { books, own })
    }

    /// Returns the configuration of a zone under these rules, if they are at hand and have the zone.
    pub(super) fn config(&self, zone: &ZoneName, id: RulesId) -> Option<ZoneConfig> {
        let (book, tick_hz) = self.books.get(&id)?;
        book.zone(zone)?;
        Some(ZoneConfig {
            name: zone.clone(),
            seed: 0,
            tick_hz: *tick_hz,
            game: Arc::<RuleBook>::clone(book),
        })
    }

    /// Returns the rules of this command, which say what an archive holds.
    pub(super) fn own(&self) -> Arc<RuleBook> {
        Arc::clone(&self.own)
    }
}

fn book_is_of_another_build(own: &RuleBook, tick_hz: u16, theirs: &everhold_core::ownership::RulesStamp) -> bool {
    own.stamp(tick_hz).can_replay(theirs).is_err()
}

/// Looks at a zone.
pub(super) async fn look_at(
    storage: &Storage,
    worlds: &KeptWorlds,
    zone: ZoneName,
    replays: bool,
) -> anyhow::Result<ZoneFindings> {
    let mut found = ZoneFindings::new(zone.clone());
    match answer(ANSWER_MAX, storage.zones.summary(&zone)).await {
        Ok(Some(summary)) => found.is_sealed = summary.seal.is_some(),
        Ok(None) => {
            found.findings.note("the zone was never begun");
            return Ok(found);
        }
        Err(StoreError::Lost) => {
            found.findings.damage("zone_lost", "the store has lost the zone");
            return Ok(found);
        }
        Err(StoreError::Corrupt(why)) => {
            found.findings.damage("store_corrupt", why);
            return Ok(found);
        }
        Err(error) => return Err(error.into()),
    }
    if let Some(history) = stored_history(storage, &mut found).await? {
        check_history(worlds, &history, replays, &mut found);
    }
    check_evidence(storage, &mut found).await?;
    check_homes(storage, &mut found).await?;
    Ok(found)
}

/// Reads the zone into a file without a name, and that into memory.
async fn stored_history(storage: &Storage, found: &mut ZoneFindings) -> anyhow::Result<Option<ZoneHistory>> {
    let mut file = tempfile::tempfile().map_err(file_error)?;
    let zone = found.zone.clone();
    let summary = match write_history(storage.zones.as_ref(), &zone, HistoryWorld::default(), &mut file).await {
        Ok(summary) => summary,
        Err(error) => {
            let error = CodedError::of(error);
            found.findings.damage(error.code, error.to_string());
            return Ok(None);
        }
    };
    file.rewind().map_err(file_error)?;
    let ExportSummary {
        checkpoints,
        records,
        missing_records,
        ..
    } = summary;
    (found.checkpoints, found.records) = (checkpoints, records);
    if missing_records > 0 {
        let text = format!("{missing_records} records that the store ought to have are missing, or cannot be read");
        found.findings.damage("records_missing", text);
    }
    read_history(file).map(Some)
}

fn check_history(worlds: &KeptWorlds, history: &ZoneHistory, replays: bool, found: &mut ZoneFindings) {
    let zone = found.zone.clone();
    let Checkup {
        flaws,
        restored,
        rules_missing,
        newest,
    } = history.checkup(&|id| worlds.config(&zone, id));
    found.restored = restored;
    for flaw in &flaws {
        found.findings.damage(flaw.code(), flaw.to_string());
    }
    for id in rules_missing {
        let tag = RulesTag::new(&id);
        found.findings.note(format!(
            "checkpoints of the rules {tag} were not restored: name their world file with --world"
        ));
    }
    if let Some(mut newest) = newest {
        found.accounts = newest.accounts();
    }
    if replays {
        replay(worlds, history, found);
    }
}

fn replay(worlds: &KeptWorlds, history: &ZoneHistory, found: &mut ZoneFindings) {
    let Some(id) = history.ran_under() else {
        return found
            .findings
            .note("nothing says which rules it ran: it was not replayed");
    };
    let Some(config) = worlds.config(&found.zone, id) else {
        let tag = RulesTag::new(&id);
        let note = format!("it ran the rules {tag}, which are not at hand: it was not replayed");
        return found.findings.note(note);
    };
    match audit(history, (None, None), config, &mut |_, _| {}) {
        Ok((report, _)) => {
            (found.replayed, found.digests) = (report.replayed_ticks, report.checked_digests);
            if let Some(difference) = report.difference {
                let text = format!(
                    "after tick {} the replay is another world than was recorded",
                    difference.tick
                );
                found.findings.damage("divergent", text);
            }
            if let Some(damage) = report.damage {
                let code = replay_code(&damage);
                found
                    .findings
                    .damage(code, format!("the replay ends: {}", chained(&damage)));
            }
        }
        Err(error) => {
            let text = format!("it cannot be replayed: {}", chained(&error));
            found.findings.damage(CodedError::from(error).code, text);
        }
    }
}

async fn check_evidence(storage: &Storage, found: &mut ZoneFindings) -> anyhow::Result<()> {
    let store = storage.zones.as_ref();
    match answer(ANSWER_MAX, store.evidence(&found.zone)).await {
        Ok(None) | Err(StoreError::Lost) => {}
        Ok(Some(evidence)) => {
            let salvaged = salvage(store, &found.zone, evidence.mark, &mut std::io::sink()).await?;
            if let Some(damage) = salvaged.damage {
                found.findings.damage("evidence_damaged", damage);
            }
        }
        Err(StoreError::Corrupt(why)) => found.findings.damage("evidence_damaged", why),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Each character of the zone has a home that can be read, or none yet.
async fn check_homes(storage: &Storage, found: &mut ZoneFindings) -> anyhow::Result<()> {
    for account in found.accounts.clone() {
        let record = answer(ANSWER_MAX, storage.homes.record(account)).await;
        match record.map(|record| record.map(|record| record.home)) {
            Ok(_) => {}
            Err(StoreError::Corrupt(why)) => {
                found
                    .findings
                    .damage("home_damaged", format!("account {}: {why}", account.0));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Notes the accounts that have a character in two zones.
pub(super) fn note_players_twice(zones: &[ZoneFindings], world: &mut VerifyFindings) {
    let mut seen: BTreeMap<Account, &ZoneName> = BTreeMap::new();
    for zone in zones {
        for account in &zone.accounts {
            if let Some(first) = seen.insert(*account, &zone.zone) {
                let text = format!("account {} has a character in {first} and in {}", account.0, zone.zone);
                world.damage("character_twice", text);
            }
        }
    }
}
