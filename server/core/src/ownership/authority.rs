//! The authority grants leases and epochs. One trait, one conformance suite; implementations live in `io`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use everhold_protocol::ZoneName;

use super::epoch::{Grant, Nonce};
use super::fingerprint::KeyFingerprints;
use super::lease::LeaseConfig;

/// A zone's lease as the authority shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// The zone.
    pub zone: ZoneName,
    /// The highest epoch ever granted; 0 if none was.
    pub epoch: u32,
    /// Who holds it, or held it last.
    pub nonce: Nonce,
    /// Rises with every renewal. A contender watches it on its own clock; nobody compares wall clocks.
    pub beat: u64,
    /// The holder gave it up: it may be claimed at once.
    pub released: bool,
    /// Where the holder serves players.
    pub addr: SocketAddr,
    /// Attached players, as the holder said at its last renewal: spares adopt the largest first.
    pub players: u32,
}

/// The leases as one look at the authority showed them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Those that could be read, in order of zone.
    pub views: Vec<LeaseView>,
    /// Zones whose lease could not be read: the node of a Cluster that has it does not answer. Nothing is known of them now.
    pub unread: BTreeSet<ZoneName>,
}

impl From<Vec<LeaseView>> for Leases {
    /// All of them could be read.
    fn from(views: Vec<LeaseView>) -> Self {
        Self {
            views,
            unread: BTreeSet::new(),
        }
    }
}

/// A living shard, for the directory: where a client may park.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardView {
    /// The process.
    pub nonce: Nonce,
    /// Where it serves players.
    pub addr: SocketAddr,
    /// Rises while it lives.
    pub beat: u64,
    /// The keys that it takes as good; none of any kind if it does not say.
    pub keys: KeyFingerprints,
    /// The ttl of its leases: its beat moves every quarter of that. Zero if it does not say.
    pub ttl: Duration,
}

impl ShardView {
    /// The longer ttl, of this shard's leases and `ours`: a beat that stands still for less says nothing. No configuration allows more than
    /// the bound, and an entry that says more is not waited for.
    #[must_use]
    pub fn longer_ttl(&self, ours: Duration) -> Duration {
        ours.max(self.ttl.min(Duration::from_millis(LeaseConfig::TTL_MS_MAX)))
    }
}

/// Why the authority did not do it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Someone else holds the zone, or what was watched has changed. The lease as it is now.
    #[error("zone {zone} is held under epoch {epoch}", zone = .0.zone, epoch = .0.epoch)]
    Held(Box<LeaseView>),
    /// No such zone was ever declared.
    #[error("zone {0} does not exist in this world")]
    ZoneUnknown(ZoneName),
    /// No answer, or not one that can be trusted: the outcome is unknown.
    #[error("the authority does not answer: {0}")]
    Unavailable(String),
}

/// Grants `(zone, epoch, nonce)`. Implementations are linearizable per zone.
#[async_trait]
pub trait Authority: Send + Sync {
    /// Makes a zone known, with epoch 0, released. Does nothing if it is known already.
    async fn declare_zone(&self, zone: &ZoneName) -> Result<(), AuthorityError>;

    /// The leases of all zones. A lease that cannot be read holds up no other: an error means that none could be.
    async fn leases(&self) -> Result<Leases, AuthorityError>;

    /// Takes the zone, by compare-and-set on exactly what the caller watched (`epoch`, `nonce`, `beat`, `released`). The new epoch is
    /// `max(watched.epoch, epoch_floor) + 1`. The caller must have watched `beat` unchanged for a full ttl, or seen `released`;
    /// a shard that is suspended passes its own lease.
    async fn claim(
        &self,
        watched: &LeaseView,
        nonce: Nonce,
        addr: SocketAddr,
        epoch_floor: u32,
    ) -> Result<Grant, AuthorityError>;

    /// Moves the beat. [`AuthorityError::Held`] means that the grant is over: stop at once.
    async fn renew(&self, zone: &ZoneName, grant: Grant, players: u32) -> Result<(), AuthorityError>;

    /// Puts the lease of a living holder back into an authority that forgot it: one that shows no such zone, or a lower epoch. If it shows
    /// this very grant, it counts as a renewal. [`AuthorityError::Held`] if it shows a higher epoch, or this one of another nonce: stop at
    /// once. A max register heals what a restart without data, or the promotion of a stale replica, took back.
    async fn reinstate(
        &self,
        zone: &ZoneName,
        grant: Grant,
        addr: SocketAddr,
        players: u32,
    ) -> Result<(), AuthorityError>;

    /// Gives the zone up, so that a contender need not wait. Releasing what one no longer holds is [`AuthorityError::Held`].
    async fn release(&self, zone: &ZoneName, grant: Grant) -> Result<(), AuthorityError>;

    /// Resolves when a zone may have been released since the last call returned: look at the leases at once. It is a hint, so that a spare
    /// need not wait for its next look; it may come late, twice, or never.
    async fn wait_for_release(&self);

    /// Says that this shard lives, where, with which keys, and with leases of which ttl. Called every ttl/4.
    async fn announce(
        &self,
        nonce: Nonce,
        addr: SocketAddr,
        keys: &KeyFingerprints,
        ttl: Duration,
    ) -> Result<(), AuthorityError>;

    /// This shard is going, or is dead: forget it, and its keys with it.
    async fn withdraw(&self, nonce: Nonce) -> Result<(), AuthorityError>;

    /// All announced shards, the dead among them until somebody withdraws them: watch `beat`. An entry that cannot be read (a later build
    /// made it, or it is damaged) is left out, and fingerprints that cannot be read count as not said.
    async fn shards(&self) -> Result<Vec<ShardView>, AuthorityError>;
}
