//! `everhold restore`: a world begun from a backup. The file is checked whole before anything is written, and
//! nothing is written while a shard lives, or over another world.
//!
//! ```text
//!   check the file ─► no shard lives ─► place is empty ─► mark ─► claim every zone, above all epochs
//!                                                                    │
//!        release ◄─ rules on record, in the mark's place ◄─ each zone: archive, store, seal, homes
//! ```
//!
//! A zone is written as a stop in good order leaves it: one base at the tick of the copy, sealed, with no journal,
//! under an epoch above all that the file, the store, the authority, and the archive have seen. So a shard takes it
//! over as it does after any stop, and a process that lived through the end of the old world is fenced. Every write
//! may be repeated: a restore that was killed is run again with the same file, and does all of it anew, under higher
//! epochs. Until it has ended, the mark keeps every shard from starting
//! ([`everhold_core::durability::backup::RestoreMarker`]).

mod target;
mod zone;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use everhold_core::durability::backup::{BackupFrame, BackupIndex};
use everhold_protocol::ZoneName;

use self::target::RestoreTarget;
use self::zone::ZoneWriter;
use super::backup::{BackupFrames, print_index, walk};
use super::history::CodedError;
use super::store::StoreArguments;

/// Arguments of `everhold restore`.
#[derive(Args)]
pub struct RestoreArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Restores a backup.
pub fn run(arguments: &RestoreArguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    match runtime.block_on(restore(arguments)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => super::coded_failure(error),
    }
}

async fn restore(arguments: &RestoreArguments) -> anyhow::Result<()> {
    let places = arguments.store.resolve()?;
    let archive = arguments.store.resolve_archive()?;
    let ttl = arguments.store.lease_ttl()?;
    let index = walk(&arguments.file, &mut |_, _| Ok(()))?;
    print_index(&arguments.file, &index)?;
    if index.header().has_archive && archive.is_none() {
        let why = "the backup has characters at rest and a ledger, which belong into an archive, and the configuration \
                   names none (archive.url)";
        return Err(CodedError::new("needs_archive", why).into());
    }
    let mut target = RestoreTarget::open(&places, archive, &index, ttl).await?;
    target.ensure_nobody_lives().await?;
    target.begin(&index).await?;
    write_frames(arguments, &mut target, &index).await?;
    target.end(&index).await?;
    super::print("the world is restored: start its shards")
}

/// Writes everything, in the order of the file.
async fn write_frames(
    arguments: &RestoreArguments,
    target: &mut RestoreTarget,
    index: &BackupIndex,
) -> anyhow::Result<()> {
    let mut frames = BackupFrames::open(&arguments.file)?;
    let (mut unit, mut done) = (0, 0);
    let mut open: Option<ZoneWriter> = None;
    let mut counts = false;
    while let Some(frame) = frames.next()? {
        target.keep_alive().await?;
        match frame {
            BackupFrame::Zone(head) => {
                // A zone that was copied again stands in the file more than once.
                counts = index.zones()[&head.zone].unit == unit;
                unit += 1;
                if counts {
                    open = Some(ZoneWriter::begin(target, head).await?);
                }
            }
            BackupFrame::ZoneEnd => {
                if let Some(zone) = open.take() {
                    done += 1;
                    say(&zone.finish(target).await?, index, done)?;
                }
                counts = true;
            }
            BackupFrame::Part(_) | BackupFrame::Ledger(_) if !counts => {}
            BackupFrame::Character(_) if unit > 0 && !counts => {}
            BackupFrame::Part(bytes) => in_zone(&mut open)?.write_part(target, bytes).await?,
            BackupFrame::Ledger(row) => in_zone(&mut open)?.write_ledger(target, row).await?,
            BackupFrame::Character(character) => match &mut open {
                Some(zone) => zone.write_character(target, character).await?,
                None => target.put_outside(character).await?,
            },
            BackupFrame::Ban(ban) => target.put_ban(&ban).await?,
            BackupFrame::Deleted(account, generation) => target.put_deleted(account, generation).await?,
            BackupFrame::Header(_) | BackupFrame::World(_) | BackupFrame::End(_) => {}
        }
    }
    Ok(())
}

fn in_zone(open: &mut Option<ZoneWriter>) -> anyhow::Result<&mut ZoneWriter> {
    open.as_mut().context("the backup was changed while it was read")
}

fn say(zone: &ZoneName, index: &BackupIndex, done: usize) -> anyhow::Result<()> {
    let line = &index.zones()[zone];
    super::print(format_args!(
        "zone {zone}: restored at tick {}, {} characters in it, {} at rest, {} moves of value, {} bytes of state \
         ({done} of {} zones)",
        line.head.position.tick,
        line.residents,
        line.rests,
        line.ledger,
        line.head.bytes,
        index.zones().len(),
    ))
}
