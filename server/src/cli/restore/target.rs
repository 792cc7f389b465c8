//! The world that a backup is restored into: whether somebody lives in it, whether it is empty, its leases, and all
//! that belongs to no zone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use everhold_core::cluster::HomeStore;
use everhold_core::durability::adoption::ANSWER_MAX;
use everhold_core::durability::archive::{Archive, AuditRow, CharacterPlace, CharacterRow, WallMs};
use everhold_core::durability::backup::{BackupCharacter, BackupHeader, BackupIndex, RestoreMarker, RestoreUnfinished};
use everhold_core::durability::bans::Ban;
use everhold_core::durability::rules_store::RulesStore;
use everhold_core::durability::store::{StoreError, ZoneStore};
use everhold_core::game::RuleBook;
use everhold_core::ownership::{
    Authority, AuthorityError, LeaseTerms, LeaseView, Leases, Membership, Nonce, Renewal, RulesId, ShardView, Tenure,
};
use everhold_core::zone::Game;
use everhold_core::zone::archive_schema::ArchiveSchema;
use everhold_protocol::{Account, Epoch, ZoneName};

use super::super::history::CodedError;
use crate::config::{ArchiveConfig, Places};
use crate::deadline::answer;
use crate::stores::{self, ArchiveDoor};

/// The event of an audit row: the account was deleted in the world of the backup.
const AUDIT_DELETED: &str = "restored as deleted";

/// A world that is being written.
pub(super) struct RestoreTarget {
    pub(super) zones: Arc<dyn ZoneStore>,
    pub(super) homes: Arc<dyn HomeStore>,
    rules: Arc<dyn RulesStore>,
    authority: Arc<dyn Authority>,
    membership: Arc<dyn Membership>,
    archive: Option<ArchiveDoor>,
    schema: ArchiveSchema,
    ttl: Duration,
    nonce: Nonce,
    pub(super) tenures: BTreeMap<ZoneName, Tenure>,
    renewed: Instant,
    marker: RestoreMarker,
    pub(super) wall: WallMs,
}

impl RestoreTarget {
    pub(super) async fn open(
        places: &Places,
        archive: Option<ArchiveConfig>,
        index: &BackupIndex,
        ttl: Duration,
    ) -> anyhow::Result<Self> {
        let book = book_of(index)?;
        let schema = book.archive_schema()?;
        check_declarations(index.header(), &schema)?;
        let coordination = stores::open_coordination_within(&places.authority, ANSWER_MAX).await?;
        let storage = stores::open_storage(&places.store, None).await?;
        let game: Arc<dyn Game> = Arc::new(book);
        let archive = match archive {
            None => None,
            Some(archive) => Some(ArchiveDoor::new(archive.place, game).await?),
        };
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce)
            .map_err(|error| anyhow::anyhow!("no randomness from the operating system: {error}"))?;
        let target = Self {
            zones: storage.zones,
            homes: storage.homes,
            rules: storage.rules,
            authority: coordination.authority,
            membership: coordination.membership,
            archive,
            schema,
            ttl,
            // 63 bits: SQLite's integers are signed.
            nonce: Nonce(u64::from_le_bytes(nonce) >> 1),
            tenures: BTreeMap::new(),
            renewed: Instant::now(),
            marker: RestoreMarker(index.header().id),
            wall: index.header().wall,
        };
        target.archive().await?;
        Ok(target)
    }

    /// Returns the archive, if the world has one.
    pub(super) async fn archive(&self) -> anyhow::Result<Option<&dyn Archive>> {
        let Some(door) = &self.archive else { return Ok(None) };
        let archive = answer(ANSWER_MAX, door.archive()).await;
        let archive = archive.map_err(|error| CodedError::new("archive_away", error))?;
        Ok(Some(archive))
    }

    /// Returns the row of a character, as the archive of this world takes it.
    pub(super) fn row(&self, character: BackupCharacter, place: CharacterPlace) -> CharacterRow {
        let mut columns = character.columns;
        // What the game declares since the backup was made is as for a character that is just born.
        let blank = CharacterRow::reserved(character.account, 0, zone_of_none(), &self.schema);
        let declared = columns.len();
        columns.extend(blank.columns.into_iter().skip(declared));
        CharacterRow {
            account: character.account,
            generation: character.generation,
            place,
            name: character.name,
            payload: character.payload,
            columns,
            belongings: Some(character.belongings),
        }
    }

    /// Watches every lease that is held, and every shard in the directory, for the longest of their ttls, on this
    /// process's own clock. Nothing is waited for if there are none.
    ///
    /// # Errors
    /// One of them moved: a shard lives.
    pub(super) async fn ensure_nobody_lives(&self) -> anyhow::Result<()> {
        let (leases, shards) = self.look().await?;
        let first = (leases, shards);
        let of_leases = first.0.iter().map(|lease| lease.longer_ttl(self.ttl));
        let of_shards = first.1.iter().map(|shard| shard.longer_ttl(self.ttl));
        let Some(wait) = of_leases.chain(of_shards).max() else {
            return Ok(());
        };
        super::super::print(format_args!(
            "{} leases are held and {} shards are in the directory: watching for {} s whether any of them lives",
            first.0.len(),
            first.1.len(),
            wait.as_secs_f32()
        ))?;
        let until = Instant::now() + wait;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(rest.min(wait / 8).max(Duration::from_millis(1))).await;
            // The look that decides is sent after the wait.
            let is_last = Instant::now() >= until;
            let now = self.look().await?;
            let lease = now.0.iter().find(|lease| !first.0.contains(lease));
            if let Some(lease) = lease {
                return Err(lives(&format!("the lease of zone {} moves", lease.zone)).into());
            }
            let shard = now.1.iter().find(|shard| !first.1.contains(shard));
            if let Some(shard) = shard {
                return Err(lives(&format!("the shard at {} is there", shard.addr)).into());
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Reads the leases that are held, and the directory.
    async fn look(&self) -> anyhow::Result<(Vec<LeaseView>, Vec<ShardView>)> {
        let Leases { views, unread, damaged } = answer(ANSWER_MAX, self.authority.leases())
            .await
            .context("read the leases")?;
        if let Some(zone) = unread.difference(&damaged).next() {
            let why = format!("the lease of zone {zone} cannot be read: a part of the authority does not answer");
            return Err(CodedError::new("authority_away", why).into());
        }
        let held = views
            .into_iter()
            .filter(|view| !view.released && view.epoch != Epoch::NONE);
        let shards = answer(ANSWER_MAX, self.membership.shards())
            .await
            .context("read the directory")?;
        Ok((held.collect(), shards))
    }

    /// Marks the world, if it is empty or marked by a restore of the same backup already, and claims all zones.
    pub(super) async fn begin(&mut self, index: &BackupIndex) -> anyhow::Result<()> {
        let wanted = answer(ANSWER_MAX, self.rules.wanted()).await?;
        let marker = self.marker.to_rules_id();
        match wanted.as_ref().and_then(RestoreMarker::of_rules_id) {
            Some(other) if other != self.marker => {
                return Err(CodedError::from(RestoreUnfinished(other)).into());
            }
            Some(_) => super::super::print("a restore of this backup was begun before: it is done anew")?,
            None => {
                self.ensure_empty(index).await?;
                let now = answer(ANSWER_MAX, self.rules.want(wanted, marker)).await?;
                if now != Some(marker) {
                    return Err(lives("somebody changed what the world is to run").into());
                }
            }
        }
        for file in index.worlds() {
            answer(ANSWER_MAX, self.rules.keep_file(file)).await?;
        }
        for (zone, line) in index.zones() {
            let floor = self.epoch_floor(zone).await?.max(line.head.fence);
            let tenure = self.claim(zone, floor).await?;
            self.tenures.insert(zone.clone(), tenure);
        }
        self.renewed = Instant::now();
        Ok(())
    }

    async fn ensure_empty(&self, index: &BackupIndex) -> anyhow::Result<()> {
        let Leases { views, .. } = answer(ANSWER_MAX, self.authority.leases()).await?;
        let known = views.into_iter().map(|view| view.zone);
        for zone in known.chain(index.zones().keys().cloned()) {
            match answer(ANSWER_MAX, self.zones.summary(&zone)).await {
                Ok(None) | Err(StoreError::Lost) => {}
                Ok(Some(summary)) if summary.newest.is_none() && !summary.is_incomplete => {}
                Ok(Some(_)) => return Err(not_empty(&format!("the store has data of zone {zone}")).into()),
                Err(error) => return Err(error).context(format!("read what the store has of {zone}")),
            }
        }
        let Some(archive) = self.archive().await? else {
            return Ok(());
        };
        if let Some(zone) = answer(ANSWER_MAX, archive.zones(None, 1)).await?.first() {
            return Err(not_empty(&format!("the archive has zone {}", zone.zone)).into());
        }
        if let Some(row) = answer(ANSWER_MAX, archive.accounts(None, None, 1)).await?.first() {
            return Err(not_empty(&format!("the archive has account {}", row.account().0)).into());
        }
        Ok(())
    }

    /// Returns the highest epoch that store and archive have seen.
    async fn epoch_floor(&self, zone: &ZoneName) -> anyhow::Result<Epoch> {
        let stored = match answer(ANSWER_MAX, self.zones.summary(zone)).await {
            Err(StoreError::Lost) => None,
            summary => summary?,
        };
        let archived = match self.archive().await? {
            None => None,
            Some(archive) => answer(ANSWER_MAX, archive.zone(zone, None)).await?,
        };
        let stored = stored.map_or(Epoch::NONE, |summary| {
            summary
                .newest
                .map_or(Epoch::NONE, |newest| newest.epoch)
                .max(summary.fence_epoch)
        });
        Ok(stored.max(archived.map_or(Epoch::NONE, |zone| zone.fence.0)))
    }

    /// Claims a zone by compare-and-set on what is there: no shard has been seen to live.
    async fn claim(&self, zone: &ZoneName, floor: Epoch) -> anyhow::Result<Tenure> {
        answer(ANSWER_MAX, self.authority.declare_zone(zone)).await?;
        let leases = answer(ANSWER_MAX, self.authority.leases()).await?;
        let view = leases.views.into_iter().find(|view| view.zone == *zone);
        let view = view.with_context(|| format!("the authority does not show the lease of zone {zone}"))?;
        let terms = LeaseTerms {
            addr: ([0, 0, 0, 0], 0).into(),
            ttl: self.ttl,
        };
        match answer(ANSWER_MAX, self.authority.claim(&view, self.nonce, terms, floor)).await {
            Err(AuthorityError::Held(_)) => Err(lives(&format!("zone {zone} was claimed by another process")).into()),
            claimed => Ok(claimed?),
        }
    }

    /// Renews the leases, if it is time: a shard that was started in spite of the mark takes no zone before it is
    /// whole.
    pub(super) async fn keep_alive(&mut self) -> anyhow::Result<()> {
        if self.renewed.elapsed() < self.ttl / 4 {
            return Ok(());
        }
        self.renewed = Instant::now();
        let renewal = |tenure: &Tenure| Renewal {
            tenure: tenure.clone(),
            players: 0,
            mark: None,
        };
        let renewals: Vec<Renewal> = self.tenures.values().map(renewal).collect();
        for answered in self.authority.renew(&renewals).await {
            match answered {
                Ok(()) => {}
                Err(AuthorityError::Unavailable(why)) => tracing::warn!(why, "a lease is not renewed yet"),
                Err(error) => return Err(lives(&error.to_string()).into()),
            }
        }
        Ok(())
    }

    /// Writes a character that rests in the name of no zone.
    pub(super) async fn put_outside(&self, character: BackupCharacter) -> anyhow::Result<()> {
        if let Some(archive) = self.archive().await? {
            let row = self.row(character, CharacterPlace::Rest);
            answer(ANSWER_MAX, archive.put_account(&row, self.wall)).await?;
        }
        Ok(())
    }

    /// Writes a ban to the archive. Shards fill the store from there.
    pub(super) async fn put_ban(&self, ban: &Ban) -> anyhow::Result<()> {
        if let Some(archive) = self.archive().await? {
            answer(ANSWER_MAX, archive.put_ban(ban, self.wall)).await?;
        }
        Ok(())
    }

    /// Writes that an account's character was deleted: one that there was, and is no more.
    pub(super) async fn put_deleted(&self, account: Account, generation: u64) -> anyhow::Result<()> {
        let Some(archive) = self.archive().await? else {
            return Ok(());
        };
        let before = CharacterRow::reserved(account, generation.saturating_sub(1), zone_of_none(), &self.schema);
        answer(ANSWER_MAX, archive.put_account(&before, self.wall)).await?;
        let audit = AuditRow {
            stamp: None,
            seq: 0,
            wall: self.wall,
            event: AUDIT_DELETED.to_owned(),
            account: Some(account),
            detail: format!("backup {}", self.marker),
        };
        answer(ANSWER_MAX, archive.delete_account(account, generation, &audit)).await?;
        Ok(())
    }

    /// Puts the rules on record in the place of the mark, and releases the zones.
    pub(super) async fn end(&mut self, index: &BackupIndex) -> anyhow::Result<()> {
        let of_a_zone = || index.zones().values().next().map(|line| line.head.rules.id);
        let of_a_file = || index.worlds().first().map(|file| file.rules.id);
        let rules: Option<RulesId> = index.header().wanted.or_else(of_a_zone).or_else(of_a_file);
        let rules = rules.context("the backup has no zone")?;
        let marker = self.marker.to_rules_id();
        let now = answer(ANSWER_MAX, self.rules.want(Some(marker), rules)).await?;
        if now != Some(rules) {
            return Err(lives("somebody changed what the world is to run").into());
        }
        for tenure in self.tenures.values() {
            answer(ANSWER_MAX, self.authority.release(tenure)).await?;
        }
        Ok(())
    }
}

/// A zone's name where a row needs one that is not looked at.
fn zone_of_none() -> ZoneName {
    "none".parse().expect("it is a zone's name")
}

fn lives(why: &str) -> CodedError {
    CodedError::new("shards_alive", format!("{why}: stop all shards of this world first"))
}

fn not_empty(why: &str) -> CodedError {
    CodedError::new(
        "not_empty",
        format!(
            "{why}, and nothing is written over it: name an empty place (another --state directory or --namespace, an \
             empty database), or empty this one"
        ),
    )
}

/// Returns the rules that the world is to run, as this build makes them of their file.
fn book_of(index: &BackupIndex) -> anyhow::Result<RuleBook> {
    let files = index.worlds();
    let wanted = files.iter().find(|file| Some(file.rules.id) == index.header().wanted);
    let file = wanted.or_else(|| files.first());
    let file = file.ok_or_else(|| CodedError::new("backup_empty", "the backup has no zone"))?;
    let book = RuleBook::from_toml(&file.text);
    Ok(book.map_err(|error| CodedError::new("other_rules", format!("the world file in the backup: {error}")))?)
}

/// Checks that the rows of the backup mean the same here: a later build may only have added declarations at the end.
fn check_declarations(header: &BackupHeader, schema: &ArchiveSchema) -> Result<(), CodedError> {
    let columns = schema.columns().iter();
    let columns: Vec<(String, String)> = columns
        .map(|column| (column.name.clone(), column.kind.name().to_owned()))
        .collect();
    let belongings: Vec<String> = schema.belongings().iter().map(|kind| kind.name.clone()).collect();
    let values: Vec<String> = schema.values().iter().map(|kind| kind.name.clone()).collect();
    let is_same = columns.starts_with(&header.columns)
        && belongings.starts_with(&header.belongings)
        && values.starts_with(&header.values);
    if is_same {
        return Ok(());
    }
    let why = format!(
        "the game declares other columns or kinds than it did in the backup, which build {} made: restore it with that \
         build, and update afterwards",
        header.build
    );
    Err(CodedError::new("other_declarations", why))
}
