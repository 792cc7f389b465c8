//! Stores, authority, and membership on Redis: one server, a Sentinel group, or a Cluster.
//!
//! ```text
//! NS:{zone}:meta         fence (epoch, nonce), first and last tick of the journal, `hollow` if the data set is
//!                        incomplete, the newest `seal`
//! NS:{zone}:journal      tick → prev_hash, hash, epoch, body
//! NS:{zone}:chain        one line a checkpoint, from the previous base on; the last one is the head
//! NS:{zone}:parts        position and index → bytes of a checkpoint's body
//! NS:{zone}:quarantine   session and seq → tick
//! NS:{zone}:evidence     the history of a zone that went wrong, in parts, and its mark
//! NS:{zone}:lease        epoch, nonce, beat, released, addr, players, ttl_ms, mark
//! NS:home:ACCOUNT        generation and zone; of a character at rest also a run id, and the payload: this expires
//! NS:bans               account → its ban; `marker`, `last`, and `news` of them
//! NS:wanted_rules        id of the rules that the world is to run
//! NS:rules_files         id of rules → code, layout, tick_hz, and the text of their world file
//! NS:zones               which zones there are
//! NS:shards              nonce → beat, address
//! NS:shard_keys          nonce → fingerprints of keys, ttl
//! NS:released            (channel) the name of a zone that was just given up
//! ```
//!
//! A zone's keys share a hash tag, so they lie on one node. Every write is one Lua script that checks epoch, nonce, and
//! hash chain first. No key that decides anything expires, and no clock is read: expiry goes by the wall clock of a
//! server that may be wrong, and a promoted replica expires anew. What expires is a character at rest
//! that the archive has.
//!
//! # What Redis alone promises, and what not
//!
//! *A shard dies, Redis lives*: nothing that anybody was shown is lost; every acknowledged record is there.
//!
//! *Redis stops, or restarts with its data, and the shards live*: a pause. Zones hold, and past their lease they are
//! suspended in memory.
//!
//! *Redis restarts empty and the shards live*: a pause. Each holder puts its lease back and writes its zone anew from
//! memory. A zone whose holder died in the same moment is gone.
//!
//! *A replica is promoted that lacks the last writes* (replication is asynchronous, also under Sentinel and Cluster): a
//! living shard sends what is missing again. If the shard died as well, the missing records are lost: what the store
//! acknowledged is then not what it has. The promoted one may also have forgotten an epoch. New epochs are therefore
//! above what authority, store, and the claimer's own memory have seen, nonces tell two owners of one number apart,
//! stores keep the highest, and the hash chain shows two histories as a fork. That contains the damage, it does not
//! exclude it: for an authority that cannot forget, use one that is made for it.
//!
//! # With replicas that confirm
//!
//! A store that is opened by [`RedisStore::open_confirmed`] answers a write that decides what is lost once so many
//! replicas have confirmed it: each append, fence, creation of a data set, move of a head, quarantined input, and home.
//! `WAIT` asks them on the connection that wrote (`link/node/rounds.rs`).
//!
//! A replica has a prefix of all that its primary wrote, in order. Whatever came before a confirmed write, over
//! whatever connection, is therefore there, too: the parts before their head, a quarantine before the record that
//! relies on it. Whatever deletes something (a head that trims the journal) is there only with what stands for it. And
//! once a fence is confirmed, all is confirmed that is read under it: the former owner wrote it before.
//!
//! Leases are not waited for. A promoted replica may forget a grant, so that two shards take themselves for the owner;
//! but it knows the fence of every epoch under which anything was told, so that the former one can write nothing, and
//! tells nothing.
//!
//! Nothing is lost to a promotion if the promoted one had confirmed. OPERATIONS.md says when that is so.
//!
//! # On a Cluster
//!
//! The keys of a zone share a slot, so its scripts go to one node, and zones lie on different nodes. A slot that is
//! moved, or a node that is replaced by its replica, is a pause for the zones in it: they are not renewed, not claimed,
//! and no player is sent to them. The other zones are, and their journals go on. The list of zones and the two hashes
//! of the directory each lie on a node, too. While the list cannot be read, shards go by the one that they read last.
//! While the directory cannot be, they go by the shards that they saw alive last, and no further shard can start. All
//! of this needs `cluster-require-full-coverage no`: with `yes` every node refuses everything while one slot is not
//! served.
//!
//! `noeviction` is checked at start, of every server that takes writes, and again when another one begins to: an
//! evicted key is lost data. `assets/config/redis.conf` is the profile we recommend.

mod authority;
mod bans;
mod checkpoint;
mod evidence;
mod homes;
mod journal;
mod link;
mod listener;
mod policy;
mod replication;
mod rules;
mod script;
mod seal;
mod setting;
mod target;
mod zone;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceFate, EvidenceMark, StoredEvidence};
use everhold_core::durability::store::{
    AppendAnswer, CheckpointHead, Origin, PartKey, Position, Rewind, Seal, StoreError, StoredRecord, ZoneOutline,
    ZoneStore, ZoneSummary,
};
use everhold_core::limits::PART_BYTES_MAX;
use everhold_core::ownership::{Grant, Tenure};
use everhold_protocol::{SessionId, Tick, ZoneName};
use fred::types::Value;
use fred::types::scripts::Script;

pub use authority::RedisAuthority;
pub use target::RedisTarget;

use crate::thread::{TaskGone, Thread};
use link::RedisLink;

/// Longest wait for an answer of the store; after it the outcome counts as unknown. The largest, a part of 64 KiB or a
/// page of the journal, takes milliseconds.
const STORE_ANSWER_MAX: Duration = Duration::from_secs(1);

/// Longest wait for replicas to confirm one round of writes; after it the outcome counts as unknown. A round trip to a
/// replica takes less than a millisecond in a data centre and a hundred across a continent.
const REPLICAS_ANSWER_MAX: Duration = Duration::from_millis(400);
const _: () = assert!(
    2 * REPLICAS_ANSWER_MAX.as_millis() < STORE_ANSWER_MAX.as_millis(),
    "a write that waits for the round before its own has its answer in time"
);

/// Error of a link to Redis, or of an answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RedisError {
    /// The URL cannot be used. (It is not repeated: it may hold a password.)
    #[error("the store's URL cannot be used: {0}")]
    Url(String),
    /// No server answers there, or not as one that can be used.
    #[error("cannot connect to Redis: {0}")]
    Connect(fred::error::Error),
    /// The server would throw data away when its memory is full.
    #[error(
        "Redis may evict keys (maxmemory-policy is {policy}), which would lose worlds: run `redis-cli -h {host} -p \
         {port} config set maxmemory-policy noeviction`"
    )]
    Evicts {
        /// Its `maxmemory-policy`.
        policy: String,
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
    },
    /// The server takes writes while too few replicas follow it.
    #[error(
        "Redis takes writes that fewer than {replicas} replicas may get ({key} is {is}), which durability level \
         `replica` does not allow: run `redis-cli -h {host} -p {port} config set {key} {must}`"
    )]
    Unguarded {
        /// Replicas that must confirm a write.
        replicas: NonZeroU32,
        /// The setting that is wrong.
        key: &'static str,
        /// Its value.
        is: String,
        /// The value that does.
        must: String,
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Too few replicas confirmed a write, or follow the server at all.
    #[error("{confirmed} replicas of Redis confirm writes, and durability level `replica` needs {replicas}")]
    Unconfirmed {
        /// Replicas that have confirmed.
        confirmed: u32,
        /// Replicas that must.
        replicas: NonZeroU32,
    },
    /// The server is too old.
    #[error("Redis {0} is too old: 6.0 or newer is needed")]
    Version(String),
    /// No answer, or an error.
    #[error("Redis: {0}")]
    Command(fred::error::Error),
    /// An answer over a connection that was replaced meanwhile.
    #[error("the connection to Redis was replaced meanwhile")]
    Replaced,
    /// An answer that is none to the question.
    #[error("Redis answers with something else than was asked: {0}")]
    Answer(String),
    /// The thread of the links cannot be started, or is gone.
    #[error("the thread of the links to Redis: {0}")]
    Thread(String),
}

impl From<TaskGone> for RedisError {
    fn from(error: TaskGone) -> Self {
        Self::Thread(error.to_string())
    }
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Makes the names of keys.
#[derive(Clone, Debug)]
struct KeyNames(Arc<str>);

impl KeyNames {
    fn zone(&self, zone: &ZoneName, what: &str) -> String {
        format!("{}:{{{zone}}}:{what}", self.0)
    }

    fn world(&self, what: &str) -> String {
        format!("{}:{what}", self.0)
    }
}

/// Makes a script that writes to a zone: it checks the fence first.
macro_rules! zone_script {
    ($file:literal) => {
        std::sync::LazyLock::new(|| {
            fred::types::scripts::Script::from_lua(concat!(
                include_str!("lua/fence_check.lua"),
                "\n",
                include_str!($file)
            ))
        })
    };
}
use zone_script;

/// Journals, checkpoints, and homes in Redis. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RedisStore {
    keys: KeyNames,
    /// The link of appends, a link of its own: an append never waits behind a checkpoint's parts.
    journal: RedisLink,
    checkpoint: RedisLink,
    confirmation: Option<Confirmation>,
}

/// The additions of level `replica`.
#[derive(Clone, Debug)]
struct Confirmation {
    /// Replicas that must confirm a write.
    replicas: NonZeroU32,
    /// The link of writes that must not be lost and are no appends, a link of its own: `WAIT` holds up whatever comes
    /// after it on its connection, and neither appends nor what needs no confirmation should stand there.
    decisions: RedisLink,
}

impl RedisStore {
    /// Connects, and checks that the server keeps what it is given.
    pub async fn open(target: &RedisTarget) -> Result<Self, RedisError> {
        Self::open_with(target, None).await
    }

    /// Connects, and checks that the server keeps what it is given, and takes no writes without so many replicas. What
    /// decides what is lost then counts as done once they have confirmed it, as the module's docs say.
    ///
    /// # Errors
    /// The same as of [`RedisStore::open`], and [`RedisError::Unguarded`] or [`RedisError::Unconfirmed`] of a server
    /// that cannot keep that promise now.
    pub async fn open_confirmed(target: &RedisTarget, replicas: NonZeroU32) -> Result<Self, RedisError> {
        Self::open_with(target, Some(replicas)).await
    }

    async fn open_with(target: &RedisTarget, replicas: Option<NonZeroU32>) -> Result<Self, RedisError> {
        let thread = Arc::new(Thread::start("redis-store").map_err(|error| RedisError::Thread(error.to_string()))?);
        let journal = RedisLink::open(Arc::clone(&thread), "journal", target.config.clone(), STORE_ANSWER_MAX).await?;
        let open =
            async |name| RedisLink::open(Arc::clone(&thread), name, target.config.clone(), STORE_ANSWER_MAX).await;
        let checkpoint = open("checkpoint").await?;
        policy::check(&checkpoint, replicas).await?;
        checkpoint.spawn(policy::watch(checkpoint.downgrade(), replicas));
        let confirmation = match replicas {
            None => None,
            Some(replicas) => Some(Confirmation {
                replicas,
                decisions: open("decisions").await?,
            }),
        };
        Ok(Self {
            keys: target.keys(),
            journal,
            checkpoint,
            confirmation,
        })
    }

    /// Runs the script of an append.
    async fn run_append(
        &self,
        script: &Script,
        keys: Vec<String>,
        words: Vec<Value>,
    ) -> Result<Vec<Value>, RedisError> {
        match &self.confirmation {
            None => self.journal.run(script, keys, words).await,
            Some(Confirmation { replicas, .. }) => self.journal.run_confirmed(script, keys, words, *replicas).await,
        }
    }

    /// Runs the script of another write that must not be lost once it is answered.
    async fn decide(&self, script: &Script, keys: Vec<String>, words: Vec<Value>) -> Result<Vec<Value>, RedisError> {
        match &self.confirmation {
            None => self.checkpoint.run(script, keys, words).await,
            Some(Confirmation { replicas, decisions }) => decisions.run_confirmed(script, keys, words, *replicas).await,
        }
    }

    /// Removes every key of the namespace: a world that was only a demonstration.
    pub async fn remove_world(&self, zones: &[ZoneName]) -> Result<(), RedisError> {
        for zone in zones {
            let names = ["meta", "journal", "chain", "parts", "quarantine", "evidence", "lease"];
            let keys = names.iter().map(|name| self.keys.zone(zone, name).into()).collect();
            self.checkpoint.command("UNLINK", keys).await?;
        }
        for name in ["zones", "shards", "shard_keys", bans::BANS, rules::WANTED, rules::FILES] {
            let keys = vec![self.keys.world(name).into()];
            self.checkpoint.command("UNLINK", keys).await?;
        }
        homes::remove_all(self).await
    }
}

#[async_trait]
impl ZoneStore for RedisStore {
    async fn fence(&self, tenure: &Tenure) -> Result<(), StoreError> {
        self.fence_zone(tenure).await
    }

    async fn create(&self, tenure: &Tenure, origin: Origin) -> Result<(), StoreError> {
        self.create_zone(tenure, origin).await
    }

    async fn outline(&self, zone: &ZoneName, reader: Option<Grant>) -> Result<ZoneOutline, StoreError> {
        self.outline_for(zone, reader).await
    }

    async fn read_parts(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        parts: &[PartKey],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.parts(zone, reader, parts).await
    }

    async fn read_records(
        &self,
        zone: &ZoneName,
        reader: Option<Grant>,
        from: Tick,
        ticks: u32,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        self.records(zone, reader, from, ticks).await
    }

    async fn rewind(&self, tenure: &Tenure, to: Rewind) -> Result<(), StoreError> {
        self.rewind_zone(tenure, to).await
    }

    async fn append(&self, tenure: &Tenure, records: &[StoredRecord]) -> Result<AppendAnswer, StoreError> {
        self.append_records(tenure, records).await
    }

    async fn put_part(&self, tenure: &Tenure, position: Position, index: u32, bytes: Bytes) -> Result<(), StoreError> {
        assert!(bytes.len() <= PART_BYTES_MAX, "a part of {} bytes", bytes.len());
        self.write_part(tenure, position, index, bytes).await
    }

    async fn drop_parts(&self, tenure: &Tenure, position: Position, parts: u32) -> Result<(), StoreError> {
        self.delete_parts(tenure, position, parts).await
    }

    async fn move_head(&self, tenure: &Tenure, head: CheckpointHead) -> Result<(), StoreError> {
        self.write_head(tenure, head).await
    }

    async fn seal(&self, tenure: &Tenure, seal: Seal) -> Result<(), StoreError> {
        self.seal_zone(tenure, seal).await
    }

    async fn quarantine(&self, tenure: &Tenure, tick: Tick, session: SessionId, seq: u64) -> Result<(), StoreError> {
        self.write_quarantine(tenure, tick, session, seq).await
    }

    async fn put_evidence(&self, tenure: &Tenure, index: u32, bytes: Bytes) -> Result<EvidenceAnswer, StoreError> {
        assert!(bytes.len() <= PART_BYTES_MAX, "a part of {} bytes", bytes.len());
        self.write_evidence(tenure, index, bytes).await
    }

    async fn seal_evidence(&self, tenure: &Tenure, mark: EvidenceMark) -> Result<EvidenceAnswer, StoreError> {
        self.write_seal(tenure, mark).await
    }

    async fn drop_evidence(&self, tenure: &Tenure) -> Result<(), StoreError> {
        self.delete_evidence(tenure).await
    }

    async fn evidence(&self, zone: &ZoneName) -> Result<Option<StoredEvidence>, StoreError> {
        self.read_mark(zone).await
    }

    async fn read_evidence(&self, zone: &ZoneName, index: u32) -> Result<Option<Bytes>, StoreError> {
        self.evidence_part(zone, index).await
    }

    async fn settle_evidence(
        &self,
        zone: &ZoneName,
        mark: EvidenceMark,
        fate: EvidenceFate,
    ) -> Result<bool, StoreError> {
        self.write_fate(zone, mark, fate).await
    }

    async fn discard_evidence(&self, zone: &ZoneName) -> Result<(), StoreError> {
        self.unlink_evidence(zone).await
    }

    async fn summary(&self, zone: &ZoneName) -> Result<Option<ZoneSummary>, StoreError> {
        self.summarize(zone).await
    }
}
