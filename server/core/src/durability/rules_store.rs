//! The store of a world's rules: which ones it is to run, and world files. The trait is the contract, a conformance
//! suite asks it of every implementation (`everhold_store::conformance`); who may run what is decided in
//! [`crate::ownership::rules_stamp`].

use async_trait::async_trait;

use super::store::StoreError;
use crate::ownership::{RulesId, RulesStamp};

/// A world file as a shard ran it: enough to build its rules again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldFile {
    /// The rules that it gives.
    pub rules: RulesStamp,
    /// Ticks per second, which are a part of the rules.
    pub tick_hz: u16,
    /// The file's text, as it was read; at most [`WORLD_BYTES_MAX`](crate::limits::WORLD_BYTES_MAX).
    pub text: String,
}

/// Keeps a world's rules.
///
/// # Who may call, and when
///
/// Any process may read. A shard keeps its own file before it contends for zones, so that each zone's rules are there
/// before its first record. The wanted rules are changed by compare-and-set only, by an operator or by the first shard
/// of a world in which no zone has an owner. No fence stands before any of it: it belongs to the world, and to no zone.
///
/// # What an answer means
///
/// - `Ok`: it is so, or it is done, and every later call sees it.
/// - [`StoreError::Corrupt`]: what is there cannot be read; nothing was done.
/// - [`StoreError::Unavailable`]: *unknown*, never a no. Every write may be repeated as it was.
///
/// The other errors are not this trait's.
#[async_trait]
pub trait RulesStore: Send + Sync {
    /// Reads which rules the world is to run. `None`: none are on record.
    async fn wanted(&self) -> Result<Option<RulesId>, StoreError>;

    /// Puts `next` on record as the rules that the world is to run, if `expected` are now. Returns what is on record
    /// then: `next`, if it was done or was so already.
    async fn want(&self, expected: Option<RulesId>, next: RulesId) -> Result<Option<RulesId>, StoreError>;

    /// Keeps a world file under the id of its rules. One that is kept already stays as it is: the same id is the same
    /// rules.
    async fn keep_file(&self, file: &WorldFile) -> Result<(), StoreError>;

    /// Reads the file of these rules, if it is kept.
    async fn kept_file(&self, id: RulesId) -> Result<Option<WorldFile>, StoreError>;

    /// Reads which files are kept, in order of id.
    async fn kept_files(&self) -> Result<Vec<RulesId>, StoreError>;

    /// Deletes the file of these rules, if it is kept.
    async fn drop_file(&self, id: RulesId) -> Result<(), StoreError>;
}
