//! Accounts: in which zone an account's character lives, and the character itself while it rests outside of it. The
//! trait is the contract, a conformance suite asks it of every implementation (`everhold_store::conformance`); where a
//! player is sent, and what is kept, is decided elsewhere.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use everhold_protocol::{Account, ZoneName};

use crate::durability::store::StoreError;

/// The home of an account's character.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Home {
    /// The zone that the character lives in, and wakes in.
    pub zone: ZoneName,
    /// Rises with every move, to rest, and back.
    pub generation: u64,
}

impl Home {
    /// The home of an account that never moved.
    #[must_use]
    pub const fn first(zone: ZoneName) -> Self {
        Self { zone, generation: 1 }
    }
}

/// The record of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// The home.
    pub home: Home,
    /// The character as bytes, while it rests. `None`: its zone has it, or it is not born, or the bytes are damaged.
    pub payload: Option<Bytes>,
    /// Whether the server, or the file, that answers took it itself. If not, a newer record may have been lost with
    /// another one: the archive is to be asked, too.
    pub is_certain: bool,
}

/// Bytes of a checksum before those of a payload.
const CHECKSUM_BYTES: usize = 16;

/// Puts a checksum before a payload: a store gives back what it has, damaged or not.
#[must_use]
pub fn sealed_payload(payload: &[u8]) -> Vec<u8> {
    let checksum = blake3::hash(payload);
    [&checksum.as_bytes()[..CHECKSUM_BYTES], payload].concat()
}

/// Returns the payload behind its checksum. `None`: it is damaged.
#[must_use]
pub fn unsealed_payload(sealed: &[u8]) -> Option<Bytes> {
    let (checksum, payload) = sealed.split_at_checked(CHECKSUM_BYTES)?;
    let is_whole = blake3::hash(payload).as_bytes()[..CHECKSUM_BYTES] == *checksum;
    is_whole.then(|| Bytes::copy_from_slice(payload))
}

/// Keeps the records of accounts: homes, and a cache of the characters that rest.
///
/// # Who may call, and when
///
/// Any shard reads a record, and gives a first home to an account that has none. A home that is there is changed by
/// compare-and-set only, so of two shards that change it one finds out. The shard of a zone keeps those that rest in
/// its name, when the archive has them: so what is forgotten here is found there. No fence stands before a record: it
/// belongs to an account, and to no zone; the higher generation stands.
///
/// # What an answer means
///
/// - `Ok`: it is so, or it is done, in one order with all changes of this account's record, and every later call sees
///   it, until it expires, or the store loses it.
/// - [`StoreError::Corrupt`]: what is there cannot be read, or the home is gone that the caller expects; nothing was
///   done.
/// - [`StoreError::Unavailable`]: *unknown*, never a no. The write may have been done, or may still be. Repeated as it
///   was it succeeds if it was done, for the home is then what it was to become.
///
/// The other errors are not this trait's. Homes of a store that forgot are written anew by the shards that hold the
/// characters: with the data of a zone that was lost, and whenever [`HomeStore::doubts`] changes.
#[async_trait]
pub trait HomeStore: Send + Sync {
    /// Reads the account's record. `None`: there is none (any more).
    async fn record(&self, account: Account) -> Result<Option<AccountRecord>, StoreError>;

    /// Sets the account's home if it is `expected` now, or is `home` already: then `Ok(None)`. Otherwise changes
    /// nothing and returns what it is. A character that rests stays as it is kept.
    async fn set_home(
        &self,
        account: Account,
        expected: Option<&Home>,
        home: &Home,
    ) -> Result<Option<Home>, StoreError>;

    /// Keeps a character that rests, for so long at least, unless a record of a higher generation is there: then
    /// changes nothing, and returns its home.
    async fn keep_rest(
        &self,
        account: Account,
        home: &Home,
        payload: &Bytes,
        lasting: Duration,
    ) -> Result<Option<Home>, StoreError>;

    /// Returns a number that changes when homes may be missing though no zone is: a server was replaced by one that
    /// lacks the last writes, or came back without its data. `None`: homes are lost only with everything else.
    fn doubts(&self) -> Option<u64>;
}
