//! `everhold backup`: a copy of a world in one file, while its shards run. It takes no lease, raises no fence, and
//! changes nothing. What makes the copy consistent, [`everhold_core::durability::backup`] says.

mod file;
mod rows;
mod source;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use everhold_core::durability::adoption::ANSWER_MAX;
use everhold_core::durability::archive::WallMs;
use everhold_core::durability::backup::{BackupFrame, BackupHeader, BackupId, BackupWorld};
use everhold_core::ownership::Leases;
use everhold_core::zone::Game;
use everhold_protocol::{Account, Epoch, ZoneName};

use self::file::BackupDraft;
pub(super) use self::file::{BackupFrames, print_index, walk};
use self::rows::{CopyProgress, SeenAccounts};
use self::source::{BackupSource, CopiedZone, ZoneLease};
use super::history::{CodedError, LocalWorld};
use super::store::StoreArguments;
use crate::deadline::answer;
use crate::stores;

/// Times that a zone is read because its rows, or another zone's, are ahead of its copy. Each later copy is newer than
/// every row that was read before it.
const COPIES_MAX: u32 = 20;
/// The wait before a zone is read again: what it has done with an account is in its journal by then.
const COPY_AGAIN: Duration = Duration::from_millis(250);
/// Accounts that are named of those that could not be settled.
const NAMED_MAX: usize = 20;

/// Arguments of `everhold backup`.
#[derive(Args)]
pub struct BackupArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The file to write. There must be none of this name; until it is whole it is FILE.part.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The world file of the zones, if the store has not kept theirs and the configuration names another.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
}

/// Writes a backup.
pub fn run(arguments: &BackupArguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    match runtime.block_on(back_up(arguments)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => super::coded_failure(error),
    }
}

async fn back_up(arguments: &BackupArguments) -> anyhow::Result<()> {
    let places = arguments.store.resolve()?;
    let local = LocalWorld::load(&arguments.store, arguments.world.as_deref())?;
    let archive = arguments.store.resolve_archive()?;
    stores::ensure_exists(&places)?;
    let mut draft = BackupDraft::create(&arguments.file)?;
    let source = BackupSource::open(&places, local, archive).await?;
    let wall = source::wall_now();
    draft.write(&BackupFrame::Header(header(&source, wall)?))?;
    let file = source.shelf.own_file().clone();
    let worlds = BTreeSet::from([file.rules.id]);
    draft.write(&BackupFrame::World(BackupWorld(file)))?;
    let zones = zones(&source).await?;
    let mut backup = Backup {
        draft,
        source,
        seen: Vec::new(),
        worlds,
        done: 0,
        all: zones.len(),
    };
    for lease in &zones {
        backup.copy_zone(lease).await?;
        backup.done += 1;
    }
    backup.settle(&zones).await?;
    let index = backup.draft.finish()?;
    print_index(&arguments.file, &index)
}

fn header(source: &BackupSource, wall: WallMs) -> anyhow::Result<BackupHeader> {
    let mut id = BackupId::default();
    getrandom::fill(&mut id).map_err(|error| anyhow::anyhow!("no randomness from the operating system: {error}"))?;
    let schema = source.shelf.own().archive_schema()?;
    let columns = schema.columns().iter();
    Ok(BackupHeader {
        id,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        wall,
        wanted: source.wanted,
        has_archive: source.archive.is_some(),
        columns: columns
            .map(|column| (column.name.clone(), column.kind.name().to_owned()))
            .collect(),
        belongings: schema.belongings().iter().map(|kind| kind.name.clone()).collect(),
        values: schema.values().iter().map(|kind| kind.name.clone()).collect(),
    })
}

/// Returns the zones that authority or archive know of.
async fn zones(source: &BackupSource) -> anyhow::Result<Vec<ZoneLease>> {
    let Leases { views, unread, damaged } = answer(ANSWER_MAX, source.authority.leases())
        .await
        .context("read the leases")?;
    if let Some(zone) = unread.difference(&damaged).next() {
        let why = format!("the lease of zone {zone} cannot be read: a part of the authority does not answer");
        return Err(CodedError::new("authority_away", why).into());
    }
    let lost = |zone: ZoneName| ZoneLease {
        zone,
        epoch: Epoch::NONE,
        is_held: false,
    };
    let known = views.into_iter().map(|view| ZoneLease {
        is_held: !view.released && view.epoch != Epoch::NONE,
        zone: view.zone,
        epoch: view.epoch,
    });
    let mut zones: Vec<ZoneLease> = known.chain(damaged.into_iter().map(lost)).collect();
    for archived in source.archived_zones().await? {
        if !zones.iter().any(|lease| lease.zone == archived) {
            zones.push(lost(archived));
        }
    }
    zones.sort_unstable();
    Ok(zones)
}

/// A backup that is being written.
struct Backup {
    draft: BackupDraft,
    source: BackupSource,
    /// Every account that is in a copy: its generation, and the zone.
    seen: SeenAccounts,
    worlds: BTreeSet<[u8; 32]>,
    done: usize,
    all: usize,
}

impl Backup {
    /// Copies a zone with its rows. All rows are read first, which may take long; then the zone, and after it what has
    /// changed meanwhile, which takes a moment: only that is done again until both fit together. A zone that was never
    /// begun is passed over.
    async fn copy_zone(&mut self, lease: &ZoneLease) -> anyhow::Result<()> {
        let zone = &lease.zone;
        self.seen.retain(|(_, _, of)| of != zone);
        let spool = rows::spool(&self.draft, &self.source, zone).await?;
        let mut behind = BTreeSet::new();
        for _ in 0..COPIES_MAX {
            let Some(copied) = self.source.copy(lease).await? else {
                return super::print(format_args!("zone {zone}: never begun"));
            };
            match rows::changes(&self.source, &copied, spool.as_ref()).await? {
                Ok(changes) => {
                    self.write_world(&copied)?;
                    let rows = (spool, changes);
                    let written =
                        rows::write_zone(&mut self.draft, &self.source, &copied, rows, &mut self.seen).await?;
                    return self.say(&copied, &written);
                }
                Err(account) => {
                    behind.insert(account);
                    tokio::time::sleep(COPY_AGAIN).await;
                }
            }
        }
        Err(unsettled(&behind).into())
    }

    fn write_world(&mut self, copied: &CopiedZone) -> anyhow::Result<()> {
        if self.worlds.insert(copied.head.rules.id) {
            self.draft.write(&BackupFrame::World(copied.world.clone()))?;
        }
        Ok(())
    }

    fn say(&self, copied: &CopiedZone, progress: &CopyProgress) -> anyhow::Result<()> {
        let head = &copied.head;
        super::print(format_args!(
            "zone {}: tick {} of epoch {}, {} characters in it, {} at rest, {} moves of value, {} bytes of state \
             ({} of {} zones, {} bytes in all)",
            head.zone,
            head.position.tick,
            head.position.epoch,
            progress.residents,
            progress.rests,
            progress.ledger,
            head.bytes,
            (self.done + 1).min(self.all),
            self.all,
            self.draft.bytes(),
        ))
    }

    /// Adds what is in no zone, and copies zones again whose accounts are elsewhere by now, until every account is in
    /// one place.
    async fn settle(&mut self, zones: &[ZoneLease]) -> anyhow::Result<()> {
        rows::write_bans(&mut self.draft, &self.source).await?;
        let deleted = rows::write_outside(&mut self.draft, &self.source, &self.seen).await?;
        let mut again = BTreeSet::new();
        for _ in 0..COPIES_MAX {
            self.seen.sort_unstable();
            let twice = self.seen.windows(2).filter(|pair| pair[0].0 == pair[1].0);
            // They are in order of generation.
            let lower = twice.map(|pair| &pair[0]);
            let gone = self.seen.iter().filter(|(account, generation, _)| {
                let deletion = deleted.binary_search_by_key(account, |(account, _)| *account);
                deletion.is_ok_and(|at| deleted[at].1 > *generation)
            });
            let stale: Vec<(Account, ZoneName)> = lower.chain(gone).map(|(of, _, zone)| (*of, zone.clone())).collect();
            if stale.is_empty() {
                return Ok(());
            }
            again = stale.iter().map(|(account, _)| *account).collect();
            let stale: BTreeSet<ZoneName> = stale.into_iter().map(|(_, zone)| zone).collect();
            tokio::time::sleep(COPY_AGAIN).await;
            for lease in zones.iter().filter(|lease| stale.contains(&lease.zone)) {
                self.copy_zone(lease).await?;
            }
        }
        Err(unsettled(&again).into())
    }
}

fn unsettled(accounts: &BTreeSet<Account>) -> CodedError {
    let named: Vec<String> = accounts
        .iter()
        .take(NAMED_MAX)
        .map(|account| account.0.to_string())
        .collect();
    let more = accounts.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    CodedError::new(
        "not_settled",
        format!(
            "nothing is written: after {COPIES_MAX} copies store and archive still disagree on where these accounts \
             are: {}{more}",
            named.join(", ")
        ),
    )
}
