//! The store of zone data: journals and checkpoints. The trait is the contract, a conformance suite asks it of every
//! implementation (`everhold_store::conformance`), and no implementation is here.

use async_trait::async_trait;
use bytes::Bytes;
use everhold_protocol::{Epoch, SessionId, Tick, ZoneName};

use crate::ownership::holder::command::StoreData;
use crate::ownership::{DataStamp, Tenure};

/// BLAKE3 hash of a record; each record has its predecessor's, so a store can tell a repeat from a gap from a fork.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordHash(pub [u8; 32]);

impl RecordHash {
    /// The hash before a zone's first record.
    pub const GENESIS: Self = Self([0; 32]);
}

impl std::fmt::Debug for RecordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in &self.0[..6] {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A record as the store sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The tick of the inputs.
    pub tick: Tick,
    /// The hash of the record before it.
    pub prev_hash: RecordHash,
    /// The hash of this record.
    pub hash: RecordHash,
    /// The encoded record (epoch included).
    pub body: Bytes,
}

/// Checks that the records of an append are consecutive. Every store calls it before it looks at its own data.
///
/// # Panics
/// If `records` is empty, or one of them does not follow the one before it: that is a defect of the caller, and storing
/// it would make a history that cannot be replayed.
pub fn assert_consecutive(records: &[StoredRecord]) {
    assert!(!records.is_empty(), "an append of nothing");
    for pair in records.windows(2) {
        assert!(
            pair[1].tick == pair[0].tick.next(),
            "record {} follows record {}",
            pair[1].tick,
            pair[0].tick
        );
        assert!(
            pair[1].prev_hash == pair[0].hash,
            "record {} names another predecessor",
            pair[1].tick
        );
    }
}

/// A position in a zone's history: the end of a checkpoint, or a delta's parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// The last tick it covers.
    pub tick: Tick,
    /// The hash of that tick's record.
    pub hash: RecordHash,
}

impl Position {
    /// The position before a zone's first tick.
    pub const GENESIS: Self = Self {
        epoch: Epoch::NONE,
        tick: Tick(0),
        hash: RecordHash::GENESIS,
    };

    /// Returns what it is compared by with the end of another history.
    #[must_use]
    pub const fn stamp(self) -> DataStamp {
        DataStamp {
            epoch: self.epoch,
            tick: self.tick,
        }
    }
}

/// The answer to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendAnswer {
    /// All records are stored.
    Ok,
    /// All records were stored before, with the same hashes: as good as `Ok`.
    Duplicate,
    /// The first record does not follow the last stored one, which is this: send from there.
    Gap {
        /// The store's last tick.
        last: Tick,
    },
    /// The store has another record at this tick, of the same epoch. (One of a lower epoch is written over, and all
    /// that follow it.)
    Fork {
        /// The first tick that differs.
        tick: Tick,
    },
}

/// The kind of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointKind {
    /// The whole state.
    Base,
    /// The changes since `parent`.
    Delta {
        /// The checkpoint it builds on.
        parent: Position,
    },
}

/// A checkpoint whose parts are written and that is to become the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointHead {
    /// The last position that it covers.
    pub position: Position,
    /// Base or delta.
    pub kind: CheckpointKind,
    /// Parts of its body.
    pub parts: u32,
    /// The body's length, bytes.
    pub bytes: u64,
}

/// A checkpoint, read back whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its head.
    pub head: CheckpointHead,
    /// Its body, joined.
    pub body: Bytes,
}

/// All stored data of a zone that an adopter needs, read after the fence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneData {
    /// A base and its deltas, in order. Empty: the zone never had a checkpoint.
    pub chain: Vec<Checkpoint>,
    /// The records after the chain's last position, in order of tick.
    pub records: Vec<StoredRecord>,
    /// Quarantined inputs.
    pub quarantine: Vec<(SessionId, u64)>,
}

/// The summary of a zone's data that `inspect` shows; reading it fences nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneSummary {
    /// The fence's epoch.
    pub fence_epoch: Epoch,
    /// The journal's first and last tick, if it has any.
    pub journal: Option<(Tick, Tick)>,
    /// The newest checkpoint.
    pub head: Option<Position>,
    /// The newest base.
    pub base: Option<Position>,
    /// The end of the newest data, records and checkpoints alike, if there is any.
    pub newest: Option<DataStamp>,
    /// Whether the data set is being written anew from memory and has no base yet.
    pub is_incomplete: bool,
}

impl ZoneSummary {
    /// Returns what an owner has in it to go on from.
    #[must_use]
    pub fn data(&self) -> StoreData {
        match self.newest {
            _ if self.is_incomplete => StoreData::Incomplete,
            Some(newest) => StoreData::Newest(newest),
            None => StoreData::Nothing,
        }
    }
}

/// The reason why a store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A higher epoch, or another nonce of this one, has fenced the zone: the caller is no longer the owner, and stops
    /// at once.
    #[error("fenced by epoch {epoch}")]
    Fenced {
        /// The epoch of the fence.
        epoch: Epoch,
    },
    /// The zone's data set is gone, although it was there. No write makes it anew but [`ZoneStore::create`].
    #[error("the zone's data set is gone")]
    Lost,
    /// The head is not the parent that this checkpoint names.
    #[error("the checkpoint's parent is not the head")]
    ParentMoved,
    /// The data that was read cannot be what was written.
    #[error("corrupt data: {0}")]
    Corrupt(String),
    /// No answer, or not one that can be trusted. The outcome is *unknown*: ask again, or write the same again.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
}

/// The reason why a lost data set is created again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The owner has the zone in memory and will write it whole: until a base is the head, the data set is
    /// *incomplete*. It answers [`ZoneStore::read_zone`] and [`ZoneStore::fence`] with [`StoreError::Lost`]: taken for
    /// a new zone, it would begin the world again.
    Memory,
    /// No shard has the zone any more: it begins again, at tick 0.
    Nothing,
}

/// Keeps the data of zones: for each a fence, a journal of records, a chain of checkpoints, and quarantined inputs.
///
/// # Who may call, and when
///
/// The process that holds a [`Tenure`] may write under its grant, and only to its zone; a grant need not be the newest,
/// for the fence decides. Every write compares the grant with the zone's fence in the same atomic operation.
/// The fence is the highest `(epoch, nonce)` that the store has seen: a write of a higher epoch raises it, one of a
/// lower epoch, or of another nonce of the same epoch, is refused with [`StoreError::Fenced`] and changes nothing. An
/// adopter calls [`ZoneStore::fence`] before [`ZoneStore::read_zone`]. [`ZoneStore::summary`] needs no grant.
///
/// # What an answer means
///
/// - `Ok`: it is done, and every later call of any process sees it. How much of it outlives the store's own death is
///   the implementation's to say.
/// - [`StoreError::Fenced`], [`StoreError::Lost`], [`StoreError::ParentMoved`]: nothing was done; at most the fence was
///   raised.
/// - [`StoreError::Corrupt`]: what is there cannot be read; nothing was done.
/// - [`StoreError::Unavailable`]: *unknown*. A time-out, an answer over a connection that was replaced, or none at all:
///   the call may have been done, or may still be done later, until the fence is raised. It is never a no. Every write
///   may be repeated as it was, and a repeat of one that was done succeeds without a second effect.
///
/// Zones are independent: what becomes of one is no obstacle to another.
#[async_trait]
pub trait ZoneStore: Send + Sync {
    /// Raises the zone's fence to the grant, so that everyone below is shut out. If there never was a data set, makes
    /// an empty one. A store may forget with its data that there was any, so the epoch decides: the first one ever
    /// granted finds no data set, every later one has [`StoreError::Lost`] it. An incomplete data set is `Lost`, too, and
    /// its fence stays as it is: the owner that writes it from memory is not to be shut out by one that has nothing.
    async fn fence(&self, tenure: &Tenure) -> Result<(), StoreError>;

    /// Makes the data set of a zone anew that is [`StoreError::Lost`], fenced by the grant. One that is there and
    /// complete stays as it is, and is fenced.
    ///
    /// An incomplete data set takes parts and a base as its head like any other, and is complete with it; to appends it
    /// answers [`AppendAnswer::Gap`] with `last` 0. With [`Origin::Nothing`] an incomplete one becomes an empty one.
    async fn create(&self, tenure: &Tenure, origin: Origin) -> Result<(), StoreError>;

    /// Reads everything of the zone. Call [`ZoneStore::fence`] first, or a predecessor may write after the read.
    async fn read_zone(&self, zone: &ZoneName) -> Result<ZoneData, StoreError>;

    /// Appends consecutive records, all or none.
    async fn append(&self, tenure: &Tenure, records: &[StoredRecord]) -> Result<AppendAnswer, StoreError>;

    /// Writes one part (at most `PART_BYTES_MAX`) of the body of the checkpoint at `position`.
    async fn put_part(&self, tenure: &Tenure, position: Position, index: u32, bytes: Bytes) -> Result<(), StoreError>;

    /// Makes a checkpoint the head, if all parts are there and (for a delta) its parent is the head now. Moving to
    /// where the head already is succeeds. A base trims the journal to the *previous* base and deletes checkpoints
    /// older than that, and strays.
    async fn move_head(&self, tenure: &Tenure, head: CheckpointHead) -> Result<(), StoreError>;

    /// Marks an input as poison, until a base covers it.
    async fn quarantine(&self, tenure: &Tenure, tick: Tick, session: SessionId, seq: u64) -> Result<(), StoreError>;

    /// Reads what there is of a zone without its data, for people and for the floor of a new epoch. It fences nothing
    /// and changes nothing. `None`: there is no data set.
    async fn summary(&self, zone: &ZoneName) -> Result<Option<ZoneSummary>, StoreError>;
}
