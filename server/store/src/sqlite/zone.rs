//! One zone's file: its fence, and what is read from it. Appending and checkpoints are in the modules beside.

use std::path::PathBuf;

use bytes::Bytes;
use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceFate, EvidenceMark, StoredEvidence};
use everhold_core::durability::store::{
    AppendAnswer, CheckpointHead, CheckpointKind, Origin, PartKey, Position, Rewind, Seal, StoreError, StoredRecord,
    ZoneOutline, ZoneSummary,
};
use everhold_core::ownership::{Grant, Nonce};
use everhold_protocol::{Epoch, SessionId, Tick};
use rusqlite::{OptionalExtension, Transaction};

use super::file::{File, Layout, Rollback, Synchronous};
use super::row::StepResult;
use super::{checkpoint, evidence, journal, seal};

/// A checkpoint's row was the head once; the highest `ord` is the head now. A position names the parts of a body before
/// it has a row.
macro_rules! schema {
    ($is_incomplete:literal) => {
        concat!(
            "
        CREATE TABLE fence (
            id INTEGER PRIMARY KEY CHECK (id = 0), epoch INTEGER NOT NULL, nonce INTEGER NOT NULL,
            is_hollow INTEGER NOT NULL
        ) STRICT;
        INSERT INTO fence (id, epoch, nonce, is_hollow) VALUES (0, 0, 0, ",
            $is_incomplete,
            ");
        CREATE TABLE record (
            tick INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, prev_hash BLOB NOT NULL, hash BLOB NOT NULL,
            body BLOB NOT NULL
        ) STRICT;
        CREATE TABLE checkpoint (
            ord INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, tick INTEGER NOT NULL, hash BLOB NOT NULL,
            is_base INTEGER NOT NULL, parts INTEGER NOT NULL, bytes INTEGER NOT NULL, UNIQUE (tick, epoch, hash)
        ) STRICT;
        CREATE TABLE part (
            tick INTEGER NOT NULL, epoch INTEGER NOT NULL, hash BLOB NOT NULL, idx INTEGER NOT NULL,
            bytes BLOB NOT NULL, UNIQUE (tick, epoch, hash, idx)
        ) STRICT;
        CREATE TABLE quarantine (
            session INTEGER NOT NULL, seq INTEGER NOT NULL, tick INTEGER NOT NULL, PRIMARY KEY (session, seq)
        ) STRICT, WITHOUT ROWID;
    "
        )
    };
}

const LAYOUT: Layout = Layout {
    version: 2,
    synchronous: Synchronous::Normal,
    schema: schema!("0"),
};

/// The layout of a file that is incomplete from the first moment on.
const INCOMPLETE: Layout = Layout {
    schema: schema!("1"),
    ..LAYOUT
};

/// Whether a zone's file is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FilePresence {
    /// The file is there.
    Present,
    /// The file is not there, or it is empty.
    Missing,
}

/// A zone's file, opened when it is first needed, and again when it was replaced.
#[derive(Debug)]
pub(super) struct ZoneFile {
    path: PathBuf,
    file: Option<File>,
}

impl ZoneFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    pub(super) fn presence(&mut self) -> Result<FilePresence, StoreError> {
        match self.file() {
            Ok(_) => Ok(FilePresence::Present),
            Err(StoreError::Lost) => Ok(FilePresence::Missing),
            Err(error) => Err(error),
        }
    }

    pub(super) fn create(&mut self, origin: Origin) -> Result<(), StoreError> {
        let layout = match origin {
            Origin::Memory => INCOMPLETE,
            Origin::Nothing => LAYOUT,
        };
        self.file = Some(File::create(&self.path, layout)?);
        Ok(())
    }

    pub(super) fn fence(&mut self, grant: Grant) -> Result<(), StoreError> {
        self.write(|file| {
            let (is_incomplete, before) = (is_incomplete(file)?, fence(file)?);
            check_fence(file, grant)?;
            if is_incomplete {
                // Undoes the fence, too.
                return Err(Rollback::Refused(StoreError::Lost));
            }
            if before != (grant.epoch(), grant.nonce()) {
                evidence::drop_parts(file)?;
            }
            Ok(())
        })
    }

    /// Fences what is there, and makes a whole data set of an incomplete one if it is to begin again.
    pub(super) fn begin(&mut self, grant: Grant, origin: Origin) -> Result<(), StoreError> {
        self.write(|file| {
            check_fence(file, grant)?;
            if origin == Origin::Nothing && is_incomplete(file)? {
                for table in ["record", "checkpoint", "part", "quarantine"] {
                    file.execute(&format!("DELETE FROM {table}"), [])?;
                }
                evidence::drop_parts(file)?;
                set_whole(file)?;
            }
            Ok(())
        })
    }

    pub(super) fn append(&mut self, grant: Grant, records: &[StoredRecord]) -> Result<AppendAnswer, StoreError> {
        self.write(|file| {
            check_fence(file, grant)?;
            if is_incomplete(file)? {
                return Ok(AppendAnswer::Gap { last: Tick(0) });
            }
            journal::append(file, grant, records)
        })
    }

    pub(super) fn put_part(
        &mut self,
        grant: Grant,
        position: Position,
        index: u32,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.write(|file| {
            check_fence(file, grant)?;
            checkpoint::put_part(file, position, index, bytes)
        })
    }

    pub(super) fn drop_parts(&mut self, grant: Grant, position: Position, parts: u32) -> Result<(), StoreError> {
        self.write(|file| {
            check_fence(file, grant)?;
            checkpoint::drop_parts(file, position, parts)
        })
    }

    pub(super) fn move_head(&mut self, grant: Grant, head: CheckpointHead) -> Result<(), StoreError> {
        self.write(|file| {
            check_fence(file, grant)?;
            checkpoint::move_head(file, grant, head)?;
            if head.kind == CheckpointKind::Base {
                set_whole(file)?;
            }
            Ok(())
        })
    }

    pub(super) fn seal(&mut self, grant: Grant, seal: Seal) -> Result<(), StoreError> {
        self.write(|file| {
            check_fence(file, grant)?;
            if !seal.ends(&checkpoint::chain(file)?, journal::ends(file)?) {
                return Err(Rollback::Refused(StoreError::ParentMoved));
            }
            seal::write(file, seal)
        })
    }

    pub(super) fn quarantine(
        &mut self,
        grant: Grant,
        tick: Tick,
        session: SessionId,
        seq: u64,
    ) -> Result<(), StoreError> {
        self.write(|file| {
            check_fence(file, grant)?;
            file.prepare_cached("INSERT OR IGNORE INTO quarantine (session, seq, tick) VALUES (?1, ?2, ?3)")?
                .execute((session.0.cast_signed(), seq.cast_signed(), tick.0.cast_signed()))?;
            Ok(())
        })
    }

    pub(super) fn put_evidence(
        &mut self,
        grant: Grant,
        index: u32,
        bytes: &[u8],
    ) -> Result<EvidenceAnswer, StoreError> {
        self.write(|file| {
            check_fence(file, grant)?;
            evidence::put(file, index, bytes)
        })
    }

    pub(super) fn seal_evidence(&mut self, grant: Grant, mark: EvidenceMark) -> Result<EvidenceAnswer, StoreError> {
        self.write(|file| {
            check_fence(file, grant)?;
            evidence::seal(file, mark)
        })
    }

    pub(super) fn drop_evidence(&mut self, grant: Grant) -> Result<(), StoreError> {
        self.write(|file| {
            check_fence(file, grant)?;
            evidence::drop_parts(file)
        })
    }

    pub(super) fn evidence(&mut self) -> Result<Option<StoredEvidence>, StoreError> {
        self.read(evidence::read)
    }

    pub(super) fn read_evidence(&mut self, index: u32) -> Result<Option<Bytes>, StoreError> {
        self.read(|file| evidence::read_part(file, index))
    }

    pub(super) fn settle_evidence(&mut self, mark: EvidenceMark, fate: EvidenceFate) -> Result<bool, StoreError> {
        self.write(|file| evidence::settle(file, mark, fate))
    }

    pub(super) fn discard_evidence(&mut self) -> Result<(), StoreError> {
        self.write(evidence::discard)
    }

    pub(super) fn outline(&mut self, reader: Option<Grant>) -> Result<ZoneOutline, StoreError> {
        self.read(|file| {
            let mut statement = file.prepare_cached("SELECT session, seq FROM quarantine")?;
            let quarantine = statement.query_map([], |row| {
                Ok((
                    everhold_protocol::EntityId(row.get::<_, i64>(0)?.cast_unsigned()),
                    row.get::<_, i64>(1)?.cast_unsigned(),
                ))
            })?;
            let mut quarantine: Vec<_> = quarantine.collect::<Result<_, _>>()?;
            // The file's integers have a sign.
            quarantine.sort_unstable();
            let (chain, journal) = (checkpoint::chain(file)?, journal::ends(file)?);
            Ok(ZoneOutline {
                fence: check_reader(file, reader)?,
                seal: seal::read(file)?.filter(|seal| seal.ends(&chain, journal)),
                chain,
                journal,
                quarantine,
            })
        })
    }

    pub(super) fn read_parts(
        &mut self,
        reader: Option<Grant>,
        parts: &[PartKey],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.read(|file| {
            check_reader(file, reader)?;
            checkpoint::read_parts(file, parts)
        })
    }

    pub(super) fn read_records(
        &mut self,
        reader: Option<Grant>,
        from: Tick,
        ticks: u32,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        self.read(|file| {
            check_reader(file, reader)?;
            journal::read(file, from, ticks)
        })
    }

    pub(super) fn rewind(&mut self, grant: Grant, to: Rewind) -> Result<(), StoreError> {
        self.write(|file| {
            check_fence(file, grant)?;
            checkpoint::rewind(file, grant.epoch(), to.head)?;
            journal::rewind(file, grant.epoch(), to.last)
        })
    }

    pub(super) fn summary(&mut self) -> Result<ZoneSummary, StoreError> {
        self.read(|file| {
            let (fence_epoch, _) = fence(file)?;
            let chain = checkpoint::chain(file)?;
            let base = chain.iter().rfind(|head| head.kind == CheckpointKind::Base);
            let position = |head: Option<&CheckpointHead>| head.map(|head| head.position);
            let journal = journal::ends(file)?;
            Ok(ZoneSummary {
                fence_epoch,
                journal,
                head: position(chain.last()),
                base: position(base),
                newest: journal::newest(file)?.max(chain.last().map(|head| head.position.stamp())),
                is_incomplete: is_incomplete(file)?,
                seal: seal::read(file)?.filter(|seal| seal.ends(&chain, journal)),
            })
        })
    }

    fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> StepResult<T>) -> Result<T, StoreError> {
        self.file()?.write(work)
    }

    fn read<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> StepResult<T>) -> Result<T, StoreError> {
        self.file()?.read(work)
    }

    /// Returns the file, if it is the one that the path names. [`StoreError::Lost`] if there is none: only a first
    /// fence makes one.
    fn file(&mut self) -> Result<&mut File, StoreError> {
        if self.file.as_ref().is_some_and(|file| !file.is_current()) {
            self.file = None;
        }
        if self.file.is_none() {
            self.file = File::open(&self.path, LAYOUT)?;
        }
        self.file.as_mut().ok_or(StoreError::Lost)
    }
}

/// Raises the fence to `grant`, or refuses it: the first step of every write, in the same transaction.
fn check_fence(file: &Transaction<'_>, grant: Grant) -> StepResult<()> {
    let (epoch, nonce) = fence(file)?;
    let theirs = (grant.epoch(), grant.nonce());
    if theirs == (epoch, nonce) {
        return Ok(());
    }
    if theirs.0 <= epoch {
        return Err(Rollback::Refused(StoreError::Fenced { epoch }));
    }
    file.prepare_cached("UPDATE fence SET epoch = ?1, nonce = ?2")?
        .execute((theirs.0.0, theirs.1.0.cast_signed()))?;
    Ok(())
}

/// Checks that a reader holds the fence of a complete data set, and returns the fence.
fn check_reader(file: &Transaction<'_>, reader: Option<Grant>) -> StepResult<(Epoch, Nonce)> {
    if is_incomplete(file)? {
        return Err(Rollback::Refused(StoreError::Lost));
    }
    let fence = fence(file)?;
    ZoneOutline::check_reader(fence, reader).map_err(Rollback::Refused)?;
    Ok(fence)
}

fn fence(file: &Transaction<'_>) -> StepResult<(Epoch, Nonce)> {
    file.prepare_cached("SELECT epoch, nonce FROM fence")?
        .query_row([], |row| {
            let nonce = row.get::<_, i64>(1)?.cast_unsigned();
            Ok((Epoch(row.get(0)?), Nonce(nonce)))
        })
        .optional()?
        .ok_or_else(|| Rollback::Refused(StoreError::Corrupt("the fence is gone".to_owned())))
}

/// Whether no base is the head yet since the data set was made anew from memory (column `is_hollow`).
fn is_incomplete(file: &Transaction<'_>) -> StepResult<bool> {
    Ok(file
        .prepare_cached("SELECT is_hollow FROM fence")?
        .query_row([], |row| row.get(0))?)
}

fn set_whole(file: &Transaction<'_>) -> StepResult<()> {
    file.prepare_cached("UPDATE fence SET is_hollow = 0 WHERE is_hollow = 1")?
        .execute([])?;
    Ok(())
}
