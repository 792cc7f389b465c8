//! Membership: which shards of a world there are, as a directory that they enter themselves. The trait is the contract,
//! a conformance suite asks it of every implementation (`everhold_store::conformance`). Whether a shard in it lives is
//! for those who watch its beat, and no ownership depends on it.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;

use super::authority::AuthorityError;
use super::fingerprint::KeyFingerprints;
use super::grant::Nonce;
use super::lease::LeaseConfig;

/// A living shard, for the directory: where a client may park.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShardView {
    /// The process.
    pub nonce: Nonce,
    /// The address at which it serves players.
    pub addr: SocketAddr,
    /// Rises while it lives.
    pub beat: u64,
    /// The keys that it takes as good; none of any kind if it does not say.
    pub keys: KeyFingerprints,
    /// The ttl of its leases: its beat moves every quarter of that. Zero if it does not say.
    pub ttl: Duration,
}

impl ShardView {
    /// The longer ttl, of this shard's leases and `ours`: a beat that stands still for less says nothing. No
    /// configuration allows more than the bound, and an entry that says more is not waited for.
    #[must_use]
    pub fn longer_ttl(&self, ours: Duration) -> Duration {
        ours.max(self.ttl.min(Duration::from_millis(LeaseConfig::TTL_MS_MAX)))
    }
}

/// Keeps the directory of shards: an entry for each process, by its nonce.
///
/// # Who may call, and when
///
/// A shard enters itself, and renews its entry every ttl/4 while it serves; it withdraws itself when it stops. An entry
/// of a dead shard stays until it is withdrawn: by its guardian, or by a shard that watched the beat unchanged, for
/// the longer of both ttls ([`ShardView::longer_ttl`]) before it enters itself, and for two of them while it serves. A
/// shard that lives all the same enters itself again. Anyone may read.
///
/// # What an answer means
///
/// - `Ok`: it is done, and every later look shows it. A look is no snapshot of a moment: entries that change meanwhile
///   may be shown as they were or as they are.
/// - [`AuthorityError::Unavailable`]: *unknown*, never a no. Repeating a call is harmless; a beat that was moved twice
///   is one that moved. The other errors are not this trait's.
///
/// A directory that forgot is whole again when every living shard has announced itself once more.
#[async_trait]
pub trait Membership: Send + Sync {
    /// Enters this shard, or moves the beat of its entry: where it serves, with which keys, and with leases of which
    /// ttl. The new entry takes the place of all that the old one said.
    async fn announce(
        &self,
        nonce: Nonce,
        addr: SocketAddr,
        keys: &KeyFingerprints,
        ttl: Duration,
    ) -> Result<(), AuthorityError>;

    /// Removes the entry of a shard that is going or dead, and its keys with it. Succeeds if there is none.
    async fn withdraw(&self, nonce: Nonce) -> Result<(), AuthorityError>;

    /// Reads all entries, in order of nonce, those of dead shards among them. An entry that cannot be read (a later
    /// build made it, or it is damaged) is left out, and fingerprints that cannot be read count as not said.
    async fn shards(&self) -> Result<Vec<ShardView>, AuthorityError>;
}
