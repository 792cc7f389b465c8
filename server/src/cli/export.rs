//! `everhold export`: everything that a store has of a zone, or the evidence that it keeps of one, in one file. It
//! takes no lease, raises no fence, and changes nothing but the mark of evidence.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use everhold_core::durability::adoption::ANSWER_MAX;
use everhold_core::durability::evidence::{EvidenceFate, StoredEvidence};
use everhold_core::durability::salvage::SalvageSummary;
use everhold_core::durability::store::{StoreError, ZoneStore};
use everhold_protocol::ZoneName;

use super::UsageError;
use super::history::{CodedError, LocalWorld, file_error, salvage, write_history};
use super::store::StoreArguments;
use crate::deadline::answer;
use crate::stores;

/// Arguments of `everhold export`.
#[derive(Args)]
pub struct ExportArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The zone.
    #[arg(long, value_name = "NAME")]
    zone: ZoneName,
    /// The world's file that the zone ran in, if the configuration names another: it goes into the file.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// The file to write; one of that name is replaced when the new one is whole.
    #[arg(short, long, value_name = "FILE", required_unless_present = "forget")]
    output: Option<PathBuf>,
    /// Write the evidence of a divergent or forked zone instead, and mark it as exported.
    #[arg(long)]
    evidence: bool,
    /// Delete the evidence: after it was written to `--output`, if it was exported before, or if it is damaged.
    #[arg(long, requires = "evidence")]
    forget: bool,
}

/// Exports a zone.
pub fn run(arguments: &ExportArguments) -> anyhow::Result<ExitCode> {
    let places = arguments.store.resolve()?;
    let world = LocalWorld::load(&arguments.store, arguments.world.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        stores::ensure_exists(&places)?;
        let store = stores::open_storage(&places.store, None).await?.zones;
        if arguments.evidence {
            export_evidence(store.as_ref(), arguments).await
        } else {
            let path = arguments.output.as_deref().expect("required by the parser");
            export_zone(store.as_ref(), &arguments.zone, &world, path).await
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn export_zone(store: &dyn ZoneStore, zone: &ZoneName, world: &LocalWorld, path: &Path) -> anyhow::Result<()> {
    let mut file = Draft::beside(path)?;
    let summary = write_history(store, zone, world.to_export(), file.0.as_file_mut()).await?;
    file.put_in_place(path)?;
    let journal = summary.journal.map_or_else(
        || "no journal".to_owned(),
        |(first, last)| format!("the journal of ticks {first} to {last}"),
    );
    super::print(format_args!(
        "{}: zone {zone}, {} checkpoints, {journal}, {} bytes",
        path.display(),
        summary.checkpoints,
        summary.bytes
    ))?;
    if !summary.has_rules {
        tracing::warn!("the zone ran other rules than are at hand: its world is not in the file; name it with --world");
    }
    if summary.missing_parts + summary.missing_records > 0 {
        tracing::warn!(
            parts = summary.missing_parts,
            records = summary.missing_records,
            "stored data is damaged: the file is without it"
        );
    }
    if summary.broken_records > 0 {
        tracing::warn!(
            records = summary.broken_records,
            "stored records do not follow those before them: the file has them as they are"
        );
    }
    Ok(())
}

async fn export_evidence(store: &dyn ZoneStore, arguments: &ExportArguments) -> anyhow::Result<()> {
    let zone = &arguments.zone;
    let evidence = match answer(ANSWER_MAX, store.evidence(zone)).await {
        Ok(Some(evidence)) => evidence,
        Ok(None) => {
            let why = format!("the store keeps no evidence of zone `{zone}`");
            return Err(CodedError::new("no_evidence", why).into());
        }
        Err(StoreError::Corrupt(why)) if arguments.forget => {
            answer(ANSWER_MAX, store.discard_evidence(zone)).await?;
            return super::print(format_args!(
                "the evidence of zone {zone} is deleted: its mark could not be read, so nothing of it was written \
                 ({why})"
            ));
        }
        Err(StoreError::Corrupt(why)) => {
            let why = format!("the mark of the evidence: {why}; `--forget` deletes it");
            return Err(CodedError::new("evidence_damaged", why).into());
        }
        Err(error) => return Err(error.into()),
    };
    let mut damage = None;
    if let Some(path) = &arguments.output {
        damage = write_evidence(store, arguments, evidence, path).await?;
    } else if !evidence.is_exported {
        // Only what is whole is worth to be exported first.
        damage = salvage(store, zone, evidence.mark, &mut std::io::sink()).await?.damage;
        if damage.is_none() {
            let why = "it was never exported: name a file with -o, and it is deleted when that is whole";
            return Err(UsageError(why.to_owned()).into());
        }
    }
    if arguments.forget {
        settle(store, zone, evidence, EvidenceFate::Forgotten).await?;
        let damage = damage.map_or_else(String::new, |damage| format!("; it was damaged: {damage}"));
        super::print(format_args!("the evidence of zone {zone} is deleted{damage}"))?;
    }
    Ok(())
}

/// Writes the evidence into the file, and marks it as exported unless it is to be deleted. One that is damaged is
/// written as far as it can be read if it is to be deleted, and else not at all. Returns the damage.
async fn write_evidence(
    store: &dyn ZoneStore,
    arguments: &ExportArguments,
    evidence: StoredEvidence,
    path: &Path,
) -> anyhow::Result<Option<String>> {
    let (zone, mark) = (&arguments.zone, evidence.mark);
    let mut file = Draft::beside(path)?;
    let SalvageSummary { frames, bytes, damage } = salvage(store, zone, mark, file.0.as_file_mut()).await?;
    match &damage {
        Some(damage) if !arguments.forget => {
            let why = format!("{damage}; with `--forget` it is deleted, and what can be read of it is written");
            return Err(CodedError::new("evidence_damaged", why).into());
        }
        Some(_) if frames == 0 => {
            super::print(format_args!(
                "nothing of the evidence can be read: {} is not written",
                path.display()
            ))?;
            return Ok(damage);
        }
        Some(_) => super::print(format_args!(
            "the evidence is damaged: the file has what stands before that"
        ))?,
        None => {}
    }
    file.put_in_place(path)?;
    if !arguments.forget {
        // What is forgotten needs no mark, for which a full store may have no room.
        settle(store, zone, evidence, EvidenceFate::Exported).await?;
    }
    super::print(format_args!(
        "{}: zone {zone} is {} at tick {}, found by epoch {}, {bytes} bytes",
        path.display(),
        mark.why,
        mark.tick,
        mark.epoch,
    ))?;
    Ok(damage)
}

async fn settle(
    store: &dyn ZoneStore,
    zone: &ZoneName,
    evidence: StoredEvidence,
    fate: EvidenceFate,
) -> anyhow::Result<()> {
    let settled = answer(ANSWER_MAX, store.settle_evidence(zone, evidence.mark, fate)).await?;
    if settled {
        return Ok(());
    }
    let why = "the evidence was deleted meanwhile, by another `everhold export --forget`";
    Err(CodedError::new("no_evidence", why).into())
}

/// A file under another name, until it is whole. One that is given up is removed.
struct Draft(tempfile::NamedTempFile);

impl Draft {
    fn beside(path: &Path) -> anyhow::Result<Self> {
        let directory = directory_of(path);
        let draft = tempfile::NamedTempFile::new_in(directory);
        draft
            .map(Self)
            .with_context(|| format!("make a file in {}", directory.display()))
    }

    /// Gives the file its name. When that is done, a power loss takes neither the file nor the name: evidence may be
    /// deleted then.
    fn put_in_place(self, path: &Path) -> anyhow::Result<()> {
        self.0.as_file().sync_all().map_err(file_error)?;
        let placed = self.0.persist(path).map_err(|error| error.error);
        let named = placed.and_then(|_file| File::open(directory_of(path))?.sync_all());
        named.with_context(|| format!("name the file {}", path.display()))
    }
}

/// Returns the directory of a file.
fn directory_of(path: &Path) -> &Path {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    directory.unwrap_or_else(|| Path::new("."))
}
