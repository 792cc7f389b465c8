//! The store of zone data: journals and checkpoints. The trait is the contract, a conformance suite asks it of every
//! implementation (`everhold_store::conformance`), and no implementation is here.

mod seal;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use everhold_protocol::{Epoch, SessionId, Tick, ZoneName};

pub use self::seal::Seal;
use super::evidence::{EvidenceAnswer, EvidenceFate, EvidenceMark, StoredEvidence};
use crate::ownership::holder::command::{StoreData, StoreFence};
use crate::ownership::{DataStamp, Grant, Nonce, Tenure};

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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppendAnswer {
    /// All records are stored.
    Ok,
    /// All records were stored before, with the same hashes: as good as `Ok`.
    Duplicate,
    /// The first record does not follow the last stored one, which is this: send from there. If it is not before the
    /// records that were sent, the store has another history, of a lower epoch, that only a base takes back.
    Gap {
        /// The store's last tick, or that of its newest checkpoint.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

impl Checkpoint {
    /// Joins a head with all that was read of its body.
    ///
    /// # Errors
    /// It is not as long as it was.
    pub fn joined(head: CheckpointHead, body: Bytes) -> Result<Self, StoreError> {
        if body.len() as u64 == head.bytes {
            return Ok(Self { head, body });
        }
        let (tick, found, bytes) = (head.position.tick, body.len(), head.bytes);
        Err(StoreError::Corrupt(format!(
            "the checkpoint of tick {tick} has {found} of {bytes} bytes"
        )))
    }
}

/// Ticks of a page of records, where nothing measures how many fit.
const RECORDS_PAGE: u32 = 64;

/// All stored data of a zone that an adopter needs, read after the fence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneData {
    /// A base and its deltas, in order. Empty: the zone never had a checkpoint.
    pub chain: Vec<Checkpoint>,
    /// The records after the chain's last position, in order of tick.
    pub records: Vec<StoredRecord>,
    /// Quarantined inputs.
    pub quarantine: Vec<(SessionId, u64)>,
    /// Whether a seal ends it, and the next owner may go on under other rules.
    pub may_change_rules: bool,
}

/// All that a store has of a zone but for records and bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneOutline {
    /// The fence: the highest epoch seen, and the process that it was granted to.
    pub fence: (Epoch, Nonce),
    /// The checkpoints from the previous base on, in the order in which they became the head.
    pub chain: Vec<CheckpointHead>,
    /// The journal's first and last tick, if it has any.
    pub journal: Option<(Tick, Tick)>,
    /// Quarantined inputs, in order.
    pub quarantine: Vec<(SessionId, u64)>,
    /// The seal, if the data ends at it.
    pub seal: Option<Seal>,
}

impl ZoneOutline {
    /// Returns the last tick that the store knows of.
    #[must_use]
    pub fn end(&self) -> Tick {
        let head = self.chain.last().map(|head| head.position.tick);
        head.max(self.journal.map(|(_, last)| last)).unwrap_or_default()
    }

    /// Returns where the base of the first `kept` checkpoints stands among them. `None`: there is none.
    #[must_use]
    pub fn base_of(&self, kept: usize) -> Option<usize> {
        self.chain[..kept]
            .iter()
            .rposition(|head| head.kind == CheckpointKind::Base)
    }

    /// Checks that `reader` holds the fence; one without a grant may always read.
    ///
    /// # Errors
    /// Another holds it, or the store has forgotten that it was raised.
    pub fn check_reader(fence: (Epoch, Nonce), reader: Option<Grant>) -> Result<(), StoreError> {
        let Some(reader) = reader else { return Ok(()) };
        if fence == (reader.epoch(), reader.nonce()) {
            return Ok(());
        }
        if fence.0 < reader.epoch() {
            let why = "the zone's fence went back while it was read";
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        Err(StoreError::Fenced { epoch: fence.0 })
    }
}

/// A part of a checkpoint's body, by the checkpoint's position and the part's index.
pub type PartKey = (Position, u32);

/// The end of the history that an adoption goes on from: what the store has beyond it is damaged, or leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewind {
    /// The last checkpoint that is kept. `None`: none is.
    pub head: Option<Position>,
    /// The last tick whose record is kept.
    pub last: Tick,
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
    /// The seal, if the data ends at it.
    pub seal: Option<Seal>,
}

impl ZoneSummary {
    /// Returns what a claim must know of it.
    #[must_use]
    pub fn fence(&self) -> StoreFence {
        StoreFence::Epoch {
            fence: self.fence_epoch,
            data: self.newest,
        }
    }

    /// Returns what an owner has in it to go on from.
    #[must_use]
    pub fn data(&self) -> StoreData {
        match self.newest {
            _ if self.is_incomplete => StoreData::Incomplete {
                epoch: self.fence_epoch,
            },
            Some(newest) => StoreData::Newest(newest),
            None => StoreData::Nothing,
        }
    }
}

/// The reason why a store did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
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
/// adopter calls [`ZoneStore::fence`], and then reads page by page: [`ZoneStore::outline`], then as many of
/// [`ZoneStore::read_parts`] and [`ZoneStore::read_records`] as it needs. Each page is answered by itself, so that a
/// time-out measures progress, however large the zone is and however slow the way to it. A page that is asked for under
/// a grant is given only while that grant is the fence: the pages of one grant belong together. Without a grant anyone
/// may read, as with [`ZoneStore::summary`], and must compare the fence of two outlines itself.
///
/// # What an answer means
///
/// - `Ok`: it is done, and every later call of any process sees it. How much of it outlives the store's own death is
///   the implementation's to say.
/// - [`StoreError::Fenced`], [`StoreError::Lost`]: nothing was done; at most the fence was raised.
/// - [`StoreError::ParentMoved`], [`StoreError::Corrupt`] (what is there cannot be read, or is not what the caller says
///   it is): nothing was done, and the fence is where it was.
/// - [`StoreError::Unavailable`]: *unknown*. A time-out, an answer over a connection that was replaced, or none at all:
///   the call may have been done, or may still be done later, until the fence is raised. It is never a no. Every write
///   may be repeated as it was, and a repeat of one that was done succeeds without a second effect.
///
/// Zones are independent: what becomes of one is no obstacle to another.
#[async_trait]
pub trait ZoneStore: Send + Sync {
    /// Raises the zone's fence to the grant, so that everyone below is shut out. If there never was a data set, makes
    /// an empty one. A store may forget with its data that there was any, so the epoch decides: the first one ever
    /// granted finds no data set, every later one has [`StoreError::Lost`] it. An incomplete data set is `Lost`, too,
    /// and its fence stays as it is: the owner that writes it from memory is not to be shut out by one that has
    /// nothing.
    ///
    /// A fence that rises deletes the parts of evidence that was never sealed: their owner is shut out, and no other
    /// would finish them. So does [`ZoneStore::create`], if it makes a data set.
    async fn fence(&self, tenure: &Tenure) -> Result<(), StoreError>;

    /// Makes the data set of a zone anew that is [`StoreError::Lost`], fenced by the grant. One that is there and
    /// complete stays as it is, and is fenced.
    ///
    /// An incomplete data set takes parts and a base as its head like any other, and is complete with it; to appends it
    /// answers [`AppendAnswer::Gap`] with `last` 0. With [`Origin::Nothing`] an incomplete one becomes an empty one.
    async fn create(&self, tenure: &Tenure, origin: Origin) -> Result<(), StoreError>;

    /// Reads what there is of the zone but for records and bodies. `reader` is the grant of the fence, or `None`.
    async fn outline(&self, zone: &ZoneName, reader: Option<Grant>) -> Result<ZoneOutline, StoreError>;

    /// Reads parts of bodies, in the order in which they are asked for; `None` for one that is not there. `reader` as
    /// with [`ZoneStore::outline`].
    async fn read_parts(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        parts: &[PartKey],
    ) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// Reads those records of the `ticks` ticks from `from` on that are there, in order of tick. `reader` as with
    /// [`ZoneStore::outline`].
    async fn read_records(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        from: Tick,
        ticks: u32,
    ) -> Result<Vec<StoredRecord>, StoreError>;

    /// Reads the newest base, its deltas, and all records after them, without a grant and without a bound on the time
    /// that it takes: for tools and tests.
    async fn read_zone(&self, zone: &ZoneName) -> Result<ZoneData, StoreError> {
        let outline = self.outline(zone, None).await?;
        let base = outline.base_of(outline.chain.len()).unwrap_or(0);
        let mut data = ZoneData {
            quarantine: outline.quarantine,
            ..ZoneData::default()
        };
        for head in &outline.chain[base..] {
            let mut body = BytesMut::new();
            for index in 0..head.parts {
                let part = self.read_parts(zone, None, &[(head.position, index)]).await?;
                body.extend(part.into_iter().flatten().flatten());
            }
            data.chain.push(Checkpoint::joined(*head, body.freeze())?);
        }
        let mut from = data.chain.last().map_or(Tick(1), |head| head.head.position.tick.next());
        let last = outline.journal.map_or(Tick(0), |(_, last)| last);
        while from <= last {
            let page = self.read_records(zone, None, from, RECORDS_PAGE).await?;
            data.records.extend(page);
            from += u64::from(RECORDS_PAGE);
        }
        if self.outline(zone, None).await?.fence == outline.fence {
            return Ok(data);
        }
        let why = "the zone changed hands while it was read";
        Err(StoreError::Unavailable(why.to_owned()))
    }

    /// Ends the stored history where an adoption goes on from: deletes the checkpoints after `to.head` with their
    /// parts, and the records after `to.last`. What was written under this very grant stays: a repeat that comes late
    /// does no harm.
    async fn rewind(&self, tenure: &Tenure, to: Rewind) -> Result<(), StoreError>;

    /// Appends consecutive records, all or none.
    async fn append(&self, tenure: &Tenure, records: &[StoredRecord]) -> Result<AppendAnswer, StoreError>;

    /// Writes one part (at most `PART_BYTES_MAX`) of the body of the checkpoint at `position`.
    async fn put_part(&self, tenure: &Tenure, position: Position, index: u32, bytes: Bytes) -> Result<(), StoreError>;

    /// Deletes the first `parts` parts at `position`, unless a checkpoint there is or was the head: its owner has given
    /// it up.
    async fn drop_parts(&self, tenure: &Tenure, position: Position, parts: u32) -> Result<(), StoreError>;

    /// Makes a checkpoint the head, if all parts are there and (for a delta) its parent is the head now. Moving to
    /// where the head already is succeeds. A base trims the journal to the *previous* base and deletes checkpoints
    /// older than that, and strays.
    async fn move_head(&self, tenure: &Tenure, head: CheckpointHead) -> Result<(), StoreError>;

    /// Seals the zone: a stop has ended it, and its newest base, at `seal.position`, is all that goes on. The seal
    /// lasts as long as the data ends there: the first record or head after it ends it in the write that brings it.
    /// [`StoreError::ParentMoved`]: no base that ends the data is there.
    async fn seal(&self, tenure: &Tenure, seal: Seal) -> Result<(), StoreError>;

    /// Marks an input as poison, until a base covers it.
    async fn quarantine(&self, tenure: &Tenure, tick: Tick, session: SessionId, seq: u64) -> Result<(), StoreError>;

    /// Writes one part (at most `PART_BYTES_MAX`) of a piece of evidence. The first one deletes what is left of a piece
    /// that was never sealed. [`EvidenceAnswer::Counted`]: one is sealed already, and nothing is written.
    ///
    /// Evidence stands beside the zone's data: no base, rewind, or new epoch deletes any of it.
    async fn put_evidence(&self, tenure: &Tenure, index: u32, bytes: Bytes) -> Result<EvidenceAnswer, StoreError>;

    /// Seals a piece of evidence, if all parts are there: from then on it is the zone's evidence, until it is
    /// [settled](ZoneStore::settle_evidence). If an earlier one is sealed, this one is counted, once for each epoch.
    async fn seal_evidence(&self, tenure: &Tenure, mark: EvidenceMark) -> Result<EvidenceAnswer, StoreError>;

    /// Deletes the parts of a piece that is not sealed.
    async fn drop_evidence(&self, tenure: &Tenure) -> Result<(), StoreError>;

    /// Reads which evidence there is of a zone, without its parts.
    async fn evidence(&self, zone: &ZoneName) -> Result<Option<StoredEvidence>, StoreError>;

    /// Reads a part of the sealed evidence; `None` if it is not there.
    async fn read_evidence(&self, zone: &ZoneName, index: u32) -> Result<Option<Bytes>, StoreError>;

    /// Notes that the evidence of this mark was exported, or deletes it, without a grant: that is an operator's to say.
    /// Whether there was one of this mark.
    async fn settle_evidence(
        &self,
        zone: &ZoneName,
        mark: EvidenceMark,
        fate: EvidenceFate,
    ) -> Result<bool, StoreError>;

    /// Deletes all that there is of a zone's evidence, whether or not it is sealed or can be read, without a grant: for
    /// evidence whose mark is damaged, which nothing else can name.
    async fn discard_evidence(&self, zone: &ZoneName) -> Result<(), StoreError>;

    /// Reads what there is of a zone without its data, for people and for the floor of a new epoch. It fences nothing
    /// and changes nothing. `None`: there is no data set.
    async fn summary(&self, zone: &ZoneName) -> Result<Option<ZoneSummary>, StoreError>;
}
