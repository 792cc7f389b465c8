//! Settles, when a shard starts, which rules its world is to run: its file is kept, and becomes the wanted one if the
//! world is at rest. Who may change them is decided in `ownership::settlement`.

use anyhow::Context;
use everhold_core::durability::backup::RestoreMarker;
use everhold_core::durability::rules_store::{RulesStore, WorldFile};
use everhold_core::durability::store::{StoreError, ZoneStore};
use everhold_core::game::RuleBook;
use everhold_core::ownership::settlement::{RestState, Settlement, ZoneAtRest, settle};
use everhold_core::ownership::{Authority, Leases, RulesId, RulesStamp, RulesTag};
use everhold_protocol::ZoneName;

use crate::stores::{Coordination, keep_forgotten};

/// Returns the file of a world at a tick rate, as the store keeps it.
pub fn world_file(rules: &RuleBook, tick_hz: u16) -> WorldFile {
    WorldFile {
        rules: rules.stamp(tick_hz),
        tick_hz,
        text: rules.to_toml(),
    }
}

/// Keeps the world's file, and puts its rules on record if the world may run them from now on. Call it before the shard
/// joins the directory.
pub(super) async fn settle_rules(
    (rules, zones): (&dyn RulesStore, &dyn ZoneStore),
    coordination: &Coordination,
    file: &WorldFile,
) -> anyhow::Result<()> {
    let ours = file.rules;
    let wanted = rules.wanted().await.context("read which rules the world is to run")?;
    RestoreMarker::refuse(wanted)?;
    keep_forgotten(rules, file)
        .await
        .context("keep the world file in the store")?;
    // As at every other start. It asks for no zone, of which one may be away.
    if wanted == Some(ours.id) {
        return Ok(());
    }
    let rest = zones_at_rest(coordination.authority.as_ref(), zones).await?;
    match settle(&ours, wanted, &rest) {
        Settlement::Wanted => {}
        Settlement::Want => {
            let now = rules
                .want(wanted, ours.id)
                .await
                .context("say which rules the world is to run")?;
            if now == Some(ours.id) {
                tracing::info!(
                    rules = short(ours.id),
                    "the world runs the rules of this shard's file from now on"
                );
                drop_other_files(rules, [wanted, now], &rest).await?;
            } else {
                warn_unwanted(ours.id, now, None);
            }
        }
        Settlement::Leave(zone) => warn_unwanted(ours.id, wanted, Some(&zone)),
    }
    Ok(())
}

/// Reads the rules of the world files that are kept.
pub async fn kept_rules(rules: &dyn RulesStore) -> anyhow::Result<Vec<RulesStamp>> {
    let mut kept = Vec::new();
    for id in rules.kept_files().await.context("read which world files are kept")? {
        match rules.kept_file(id).await {
            Ok(file) => kept.extend(file.map(|file| file.rules)),
            Err(StoreError::Corrupt(why)) => tracing::warn!(rules = short(id), why, "a kept world file is damaged"),
            Err(error) => return Err(error).context("read a kept world file"),
        }
    }
    Ok(kept)
}

/// Deletes the world files of all rules but these: those that are wanted from now on, those that were before, and those
/// that a zone needs which is not sealed. If it is not known which rules some zone runs, all files stay.
pub async fn drop_other_files(
    rules: &dyn RulesStore,
    kept: [Option<RulesId>; 2],
    zones: &[ZoneAtRest],
) -> anyhow::Result<()> {
    let mut needed = Vec::new();
    for zone in zones {
        match zone.state {
            RestState::Nothing | RestState::Sealed(_) => {}
            RestState::Owned(Some(tag)) | RestState::Unsealed(Some(tag)) => needed.push(tag),
            RestState::Owned(None) | RestState::Unsealed(None) => return Ok(()),
        }
    }
    for id in rules.kept_files().await.context("read which world files are kept")? {
        if !kept.contains(&Some(id)) && !needed.contains(&RulesTag::new(&id)) {
            rules.drop_file(id).await.context("delete a world file")?;
        }
    }
    Ok(())
}

fn warn_unwanted(ours: RulesId, wanted: Option<RulesId>, zone: Option<&ZoneName>) {
    tracing::error!(
        ours = short(ours),
        wanted = wanted.map(short),
        zone = zone.map(tracing::field::display),
        "the world is to run other rules than this shard's file: it adopts only zones that ran its own. `everhold \
         rules plan` shows what the file changes, `everhold rules apply` has it taken over"
    );
}

/// The first bytes of an id, as `inspect` shows them.
fn short(id: RulesId) -> String {
    RulesTag::new(&id).to_string()
}

/// Reads what authority and store show of every zone that the authority knows.
pub async fn zones_at_rest(authority: &dyn Authority, zones: &dyn ZoneStore) -> anyhow::Result<Vec<ZoneAtRest>> {
    let Leases { views, unread, .. } = authority.leases().await.context("read the leases")?;
    let mut rest = Vec::new();
    for view in views {
        let summary = match zones.summary(&view.zone).await {
            // It is gone, and a shard with memory may write it anew.
            Err(StoreError::Lost) => None,
            summary => summary.with_context(|| format!("read what the store has of {}", view.zone))?,
        };
        rest.push(ZoneAtRest::new(
            &view,
            summary.map(|summary| (summary.data(), summary.seal.map(|seal| seal.rules))),
        ));
    }
    rest.extend(unread.into_iter().map(ZoneAtRest::unknown));
    Ok(rest)
}
