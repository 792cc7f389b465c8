//! Homes: in which zone an account's character lives. The trait is the contract, a conformance suite asks it of every
//! implementation (`everhold_store::conformance`); where a player is sent is decided elsewhere.

use async_trait::async_trait;
use everhold_protocol::{Account, ZoneName};

use crate::durability::store::StoreError;

/// The home of an account's character.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Home {
    /// The zone that the character lives in.
    pub zone: ZoneName,
    /// Rises with every move.
    pub generation: u64,
}

impl Home {
    /// The home of an account that never moved.
    #[must_use]
    pub const fn first(zone: ZoneName) -> Self {
        Self { zone, generation: 1 }
    }
}

/// Keeps the homes of accounts.
///
/// # Who may call, and when
///
/// Any shard reads a home, and gives a first one to an account that has none. A home that is there is changed by
/// compare-and-set only, so of two shards that change it one finds out. No fence stands before a home: it belongs to an
/// account, and to no zone.
///
/// # What an answer means
///
/// - `Ok`: it is so, or it is done, in one order with all changes of this account's home, and every later call sees it.
/// - [`StoreError::Corrupt`]: what is there cannot be read, or the home is gone that the caller expects; nothing was
///   done.
/// - [`StoreError::Unavailable`]: *unknown*, never a no. The write may have been done, or may still be. Repeated as it
///   was it succeeds if it was done, for the home is then what it was to become.
///
/// The other errors are not this trait's. Homes of a store that forgot are written anew by the shards that hold the
/// characters: with the data of a zone that was lost, and whenever [`HomeStore::doubts`] changes.
#[async_trait]
pub trait HomeStore: Send + Sync {
    /// Reads the account's home. `None`: it has none.
    async fn home(&self, account: Account) -> Result<Option<Home>, StoreError>;

    /// Sets the account's home if it is `expected` now, or is `home` already: then `Ok(None)`. Otherwise changes
    /// nothing and returns what it is.
    async fn set_home(
        &self,
        account: Account,
        expected: Option<&Home>,
        home: &Home,
    ) -> Result<Option<Home>, StoreError>;

    /// Returns a number that changes when homes may be missing though no zone is: a server was replaced by one that
    /// lacks the last writes, or came back without its data. `None`: homes are lost only with everything else.
    fn doubts(&self) -> Option<u64>;
}
