//! The world that a backup is made of: its stores, its rules, and the copy of one zone as of one tick. Which of a
//! zone's stored checkpoints and records are gone on from, is decided in core, as for an adoption.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bytes::Bytes;
use everhold_core::durability::adoption::ANSWER_MAX;
use everhold_core::durability::archive::{Archive, ArchivedZone, CharacterRow, WallMs};
use everhold_core::durability::archivist::{CutFacts, character_row};
use everhold_core::durability::backup::{BackupWorld, BackupZone, RestoreMarker, ZoneCopy};
use everhold_core::durability::blob_recovery::{BlobRecovery, BlobStep};
use everhold_core::durability::pending_moves::PendingMoves;
use everhold_core::durability::recovery::{PageRequest, Recovery, RecoveryStep};
use everhold_core::durability::rules_store::{RulesStore, WorldFile};
use everhold_core::durability::store::{StoreError, ZoneData};
use everhold_core::durability::{ReplayError, Replayed, plan, ran_under, replay};
use everhold_core::game::RuleBook;
use everhold_core::limits::ARCHIVE_PAGE_ROWS_MAX;
use everhold_core::ownership::{Authority, DataStamp, Nonce, RulesId, RulesTag};
use everhold_core::zone::{Cut, Game, ZoneConfig};
use everhold_protocol::{Epoch, Tick, ZoneName};

use super::super::history::{CodedError, LocalWorld, chained, replay_code};
use crate::config::{ArchiveConfig, ArchivePlace, Places};
use crate::deadline::answer;
use crate::shard::world_file;
use crate::stores::{self, ArchiveDoor, Storage};

/// Times that a zone's stored data are read, if they change or seem damaged. A zone that lives mends them with its next
/// base.
const READINGS_MAX: u32 = 10;
/// The wait before they are read again.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// The time on the wall.
pub(super) fn wall_now() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The rules that are at hand.
pub(super) struct RulesShelf {
    books: BTreeMap<RulesId, (Arc<RuleBook>, WorldFile)>,
    own: Arc<RuleBook>,
}

impl RulesShelf {
    /// Reads the files that the store has kept. What an archive holds, the rules say that the world is to run, if their
    /// file is at hand, and else those of this command.
    async fn read(rules: &dyn RulesStore, wanted: Option<RulesId>, local: LocalWorld) -> anyhow::Result<Self> {
        let (own, tick_hz) = local.into_book();
        let own = Arc::new(own);
        let file = world_file(&own, tick_hz);
        let mut books = BTreeMap::from([(file.rules.id, (Arc::clone(&own), file))]);
        for id in answer(ANSWER_MAX, rules.kept_files()).await? {
            let file = match answer(ANSWER_MAX, rules.kept_file(id)).await {
                Err(StoreError::Corrupt(_)) => None,
                file => file?,
            };
            // One that this build makes other rules of is no help.
            if let Some(file) = file
                && let Ok(book) = RuleBook::from_toml(&file.text)
                && book.stamp(file.tick_hz) == file.rules
            {
                books.insert(id, (Arc::new(book), file));
            }
        }
        let wanted = wanted.and_then(|wanted| books.get(&wanted));
        let own = wanted.map_or(own, |(book, _)| Arc::clone(book));
        Ok(Self { books, own })
    }

    /// Returns the file of the rules that the world is to run, or of those of this command.
    pub(super) fn own_file(&self) -> &WorldFile {
        let mut books = self.books.values();
        let own = books.find(|(book, _)| Arc::ptr_eq(book, &self.own));
        &own.expect("it is one of them").1
    }

    /// Returns the rules that say what an archive holds.
    pub(super) fn own(&self) -> Arc<RuleBook> {
        Arc::clone(&self.own)
    }

    fn config(&self, zone: &ZoneName, id: RulesId) -> Result<(ZoneConfig, WorldFile), CodedError> {
        let known = self.books.get(&id).filter(|(book, _)| book.zone(zone).is_some());
        let Some((book, file)) = known else {
            let tag = RulesTag::new(&id);
            let why = format!(
                "zone {zone} ran the rules {tag}, which are not at hand: name their world file with --world, and use \
                 the build of its shards"
            );
            return Err(CodedError::new("other_rules", why));
        };
        let config = ZoneConfig {
            name: zone.clone(),
            seed: 0,
            tick_hz: file.tick_hz,
            game: Arc::<RuleBook>::clone(book),
        };
        Ok((config, file.clone()))
    }
}

/// A world that is read.
pub(super) struct BackupSource {
    pub(super) storage: Storage,
    pub(super) authority: Arc<dyn Authority>,
    pub(super) archive: Option<ArchiveDoor>,
    pub(super) shelf: RulesShelf,
    /// The rules that the world is to run, if any are on record.
    pub(super) wanted: Option<RulesId>,
}

/// A zone, as the authority shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ZoneLease {
    pub(super) zone: ZoneName,
    /// The highest epoch that was granted.
    pub(super) epoch: Epoch,
    /// Whether a shard has it, or may have it.
    pub(super) is_held: bool,
}

/// A zone as of one tick.
pub(super) struct CopiedZone {
    pub(super) head: BackupZone,
    pub(super) world: BackupWorld,
    pub(super) body: Bytes,
    pub(super) copy: ZoneCopy,
    /// The characters in it.
    pub(super) characters: Vec<CharacterRow>,
    /// Moves of value that the archive may lack.
    pub(super) moves: PendingMoves,
    pub(super) wall: WallMs,
    pub(super) tick_hz: u16,
}

/// A zone that was replayed, and the highest fence that was seen on the way.
struct Found {
    replayed: Replayed,
    world: WorldFile,
    fence: Epoch,
    is_archived: bool,
}

impl Found {
    const fn stored(replayed: Replayed, world: WorldFile, fence: Epoch) -> Self {
        Self {
            replayed,
            world,
            fence,
            is_archived: false,
        }
    }
}

impl BackupSource {
    pub(super) async fn open(
        places: &Places,
        local: LocalWorld,
        archive: Option<ArchiveConfig>,
    ) -> anyhow::Result<Self> {
        let authority = stores::open_coordination_within(&places.authority, ANSWER_MAX)
            .await?
            .authority;
        let storage = stores::open_storage(&places.store, None).await?;
        let wanted = answer(ANSWER_MAX, storage.rules.wanted()).await?;
        RestoreMarker::refuse(wanted).map_err(CodedError::from)?;
        let shelf = RulesShelf::read(storage.rules.as_ref(), wanted, local).await?;
        let there = |archive: &ArchiveConfig| !matches!(&archive.place, ArchivePlace::File(path) if !path.exists());
        let archive = match archive.filter(there) {
            None => None,
            Some(archive) => {
                let game: Arc<dyn Game> = shelf.own();
                Some(ArchiveDoor::new(archive.place, game).await?)
            }
        };
        let source = Self {
            storage,
            authority,
            archive,
            shelf,
            wanted,
        };
        source.archive().await?;
        Ok(source)
    }

    /// Returns the archive, if the world has one. One that does not answer ends the backup: it has the characters at
    /// rest.
    pub(super) async fn archive(&self) -> anyhow::Result<Option<&dyn Archive>> {
        let Some(door) = &self.archive else { return Ok(None) };
        let archive = answer(ANSWER_MAX, door.archive()).await;
        let archive = archive.map_err(|error| CodedError::new("archive_away", error))?;
        Ok(Some(archive))
    }

    pub(super) async fn archived_zones(&self) -> anyhow::Result<Vec<ZoneName>> {
        let Some(archive) = self.archive().await? else {
            return Ok(Vec::new());
        };
        let mut zones: Vec<ZoneName> = Vec::new();
        loop {
            let page = answer(ANSWER_MAX, archive.zones(zones.last(), ARCHIVE_PAGE_ROWS_MAX)).await?;
            if page.is_empty() {
                return Ok(zones);
            }
            zones.extend(page.into_iter().map(|zone| zone.zone));
        }
    }

    pub(super) async fn archived(&self, zone: &ZoneName) -> anyhow::Result<Option<ArchivedZone>> {
        match self.archive().await? {
            None => Ok(None),
            Some(archive) => Ok(answer(ANSWER_MAX, archive.zone(zone, None)).await?),
        }
    }

    /// Copies a zone as of its last stored tick, from the store, or from the archive if the store has nothing of it.
    /// `None`: it was never begun.
    pub(super) async fn copy(&self, lease: &ZoneLease) -> anyhow::Result<Option<CopiedZone>> {
        let zone = &lease.zone;
        let found = match self.stored(lease).await? {
            Some(found) => found,
            None => match self.shelved(zone).await? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let archived = self.archived(zone).await?.map_or(Epoch::NONE, |zone| zone.fence.0);
        Ok(Some(cut(zone, found, lease.epoch.max(archived))))
    }

    async fn stored(&self, lease: &ZoneLease) -> anyhow::Result<Option<Found>> {
        let mut last = None;
        for _ in 0..READINGS_MAX {
            match self.read_stored(lease).await? {
                Ok(found) => return Ok(found),
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(READ_AGAIN).await;
        }
        Err(last.expect("it was read").into())
    }

    /// Reads a zone once. The inner error: it may be another one next time.
    async fn read_stored(&self, lease: &ZoneLease) -> anyhow::Result<Result<Option<Found>, CodedError>> {
        let (store, zone) = (self.storage.zones.as_ref(), &lease.zone);
        let outline = match answer(ANSWER_MAX, store.outline(zone, None)).await {
            // Its owner has it in memory, newer than the archive has, and writes it anew.
            Err(StoreError::Lost) if lease.is_held => {
                let why = format!("zone {zone}: the store has lost it, and its shard has not written it anew yet");
                return Ok(Err(CodedError::new("zone_lost", why)));
            }
            Err(StoreError::Lost) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(CodedError::new("store", error))),
            Ok(outline) if outline.chain.is_empty() && outline.journal.is_none() => return Ok(Ok(None)),
            Ok(outline) => outline,
        };
        let (fence, mut recovery) = (outline.fence, Recovery::new(outline));
        let damaged = |why: &dyn std::fmt::Display| CodedError::new("zone_damaged", format!("zone {zone}: {why}"));
        loop {
            let unread = match recovery.poll() {
                RecoveryStep::Read(PageRequest::Parts(parts)) => {
                    let parts = answer(ANSWER_MAX, store.read_parts(zone, None, &parts)).await;
                    parts.map(|parts| recovery.handle_parts(parts))
                }
                RecoveryStep::Read(PageRequest::Records(from, ticks)) => {
                    let records = answer(ANSWER_MAX, store.read_records(zone, None, from, ticks)).await;
                    records.map(|records| recovery.handle_records(records))
                }
                RecoveryStep::Fail(damage) => return Ok(Err(damaged(&damage))),
                RecoveryStep::Replay(data) => {
                    let (outcome, world) = self.replay(zone, data).await?;
                    let replayed = match outcome {
                        Ok(replayed) => replayed,
                        Err(error) => match recovery.handle_failed(error) {
                            Ok(()) => continue,
                            Err(error) => return Ok(Err(CodedError::new(replay_code(&error), chained(&error)))),
                        },
                    };
                    match recovery.handle_replayed(&replayed) {
                        Ok(None) => continue,
                        Ok(Some(recovered)) if recovered.lost_ticks > 0 => {
                            let why = format!("its last {} ticks cannot be read", recovered.lost_ticks);
                            return Ok(Err(damaged(&why)));
                        }
                        Ok(Some(_)) => {}
                        Err(damage) => return Ok(Err(damaged(&damage))),
                    }
                    if !self.is_fence(zone, fence).await {
                        return Ok(Err(damaged(&"it changed hands while it was read")));
                    }
                    return Ok(Ok(Some(Found::stored(replayed, world, fence.0))));
                }
            };
            if let Err(error) = unread
                && let Err(error) = recovery.handle_unread(error)
            {
                return Ok(Err(CodedError::new("store", error)));
            }
        }
    }

    /// Whether this is the store's fence of a zone still.
    async fn is_fence(&self, zone: &ZoneName, fence: (Epoch, Nonce)) -> bool {
        let now = answer(ANSWER_MAX, self.storage.zones.outline(zone, None)).await;
        now.is_ok_and(|now| now.fence == fence)
    }

    /// Reads a zone of which the store has nothing from the archive.
    async fn shelved(&self, zone: &ZoneName) -> anyhow::Result<Option<Found>> {
        let (Some(archive), Some(archived)) = (self.archive().await?, self.archived(zone).await?) else {
            return Ok(None);
        };
        let fence = archived.fence.0;
        let Some(mut recovery) = BlobRecovery::new(archived, false) else {
            return Ok(None);
        };
        loop {
            match recovery.poll() {
                BlobStep::Read(mark, index) => {
                    let part = answer(ANSWER_MAX, archive.read_blob_part(zone, None, mark, index)).await;
                    recovery.handle_part(part).context("read a zone from the archive")?;
                }
                BlobStep::Replay(data) => {
                    let (outcome, world) = self.replay(zone, data).await?;
                    match outcome {
                        Ok(replayed) => {
                            return Ok(Some(Found {
                                replayed,
                                world,
                                fence,
                                is_archived: true,
                            }));
                        }
                        Err(error) => recovery.handle_failed(error)?,
                    }
                }
                BlobStep::Fail(damage) => {
                    let why = format!("zone {zone}, in the archive: {damage}");
                    return Err(CodedError::new("zone_damaged", why).into());
                }
            }
        }
    }

    async fn replay(
        &self,
        zone: &ZoneName,
        data: ZoneData,
    ) -> anyhow::Result<(Result<Replayed, ReplayError>, WorldFile)> {
        let id = ran_under(&data).unwrap_or_else(|| self.shelf.own_file().rules.id);
        let (config, world) = self.shelf.config(zone, id)?;
        let replayed = tokio::task::spawn_blocking(move || replay(plan(data)?, config));
        Ok((replayed.await.context("the thread of a replay")?, world))
    }
}

fn cut(zone: &ZoneName, found: Found, seen: Epoch) -> CopiedZone {
    let Found {
        replayed,
        world,
        fence,
        is_archived,
    } = found;
    let Replayed {
        zone: mut state,
        config,
        last,
        moves,
        ..
    } = replayed;
    let wall = wall_now();
    let frozen = state.freeze(Cut::Base);
    let facts = CutFacts::of(&frozen, &*config.game, wall);
    let rules = state.rules();
    let body = Bytes::from(frozen.encode().body);
    let residents = facts.characters.iter();
    let residents = residents
        .map(|character| (character.account, character.generation))
        .collect();
    // Beside a copy of the archive its rows are what an adoption from there would find, whatever tick they are of: the
    // zone has no later one that could be waited for.
    let stamp = DataStamp {
        epoch: last.epoch,
        tick: if is_archived { Tick::MAX } else { last.tick },
    };
    CopiedZone {
        head: BackupZone {
            zone: zone.clone(),
            position: last,
            fence: fence.max(seen).max(last.epoch),
            rules,
            bytes: body.len() as u64,
        },
        world: BackupWorld(world),
        body,
        copy: ZoneCopy {
            zone: zone.clone(),
            stamp,
            residents,
        },
        characters: facts
            .characters
            .iter()
            .map(|character| character_row(zone, character))
            .collect(),
        moves,
        wall,
        tick_hz: config.tick_hz,
    }
}
