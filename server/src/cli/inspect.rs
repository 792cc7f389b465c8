//! `everhold inspect`: what authority, store, and archive say of a world. It takes no lease, raises no fence, and makes
//! no world; the files of one it opens as a shard does.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use comfy_table::{Table, presets};
use everhold_core::durability::evidence::{EvidenceWhy, StoredEvidence};
use everhold_core::durability::store::{StoreError, ZoneStore};
use everhold_core::ownership::{Authority, LeaseView, Leases};
use everhold_protocol::{Epoch, Tick, ZoneName};
use serde::Serialize;

use super::store::StoreArguments;
use crate::config::{ArchiveConfig, ArchivePlace};
use crate::{deadline, stores};

/// A database that does not answer a person within this time is not there.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Arguments of `everhold inspect`.
#[derive(Args)]
pub struct InspectArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// One zone, as authority and store show it.
#[derive(Debug, Serialize)]
struct ZoneRow {
    zone: ZoneName,
    /// `None`: the lease is released, and no shard holds it.
    owner: Option<SocketAddr>,
    /// The state of its owner, as the lease shows it.
    state: OwnerState,
    epoch: Epoch,
    players: u32,
    /// The newest record in the store: output of ticks up to it may have been seen.
    released_tick: Option<Tick>,
    journal_first_tick: Option<Tick>,
    checkpoint_tick: Option<Tick>,
    /// Ticks that an adopter would have to replay.
    checkpoint_lag_ticks: Option<u64>,
    base_tick: Option<Tick>,
    fence_epoch: Option<Epoch>,
    /// The rules of the owner that hosted it last, as the first bytes of their id: a shard of other rules leaves it
    /// alone.
    rules: Option<String>,
    /// The id of the rules under which the zone was stopped and sealed: shards of other rules may take it over. `None`:
    /// it is not sealed.
    sealed_rules: Option<String>,
    /// The last tick that the archive has, if there is one that answers.
    archive_tick: Option<Tick>,
    /// Ticks that the archive is behind the store.
    archive_lag_ticks: Option<u64>,
    /// The reason why it is not known what the archive has.
    archive_unread: Option<String>,
    /// Evidence that the zone went wrong, if the store keeps any.
    evidence: Option<EvidenceRow>,
    /// The reason why it is not known whether the store keeps any: its mark cannot be read.
    evidence_unread: Option<String>,
}

/// The state of a zone's owner, as its lease shows it. One that died is shown as before: only a watch of the lease
/// tells.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum OwnerState {
    /// It hosts the zone.
    Hosts,
    /// It was granted the zone, and has not hosted it yet.
    Adopts,
    /// There is none: the zone was released, or was never held.
    None,
}

impl OwnerState {
    fn of(lease: &LeaseView) -> Self {
        match lease.mark {
            _ if lease.released || lease.epoch == Epoch::NONE => Self::None,
            Some(mark) if mark.data.epoch < lease.epoch => Self::Adopts,
            _ => Self::Hosts,
        }
    }
}

impl std::fmt::Display for OwnerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hosts => "hosts",
            Self::Adopts => "adopts",
            Self::None => "NO OWNER",
        })
    }
}

/// The evidence of a zone, as the store keeps it.
#[derive(Debug, Serialize)]
struct EvidenceRow {
    why: EvidenceWhy,
    /// The first tick that differs.
    tick: Tick,
    /// The epoch of the owner that found it.
    epoch: Epoch,
    bytes: u64,
    is_exported: bool,
    /// Times that it was found again.
    later: u64,
}

impl From<StoredEvidence> for EvidenceRow {
    fn from(evidence: StoredEvidence) -> Self {
        let StoredEvidence {
            mark,
            is_exported,
            later,
        } = evidence;
        Self {
            why: mark.why,
            tick: mark.tick,
            epoch: mark.epoch,
            bytes: mark.bytes,
            is_exported,
            later,
        }
    }
}

impl std::fmt::Display for EvidenceRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            why,
            tick,
            epoch,
            bytes,
            ..
        } = self;
        let exported = if self.is_exported { "exported" } else { "not exported" };
        write!(
            f,
            "{why} at tick {tick}, found by epoch {epoch}, {bytes} bytes, {exported}"
        )?;
        match self.later {
            0 => Ok(()),
            later => write!(f, ", {later} times again"),
        }
    }
}

/// Prints every zone.
pub fn run(arguments: &InspectArguments) -> anyhow::Result<()> {
    let places = arguments.store.resolve()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let rows = runtime.block_on(async {
        stores::ensure_exists(&places)?;
        let authority = stores::open_coordination_within(&places.authority, ANSWER_MAX)
            .await?
            .authority;
        let store = stores::open_storage(&places.store, None).await?.zones;
        let mut rows = read_rows(authority.as_ref(), store.as_ref()).await?;
        if let Some(ArchiveConfig { place, .. }) = arguments.store.resolve_archive()? {
            read_archive(&place, &mut rows).await;
        }
        anyhow::Ok(rows)
    })?;
    if arguments.json {
        super::print(serde_json::to_string_pretty(&rows).context("write JSON")?)
    } else {
        super::print(table(&rows))
    }
}

async fn read_rows(authority: &dyn Authority, store: &dyn ZoneStore) -> anyhow::Result<Vec<ZoneRow>> {
    let mut rows = Vec::new();
    let Leases { views, unread, damaged } = authority.leases().await?;
    for zone in unread {
        tracing::warn!(%zone, "the lease of this zone cannot be read");
    }
    for zone in damaged {
        tracing::warn!(%zone, "the lease of this zone is damaged");
    }
    for lease in views {
        let data = store.summary(&lease.zone).await?;
        let (evidence, evidence_unread) = match store.evidence(&lease.zone).await {
            Ok(evidence) => (evidence.map(EvidenceRow::from), None),
            Err(StoreError::Corrupt(why)) => {
                tracing::warn!(zone = %lease.zone, why, "the evidence of this zone cannot be read");
                (None, Some(why))
            }
            Err(error) => return Err(error.into()),
        };
        let journal = data.and_then(|d| d.journal);
        let head = data.and_then(|d| d.head).map(|p| p.tick);
        let released_tick = journal.map(|(_, last)| last).max(head);
        rows.push(ZoneRow {
            state: OwnerState::of(&lease),
            zone: lease.zone,
            owner: Some(lease.addr).filter(|_| !lease.released),
            epoch: lease.epoch,
            players: if lease.released { 0 } else { lease.players },
            archive_tick: None,
            archive_lag_ticks: None,
            archive_unread: None,
            released_tick,
            journal_first_tick: journal.map(|(first, _)| first),
            checkpoint_tick: head,
            checkpoint_lag_ticks: released_tick.map(|last| last.0 - head.unwrap_or_default().0),
            base_tick: data.and_then(|d| d.base).map(|p| p.tick),
            fence_epoch: data.map(|d| d.fence_epoch),
            rules: lease.mark.map(|mark| mark.rules.to_string()),
            sealed_rules: data
                .and_then(|d| d.seal)
                .map(|seal| seal.rules.id.map(|byte| format!("{byte:02x}")).concat()),
            evidence,
            evidence_unread,
        });
    }
    Ok(rows)
}

/// Reads what the archive has of each zone. One that is away is no reason to say nothing of the store.
async fn read_archive(place: &ArchivePlace, rows: &mut [ZoneRow]) {
    let opened = deadline::answer(ANSWER_MAX, stores::open_archive_to_read(place)).await;
    for row in rows {
        let zone = match &opened {
            Ok(archive) => deadline::answer(ANSWER_MAX, archive.zone(&row.zone, None)).await,
            Err(error) => Err(error.clone()),
        };
        match zone {
            Ok(zone) => {
                let last = zone.and_then(|zone| zone.last).map(|last| last.position.tick);
                let released = row.released_tick.map(|tick| tick.0);
                row.archive_tick = last;
                row.archive_lag_ticks = released.map(|tick| tick.saturating_sub(last.unwrap_or_default().0));
            }
            Err(error) => row.archive_unread = Some(error.to_string()),
        }
    }
}

fn table(rows: &[ZoneRow]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header([
        "zone",
        "owner",
        "state",
        "epoch",
        "players",
        "released",
        "journal from",
        "checkpoint",
        "lag",
        "base",
        "archive lag",
        "fence",
        "rules",
        "sealed",
        "evidence",
    ]);
    for row in rows {
        table.add_row([
            row.zone.to_string(),
            row.owner.map_or_else(|| "nobody".to_owned(), |addr| addr.to_string()),
            row.state.to_string(),
            row.epoch.to_string(),
            row.players.to_string(),
            text(row.released_tick),
            text(row.journal_first_tick),
            text(row.checkpoint_tick),
            text(row.checkpoint_lag_ticks),
            text(row.base_tick),
            match &row.archive_unread {
                Some(_) => "it does not answer".to_owned(),
                None => text(row.archive_lag_ticks),
            },
            text(row.fence_epoch),
            text(row.rules.as_ref()),
            if row.sealed_rules.is_some() { "sealed" } else { "-" }.to_owned(),
            match &row.evidence_unread {
                Some(_) => "it cannot be read".to_owned(),
                None => text(row.evidence.as_ref()),
            },
        ]);
    }
    table
}

fn text(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
