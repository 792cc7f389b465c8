//! `everhold export`: everything that a store has of a zone, or the evidence that it keeps of one, in one file. It
//! takes no lease, raises no fence, and changes nothing but the mark of evidence.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use everhold_core::durability::adoption::ANSWER_MAX;
use everhold_core::durability::evidence::{EvidenceFate, StoredEvidence};
use everhold_core::durability::history::HistoryReader;
use everhold_core::durability::store::ZoneStore;
use everhold_protocol::ZoneName;

use super::UsageError;
use super::history::{CodedError, LocalWorld, chained, file_error, write_history};
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
    /// Delete the evidence: after it was written to `--output`, or if it was exported before.
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
        let store = stores::open_storage(&places.store).await?.0;
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
    Ok(())
}

async fn export_evidence(store: &dyn ZoneStore, arguments: &ExportArguments) -> anyhow::Result<()> {
    let zone = &arguments.zone;
    let Some(evidence) = answer(ANSWER_MAX, store.evidence(zone)).await? else {
        return Err(CodedError::new("no_evidence", format!("the store keeps no evidence of zone `{zone}`")).into());
    };
    if let Some(path) = &arguments.output {
        let mut file = Draft::beside(path)?;
        write_evidence(store, zone, evidence, file.0.as_file_mut()).await?;
        file.put_in_place(path)?;
        if !arguments.forget {
            // What is forgotten needs no mark, for which a full store may have no room.
            settle(store, zone, evidence, EvidenceFate::Exported).await?;
        }
        let mark = evidence.mark;
        super::print(format_args!(
            "{}: zone {zone} is {} at tick {}, found by epoch {}, {} bytes",
            path.display(),
            mark.why,
            mark.tick,
            mark.epoch,
            mark.bytes
        ))?;
    } else if !evidence.is_exported {
        let why = "it was never exported: name a file with -o, and it is deleted when that is whole";
        return Err(UsageError(why.to_owned()).into());
    }
    if arguments.forget {
        settle(store, zone, evidence, EvidenceFate::Forgotten).await?;
        super::print(format_args!("the evidence of zone {zone} is deleted"))?;
    }
    Ok(())
}

/// Writes the parts of the evidence, and checks that they are a whole file.
async fn write_evidence(
    store: &dyn ZoneStore,
    zone: &ZoneName,
    evidence: StoredEvidence,
    file: &mut File,
) -> anyhow::Result<()> {
    let damaged = |error: String| CodedError::new("evidence_damaged", error);
    let mut reader = HistoryReader::default();
    for index in 0..evidence.mark.parts {
        let part = answer(ANSWER_MAX, store.read_evidence(zone, index)).await?;
        let part = part.ok_or_else(|| damaged(format!("part {index} of the evidence is missing")))?;
        reader.push(&part);
        while reader.poll().map_err(|error| damaged(chained(&error)))?.is_some() {}
        file.write_all(&part).map_err(file_error)?;
    }
    reader.finish().map_err(|error| damaged(chained(&error)))?;
    Ok(())
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
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or_else(|| Path::new("."));
        let draft = tempfile::NamedTempFile::new_in(directory);
        draft
            .map(Self)
            .with_context(|| format!("make a file in {}", directory.display()))
    }

    fn put_in_place(self, path: &Path) -> anyhow::Result<()> {
        self.0.as_file().sync_all().map_err(file_error)?;
        let placed = self.0.persist(path).map_err(|error| error.error);
        placed
            .map(drop)
            .with_context(|| format!("name the file {}", path.display()))
    }
}
