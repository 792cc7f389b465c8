//! Stores, authority, and membership on SQLite files: what a single host needs, and nothing to install.
//!
//! ```text
//! DIR/world.db        leases, shards, homes, rules          on the disk at every commit
//! DIR/zone-NAME.db    one zone's fence, journal, checkpoints, evidence   on the disk at every WAL checkpoint
//! DIR/archive.db      what outlives the state store          on the disk at every commit
//! DIR/bell            written to when a zone is released, for spares that watch it
//! ```
//!
//! One file per zone, because a process that is stopped inside a transaction blocks its file, and must not block the
//! other zones. Each file has its own thread and its own connection; no async thread ever waits for a disk.
//!
//! A zone's commit survives the death of any process at once. It reaches the disk with the next WAL checkpoint: a power
//! loss (or a kernel that dies) takes the ticks since then, back to a consistent earlier tick. Leases, epochs, and
//! homes do not go back.

mod archive;
mod authority;
mod bans;
mod bell;
mod checkpoint;
mod evidence;
mod file;
mod homes;
mod journal;
mod row;
mod rules;
mod seal;
mod worker;
mod world;
mod zone;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceFate, EvidenceMark, StoredEvidence};
use everhold_core::durability::store::{
    AppendAnswer, CheckpointHead, Origin, PartKey, Position, Rewind, Seal, StoreError, StoredRecord, ZoneOutline,
    ZoneStore, ZoneSummary,
};
use everhold_core::limits::PART_BYTES_MAX;
use everhold_core::ownership::{Grant, Tenure};
use everhold_protocol::{Epoch, SessionId, Tick, ZoneName};

pub use archive::SqliteArchive;
pub use authority::SqliteAuthority;
pub use file::SqliteError;

use homes::Homes;
use worker::{Worker, WorkerGone};
use world::World;
use zone::{FilePresence, ZoneFile};

/// Whether there is a world in this directory.
#[must_use]
pub fn is_world(directory: &Path) -> bool {
    directory.join(world::FILE_NAME).is_file()
}

/// Journals, checkpoints, and homes in a directory that all shards of one host share.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    directory: Arc<Path>,
    world: Worker<World>,
    homes: Homes,
    zones: Arc<Mutex<HashMap<ZoneName, Worker<ZoneFile>>>>,
}

impl SqliteStore {
    /// Opens, or makes, the directory and its `world.db`. A zone's file is made by its first fence.
    pub fn open(directory: &Path) -> Result<Self, SqliteError> {
        let world = World::open(directory)?;
        let world = Worker::spawn_vital("sqlite-world", world).map_err(|source| SqliteError::Thread {
            path: directory.to_owned(),
            source,
        })?;
        let homes = Homes::new(world.clone());
        Ok(Self {
            directory: directory.into(),
            world,
            homes,
            zones: Arc::default(),
        })
    }

    /// Returns the path of a zone's file.
    #[must_use]
    pub fn zone_path(&self, zone: &ZoneName) -> PathBuf {
        self.directory.join(format!("zone-{zone}.db"))
    }

    /// Returns the worker of a zone's file, started at first use, and anew after a job of its panicked.
    fn zone(&self, zone: &ZoneName) -> Result<Worker<ZoneFile>, SqliteError> {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = zones.get(zone)
            && !worker.is_gone()
        {
            return Ok(worker.clone());
        }
        let path = self.zone_path(zone);
        let worker = Worker::spawn(&format!("sqlite-{zone}"), ZoneFile::new(path.clone()))
            .map_err(|source| SqliteError::Thread { path, source })?;
        zones.insert(zone.clone(), worker.clone());
        Ok(worker)
    }

    async fn on_zone<T: Send + 'static>(
        &self,
        zone: &ZoneName,
        job: impl FnOnce(&mut ZoneFile) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.zone(zone)?.run(job).await?
    }

    async fn on_world<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut World) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.world.run(job).await?
    }

    async fn is_created(&self, zone: &ZoneName) -> Result<bool, StoreError> {
        let zone = zone.clone();
        self.on_world(move |world| world.is_created(&zone)).await
    }
}

#[async_trait]
impl ZoneStore for SqliteStore {
    async fn fence(&self, tenure: &Tenure) -> Result<(), StoreError> {
        let (zone, grant) = (&tenure.zone, tenure.grant);
        let is_created = self.is_created(zone).await?;
        if self.on_zone(zone, |file| file.presence()).await? == FilePresence::Missing {
            // The mark may be gone with the file: whoever is not the first to be granted the zone finds a world that
            // there was.
            if is_created || grant.epoch() > Epoch::FIRST {
                return Err(StoreError::Lost);
            }
            self.on_zone(zone, |file| file.create(Origin::Nothing)).await?;
        }
        // Marked after the file is made and before anybody builds on it: from here on its absence is a loss.
        if !is_created {
            let zone = zone.clone();
            self.on_world(move |world| world.mark_created(&zone)).await?;
        }
        self.on_zone(zone, move |file| file.fence(grant)).await
    }

    async fn create(&self, tenure: &Tenure, origin: Origin) -> Result<(), StoreError> {
        let (zone, grant) = (&tenure.zone, tenure.grant);
        if self.on_zone(zone, |file| file.presence()).await? == FilePresence::Missing {
            self.on_zone(zone, move |file| file.create(origin)).await?;
            let zone = zone.clone();
            self.on_world(move |world| world.mark_created(&zone)).await?;
        }
        self.on_zone(zone, move |file| file.begin(grant, origin)).await
    }

    async fn outline(&self, zone: &ZoneName, reader: Option<Grant>) -> Result<ZoneOutline, StoreError> {
        self.on_zone(zone, move |file| file.outline(reader)).await
    }

    async fn read_parts(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        parts: &[PartKey],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let parts = parts.to_vec();
        self.on_zone(zone, move |file| file.read_parts(reader, &parts)).await
    }

    async fn read_records(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        from: Tick,
        ticks: u32,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        self.on_zone(zone, move |file| file.read_records(reader, from, ticks))
            .await
    }

    async fn rewind(&self, tenure: &Tenure, to: Rewind) -> Result<(), StoreError> {
        let grant = tenure.grant;
        self.on_zone(&tenure.zone, move |file| file.rewind(grant, to)).await
    }

    async fn append(&self, tenure: &Tenure, records: &[StoredRecord]) -> Result<AppendAnswer, StoreError> {
        let (grant, records) = (tenure.grant, records.to_vec());
        self.on_zone(&tenure.zone, move |file| file.append(grant, &records))
            .await
    }

    async fn put_part(&self, tenure: &Tenure, position: Position, index: u32, bytes: Bytes) -> Result<(), StoreError> {
        assert!(bytes.len() <= PART_BYTES_MAX, "a part of {} bytes", bytes.len());
        let grant = tenure.grant;
        self.on_zone(&tenure.zone, move |file| file.put_part(grant, position, index, &bytes))
            .await
    }

    async fn drop_parts(&self, tenure: &Tenure, position: Position, parts: u32) -> Result<(), StoreError> {
        let grant = tenure.grant;
        self.on_zone(&tenure.zone, move |file| file.drop_parts(grant, position, parts))
            .await
    }

    async fn move_head(&self, tenure: &Tenure, head: CheckpointHead) -> Result<(), StoreError> {
        let grant = tenure.grant;
        self.on_zone(&tenure.zone, move |file| file.move_head(grant, head))
            .await
    }

    async fn seal(&self, tenure: &Tenure, seal: Seal) -> Result<(), StoreError> {
        let grant = tenure.grant;
        self.on_zone(&tenure.zone, move |file| file.seal(grant, seal)).await
    }

    async fn quarantine(&self, tenure: &Tenure, tick: Tick, session: SessionId, seq: u64) -> Result<(), StoreError> {
        let grant = tenure.grant;
        self.on_zone(&tenure.zone, move |file| file.quarantine(grant, tick, session, seq))
            .await
    }

    async fn put_evidence(&self, tenure: &Tenure, index: u32, bytes: Bytes) -> Result<EvidenceAnswer, StoreError> {
        assert!(bytes.len() <= PART_BYTES_MAX, "a part of {} bytes", bytes.len());
        let grant = tenure.grant;
        self.on_zone(&tenure.zone, move |file| file.put_evidence(grant, index, &bytes))
            .await
    }

    async fn seal_evidence(&self, tenure: &Tenure, mark: EvidenceMark) -> Result<EvidenceAnswer, StoreError> {
        let grant = tenure.grant;
        self.on_zone(&tenure.zone, move |file| file.seal_evidence(grant, mark))
            .await
    }

    async fn drop_evidence(&self, tenure: &Tenure) -> Result<(), StoreError> {
        let grant = tenure.grant;
        self.on_zone(&tenure.zone, move |file| file.drop_evidence(grant)).await
    }

    async fn evidence(&self, zone: &ZoneName) -> Result<Option<StoredEvidence>, StoreError> {
        match self.on_zone(zone, |file| file.evidence()).await {
            Err(StoreError::Lost) => Ok(None),
            result => result,
        }
    }

    async fn read_evidence(&self, zone: &ZoneName, index: u32) -> Result<Option<Bytes>, StoreError> {
        match self.on_zone(zone, move |file| file.read_evidence(index)).await {
            Err(StoreError::Lost) => Ok(None),
            result => result,
        }
    }

    async fn settle_evidence(
        &self,
        zone: &ZoneName,
        mark: EvidenceMark,
        fate: EvidenceFate,
    ) -> Result<bool, StoreError> {
        match self.on_zone(zone, move |file| file.settle_evidence(mark, fate)).await {
            Err(StoreError::Lost) => Ok(false),
            result => result,
        }
    }

    async fn discard_evidence(&self, zone: &ZoneName) -> Result<(), StoreError> {
        match self.on_zone(zone, |file| file.discard_evidence()).await {
            Err(StoreError::Lost) => Ok(()),
            result => result,
        }
    }

    async fn summary(&self, zone: &ZoneName) -> Result<Option<ZoneSummary>, StoreError> {
        match self.on_zone(zone, |file| file.summary()).await {
            Err(StoreError::Lost) if !self.is_created(zone).await? => Ok(None),
            result => result.map(Some),
        }
    }
}

impl From<WorkerGone> for StoreError {
    fn from(error: WorkerGone) -> Self {
        Self::Unavailable(error.to_string())
    }
}
