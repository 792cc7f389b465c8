//! `everhold verify`: reads everything that store and archive have of a world, and says what is damaged, with a code
//! each. It takes no lease, raises no fence, and changes nothing; a world that is served is read as it goes on.

mod archive;
mod findings;
mod zone;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use everhold_core::ownership::Leases;

use self::findings::{VerifyFindings, VerifyOutput, ZoneFindings};
use self::zone::KeptWorlds;
use super::backup::{print_index, walk};
use super::history::{CodedError, LocalWorld};
use super::store::StoreArguments;
use crate::stores;

/// A Redis that does not answer a person within this time is not there.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Exit code of a world in which something is damaged.
const EXIT_DAMAGED: u8 = 1;
/// Exit code of a look that was not possible, or not to its end.
const EXIT_FAILED: u8 = 2;

/// Arguments of `everhold verify`.
#[derive(Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The world file of the zones, if the store has not kept theirs and the configuration names another.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// Replay every zone from its oldest checkpoint, and compare each digest that its owners wrote.
    #[arg(long)]
    replay: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Look at this file of a backup instead, and at nothing else.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "json", "world"])]
    backup: Option<PathBuf>,
}

/// Looks at everything: exit code 0 if nothing is damaged, 1 if something is, 2 if it was not possible.
pub fn run(arguments: &VerifyArguments) -> anyhow::Result<ExitCode> {
    if let Some(path) = &arguments.backup {
        return verify_backup(path);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    match runtime.block_on(verify(arguments)) {
        Ok(output) => {
            super::print(output.written(arguments.json)?)?;
            Ok(if output.is_sound() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(EXIT_DAMAGED)
            })
        }
        Err(error) if error.is::<super::UsageError>() => Err(error),
        Err(error) => {
            let error = CodedError::of(error);
            let said = format!("everhold: {error} [{}]\n", error.code);
            everhold_os::output::stderr().write(said.as_bytes());
            Ok(ExitCode::from(EXIT_FAILED))
        }
    }
}

/// Reads a backup to its end.
fn verify_backup(path: &Path) -> anyhow::Result<ExitCode> {
    match walk(path, &mut |_, _| Ok(())) {
        Ok(index) => print_index(path, &index).map(|()| ExitCode::SUCCESS),
        Err(error) => super::coded_failure(error),
    }
}

async fn verify(arguments: &VerifyArguments) -> anyhow::Result<VerifyOutput> {
    let layers = arguments.store.layers()?;
    let places = arguments.store.resolve()?;
    let local = LocalWorld::load(&arguments.store, arguments.world.as_deref())?;
    let archive = layers
        .resolve_archive(&places.store)
        .map_err(|error| super::UsageError(error.to_string()))?;
    stores::ensure_exists(&places)?;
    let authority = stores::open_coordination_within(&places.authority, ANSWER_MAX)
        .await?
        .authority;
    let storage = stores::open_storage(&places.store, None).await?;
    let Leases { views, unread, damaged } = authority.leases().await.context("read the leases")?;
    let mut world = VerifyFindings::default();
    for zone in &damaged {
        world.damage("lease_damaged", format!("the lease of zone {zone} makes no sense"));
    }
    for zone in unread.iter().filter(|zone| !damaged.contains(zone)) {
        world.damage("lease_unread", format!("the lease of zone {zone} cannot be read"));
    }
    let worlds = KeptWorlds::read(storage.rules.as_ref(), local, &mut world).await?;
    let mut names: BTreeSet<_> = views.into_iter().map(|view| view.zone).collect();
    names.extend(unread);
    names.extend(damaged);
    let mut zones: Vec<ZoneFindings> = Vec::new();
    for name in names {
        zones.push(zone::look_at(&storage, &worlds, name, arguments.replay).await?);
    }
    zone::note_players_twice(&zones, &mut world);
    if let Some(archive) = archive {
        archive::look_at(archive.place, &worlds, &mut zones, &mut world).await?;
    }
    Ok(VerifyOutput { world, zones })
}
