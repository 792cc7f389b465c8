//! One zone of a restore: its rows and its blob into the archive, its state into the store, and the homes of its
//! characters. Nothing of it waits for the rest of the file, and a zone is held in memory in pieces only.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use everhold_core::cluster::{Home, HomeStore};
use everhold_core::durability::adoption::ANSWER_MAX;
use everhold_core::durability::archive::{
    ArchiveBlob, ArchiveCommit, ArchiveError, CharacterPlace, CharacterRow, CommitAnswer, CommitMark, LedgerRow,
};
use everhold_core::durability::backup::{BackupCharacter, BackupZone};
use everhold_core::durability::store::{CheckpointHead, CheckpointKind, Origin, Position, Rewind, Seal, StoreError};
use everhold_core::limits::{ARCHIVE_PART_BYTES_MAX, PROCESS_HOMES_IN_FLIGHT_MAX};
use everhold_core::ownership::Tenure;
use everhold_protocol::{Account, Tick, ZoneName};
use tokio::task::JoinSet;

use super::super::history::CodedError;
use super::target::RestoreTarget;
use crate::deadline::answer;

/// Rows of one commit, and their bytes: each is over soon, whatever database it is.
const COMMIT_ROWS: usize = 4_096;
/// The bytes of one commit.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;
/// The number of the commit with the blob. Those with rows alone have lower ones.
const LAST_COMMIT: u64 = 1 << 40;
/// Times that a write is repeated whose outcome is unknown, and the wait before each.
const WRITES_MAX: u32 = 10;
const WRITE_AGAIN: Duration = Duration::from_millis(500);

/// A zone that is being written.
pub(super) struct ZoneWriter {
    tenure: Tenure,
    head: BackupZone,
    position: Position,
    parts: u32,
    blob: BytesMut,
    blob_parts: u32,
    commit: ArchiveCommit,
    rows: usize,
    bytes: usize,
    homes: JoinSet<anyhow::Result<()>>,
}

impl ZoneWriter {
    /// Fences the zone in the store and in the archive, and takes away what an earlier try has left.
    pub(super) async fn begin(target: &RestoreTarget, head: BackupZone) -> anyhow::Result<Self> {
        let tenure = target
            .tenures
            .get(&head.zone)
            .context("every zone was claimed")?
            .clone();
        let position = Position {
            epoch: tenure.epoch(),
            ..head.position
        };
        match stored(|| target.zones.fence(&tenure)).await {
            Ok(()) => {
                let to = Rewind {
                    head: None,
                    last: Tick(0),
                };
                stored(|| target.zones.rewind(&tenure, to)).await?;
            }
            Err(StoreError::Lost) => stored(|| target.zones.create(&tenure, Origin::Memory)).await?,
            Err(error) => return Err(error.into()),
        }
        let mut parent = None;
        if let Some(archive) = target.archive().await? {
            archived(|| archive.fence(&tenure)).await?;
            let zone = archived(|| archive.zone(&tenure.zone, Some(tenure.grant))).await?;
            parent = zone.and_then(|zone| zone.last);
        }
        let commit = empty_commit(target, position, parent);
        Ok(Self {
            tenure,
            head,
            position,
            parts: 0,
            blob: BytesMut::new(),
            blob_parts: 0,
            commit,
            rows: 0,
            bytes: 0,
            homes: JoinSet::new(),
        })
    }

    pub(super) async fn write_part(&mut self, target: &RestoreTarget, bytes: Bytes) -> anyhow::Result<()> {
        let (tenure, position, index) = (&self.tenure, self.position, self.parts);
        stored(|| target.zones.put_part(tenure, position, index, bytes.clone())).await?;
        self.parts += 1;
        self.blob.extend_from_slice(&bytes);
        while self.blob.len() >= ARCHIVE_PART_BYTES_MAX {
            let part = self.blob.split_to(ARCHIVE_PART_BYTES_MAX).freeze();
            self.write_blob_part(target, part).await?;
        }
        Ok(())
    }

    async fn write_blob_part(&mut self, target: &RestoreTarget, part: Bytes) -> anyhow::Result<()> {
        if let Some(archive) = target.archive().await? {
            let (tenure, mark, index) = (&self.tenure, self.blob_mark(), self.blob_parts);
            archived(|| archive.put_blob_part(tenure, mark, index, part.clone())).await?;
        }
        self.blob_parts += 1;
        Ok(())
    }

    const fn blob_mark(&self) -> CommitMark {
        CommitMark {
            position: self.position,
            number: LAST_COMMIT,
        }
    }

    pub(super) async fn write_character(
        &mut self,
        target: &RestoreTarget,
        character: BackupCharacter,
    ) -> anyhow::Result<()> {
        if character.is_resident {
            let home = Home {
                zone: self.head.zone.clone(),
                generation: character.generation,
            };
            self.write_home(&target.homes, character.account, home).await?;
        }
        let row = target.row(character, CharacterPlace::Zone(self.head.zone.clone()));
        self.make_room(target, row.rows(), row.bytes()).await?;
        self.commit.characters.push(row);
        Ok(())
    }

    /// Writes the home of a character that is in the zone: without an archive nothing else says where it is.
    async fn write_home(&mut self, homes: &Arc<dyn HomeStore>, account: Account, home: Home) -> anyhow::Result<()> {
        while self.homes.len() >= PROCESS_HOMES_IN_FLIGHT_MAX {
            self.homes.join_next().await.context("a home is under way")???;
        }
        let homes = Arc::clone(homes);
        self.homes.spawn(async move {
            let mut expected: Option<Home> = None;
            loop {
                let before = stored(|| homes.set_home(account, expected.as_ref(), &home)).await?;
                match before {
                    None => return Ok(()),
                    // An earlier try wrote it.
                    Some(before) if before.generation > home.generation => return Ok(()),
                    Some(before) => expected = Some(before),
                }
            }
        });
        Ok(())
    }

    pub(super) async fn write_ledger(&mut self, target: &RestoreTarget, row: LedgerRow) -> anyhow::Result<()> {
        self.make_room(target, 1, size_of::<LedgerRow>()).await?;
        self.commit.ledger.push(row);
        Ok(())
    }

    async fn make_room(&mut self, target: &RestoreTarget, rows: usize, bytes: usize) -> anyhow::Result<()> {
        if self.rows + rows > COMMIT_ROWS || self.bytes + bytes > COMMIT_BYTES {
            let next = empty_commit(target, self.position, Some(self.commit.mark));
            let next = ArchiveCommit {
                mark: CommitMark {
                    number: self.commit.mark.number + 1,
                    ..next.mark
                },
                ..next
            };
            let commit = std::mem::replace(&mut self.commit, next);
            self.send(target, &commit).await?;
            (self.rows, self.bytes) = (0, 0);
        }
        self.rows += rows;
        self.bytes += bytes;
        Ok(())
    }

    async fn send(&self, target: &RestoreTarget, commit: &ArchiveCommit) -> anyhow::Result<()> {
        let Some(archive) = target.archive().await? else {
            return Ok(());
        };
        let report = match archived(|| archive.commit(&self.tenure, commit)).await? {
            CommitAnswer::Done(report) => report,
            CommitAnswer::Duplicate => return Ok(()),
            CommitAnswer::Moved { .. } => {
                let why = format!("somebody else writes zone {} into the archive", self.head.zone);
                return Err(CodedError::new("shards_alive", why).into());
            }
        };
        if let Some(account) = report.superseded.first() {
            let why = format!("the archive has a newer row of account {}", account.0);
            return Err(CodedError::new("not_empty", why).into());
        }
        for account in report.names_taken {
            tracing::warn!(account = account.0, "its name is another account's: it has none now");
        }
        Ok(())
    }

    /// Makes the zone whole, in the archive first: what the store has seals it.
    pub(super) async fn finish(mut self, target: &RestoreTarget) -> anyhow::Result<ZoneName> {
        if !self.blob.is_empty() || self.blob_parts == 0 {
            let part = self.blob.split().freeze();
            self.write_blob_part(target, part).await?;
        }
        let blob = ArchiveBlob::of_bytes(self.head.bytes).context("a zone is bounded")?;
        let rows_mark = self.commit.mark;
        let commit = std::mem::replace(&mut self.commit, empty_commit(target, self.position, Some(rows_mark)));
        self.send(target, &commit).await?;
        let last = ArchiveCommit {
            mark: self.blob_mark(),
            blob: Some(blob),
            ..empty_commit(target, self.position, Some(rows_mark))
        };
        self.send(target, &last).await?;
        let head = CheckpointHead {
            position: self.position,
            kind: CheckpointKind::Base,
            parts: self.parts,
            bytes: self.head.bytes,
        };
        stored(|| target.zones.move_head(&self.tenure, head)).await?;
        let seal = Seal {
            position: self.position,
            rules: self.head.rules,
        };
        stored(|| target.zones.seal(&self.tenure, seal)).await?;
        while let Some(home) = self.homes.join_next().await {
            home??;
        }
        #[cfg(feature = "testing")]
        crate::failpoint::reach(crate::failpoint::Failpoint::ZoneRestored, &self.head.zone);
        Ok(self.head.zone)
    }
}

fn empty_commit(target: &RestoreTarget, position: Position, parent: Option<CommitMark>) -> ArchiveCommit {
    ArchiveCommit {
        mark: CommitMark { position, number: 1 },
        parent,
        kept: parent.map_or(Position::GENESIS, |parent| parent.position),
        wall: target.wall,
        blob: None,
        characters: Vec::<CharacterRow>::new(),
        ledger: Vec::new(),
        audit: Vec::new(),
    }
}

/// Asks a store until it answers, a bounded number of times. Every write may be repeated as it was.
async fn stored<T, F: Future<Output = Result<T, StoreError>>>(ask: impl Fn() -> F) -> Result<T, StoreError> {
    for _ in 1..WRITES_MAX {
        match answer(ANSWER_MAX, ask()).await {
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(WRITE_AGAIN).await,
            answer => return answer,
        }
    }
    answer(ANSWER_MAX, ask()).await
}

/// The same of an archive.
async fn archived<T, F: Future<Output = Result<T, ArchiveError>>>(ask: impl Fn() -> F) -> Result<T, ArchiveError> {
    for _ in 1..WRITES_MAX {
        match answer(ANSWER_MAX, ask()).await {
            Err(ArchiveError::Unavailable(_)) => tokio::time::sleep(WRITE_AGAIN).await,
            answer => return answer,
        }
    }
    answer(ANSWER_MAX, ask()).await
}
