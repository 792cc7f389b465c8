//! The authority grants leases and epochs. The trait is the contract, a conformance suite asks it of every
//! implementation (`everhold_store::conformance`), and no implementation is here. Which shards there are says
//! [`super::membership`].

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use everhold_protocol::{Epoch, ZoneName};

use super::grant::{Nonce, Tenure};
use super::lease::LeaseConfig;
use super::owner_mark::OwnerMark;

/// A zone's lease as the authority shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseView {
    /// The zone.
    pub zone: ZoneName,
    /// The highest epoch ever granted; 0 if none was.
    pub epoch: Epoch,
    /// The process that holds it, or held it last.
    pub nonce: Nonce,
    /// Rises with every renewal. A contender watches it on its own clock; wall clocks are never compared.
    pub beat: u64,
    /// Whether the holder gave it up: it may be claimed at once.
    pub released: bool,
    /// The address at which the holder serves players.
    pub addr: SocketAddr,
    /// Attached players at the holder's last renewal: spares adopt the largest zone first.
    pub players: u32,
    /// The ttl of the process that was granted it; zero if it does not say. An earlier build says nothing and leaves
    /// what its predecessor said: its lease may be waited for longer than it need be, never shorter than without.
    pub ttl: Duration,
    /// The mark of the owner that hosted the zone last, and said so. A claim leaves it: its maker may find that it
    /// cannot run the zone. An earlier build says nothing, and leaves what was said before.
    pub mark: Option<OwnerMark>,
}

impl LeaseView {
    /// The longer ttl, of this lease and `ours`: a beat that stands still for less says nothing. No configuration
    /// allows more than the bound, and a lease that says more is not waited for.
    #[must_use]
    pub fn longer_ttl(&self, ours: Duration) -> Duration {
        ours.max(self.ttl.min(Duration::from_millis(LeaseConfig::TTL_MS_MAX)))
    }

    /// Returns the time for which a store or an authority that lost the zone waits for the holder of this lease, which
    /// may have it in memory: as [`LeaseConfig::reseed_grace`], of the longer ttl.
    #[must_use]
    pub fn reseed_grace(&self, ours: Duration) -> Duration {
        2 * self.longer_ttl(ours)
    }
}

/// The words of a holder about itself, in each lease that it is granted or puts back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// The address at which it serves players.
    pub addr: SocketAddr,
    /// The time without a beat after which others may claim the lease, whatever their own ttl is, if it is not shorter.
    pub ttl: Duration,
}

/// One renewal of a lease, as a holder asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The zone, and the right to act for it.
    pub tenure: Tenure,
    /// Attached players, for those who may have to adopt the zone.
    pub players: u32,
    /// The holder's mark, if it has the zone in memory. `None` leaves the lease's mark as it is.
    pub mark: Option<OwnerMark>,
}

/// The leases as one look at the authority showed them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Leases that could be read, in order of zone.
    pub views: Vec<LeaseView>,
    /// Zones whose lease could not be read: the node of a Cluster that has it does not answer. Nothing is known of them
    /// now.
    pub unread: BTreeSet<ZoneName>,
    /// Zones whose lease is there and makes no sense. It counts as forgotten: a holder puts it back, and without one it
    /// is declared anew.
    pub damaged: BTreeSet<ZoneName>,
}

impl From<Vec<LeaseView>> for Leases {
    /// Takes leases that could all be read.
    fn from(views: Vec<LeaseView>) -> Self {
        Self {
            views,
            ..Self::default()
        }
    }
}

/// The reason why the authority, or the directory beside it, did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Another process holds the zone, or what was watched has changed: the lease as it is now.
    #[error("zone {zone} is held under epoch {epoch}", zone = .0.zone, epoch = .0.epoch)]
    Held(Box<LeaseView>),
    /// No such zone was ever declared, or its lease makes no sense.
    #[error("zone {0} does not exist in this world")]
    ZoneUnknown(ZoneName),
    /// No answer, or not one that can be trusted: the outcome is *unknown*.
    #[error("the authority does not answer: {0}")]
    Unavailable(String),
}

/// Grants leases: at most one process at a time holds a zone's lease, and the epochs of a zone only rise.
///
/// # Who may call, and when
///
/// Any process may declare, look, and contend. A contender claims only a lease that was released, one whose beat **it**
/// watched unchanged for a full ttl, its own or the lease's, on its own clock, or its own suspended one; the authority
/// compares what was watched and reads no clock itself. Only the holder of a tenure renews, reinstates, and releases
/// it; a guardian releases for its dead server. What a holder may do until when follows from the moment *before* a
/// renewal was sent ([`super::lease`]), never from an answer's arrival.
///
/// # What an answer means
///
/// - `Ok`: it is done, in one order with all changes of this zone's lease (linearizable per zone).
/// - [`AuthorityError::Held`]: nothing was done, because the lease is another one than the caller believes; it is
///   shown. To a holder it means that the grant is over: stop at once. (One that shows a *lower* epoch comes from an
///   authority that forgot, see [`Authority::reinstate`].)
/// - [`AuthorityError::ZoneUnknown`]: nothing was done; the zone was never declared, or the authority forgot it.
/// - [`AuthorityError::Unavailable`]: *unknown*, never a no. The call may have been done, or may still be. Each may be
///   repeated: a claim that was done gives the same grant to the same claimer, a release that was done succeeds as long
///   as no other process has claimed since, and a renewal counts once more.
///
/// # One beat for all zones of a process
///
/// A process renews all its leases at once: one round trip to each node of the authority, one transaction where it is a
/// file, however many zones there are. It is still each zone's own record whose beat moves, by compare-and-set on epoch
/// and nonce, and a zone that is not to be renewed (its tick is wedged) is left out. A record of the process, which
/// would beat for all its zones, would be cheaper still and weaker in three ways: a wedged zone would keep its lease
/// for as long as its process beats, unless an explicit release got through; a claim could not compare what it watched,
/// for lease and beat would be two records, on two nodes of a Cluster, and would win against a holder that has just
/// renewed; and the node with that one record would be the end of every zone of the process.
#[async_trait]
pub trait Authority: Send + Sync {
    /// Whether it may forget leases in its ordinary course: when it restarts without its data, or a replica takes over
    /// that lacks the newest. A lease that was never held is not a free one then: the shard that has the zone in memory
    /// may be about to put its own back. An authority whose files somebody has to delete does not forget.
    fn may_forget(&self) -> bool;

    /// Makes a zone known, with epoch 0, released; also one whose lease makes no sense. Does nothing if it is known
    /// already.
    async fn declare_zone(&self, zone: &ZoneName) -> Result<(), AuthorityError>;

    /// Reads the leases of all zones, in one round trip to each node. A lease that cannot be read holds up no other: an
    /// error means that none could be. An authority that is too slow to show all of them in one look shows first what
    /// it left out in the one before.
    async fn leases(&self) -> Result<Leases, AuthorityError>;

    /// Takes the zone, by compare-and-set on exactly what the caller watched (`epoch`, `nonce`, `beat`, `released`).
    /// The new epoch is `max(watched.epoch, epoch_floor) + 1`; the floor is the highest epoch that the caller knows of
    /// from elsewhere, so that an authority that forgot grants no epoch twice.
    async fn claim(
        &self,
        watched: &LeaseView,
        nonce: Nonce,
        terms: LeaseTerms,
        epoch_floor: Epoch,
    ) -> Result<Tenure, AuthorityError>;

    /// Returns a number of the node that has the zone's lease, as far as it is known. Zones of one number are renewed
    /// in one round trip; those of different numbers are best asked for apart, so that a node that does not answer
    /// holds up its own zones alone.
    fn node_of(&self, zone: &ZoneName) -> u64;

    /// Moves the beat of each lease, and notes the number of players, and the mark if there is one. There is an answer
    /// to each, in order: what becomes of one renewal is no obstacle to another.
    async fn renew(&self, renewals: &[Renewal]) -> Vec<Result<(), AuthorityError>>;

    /// Puts leases of a living holder back into an authority that forgot them: one that shows no such zone, a lower
    /// epoch, or a record that makes no sense. If it shows this very grant, that counts as a renewal.
    /// [`AuthorityError::Held`] if it shows a higher epoch, or this one of another nonce. A max register heals what a
    /// restart without data, or the promotion of a stale replica, took back. There is an answer to each, in order.
    async fn reinstate(&self, renewals: &[Renewal], terms: LeaseTerms) -> Vec<Result<(), AuthorityError>>;

    /// Gives the zone up, so that a contender need not wait. Releasing a lease that another process holds by now is
    /// [`AuthorityError::Held`].
    async fn release(&self, tenure: &Tenure) -> Result<(), AuthorityError>;

    /// Resolves when a zone may have been released since the last call returned: look at the leases at once. It is a
    /// hint, so that a spare need not wait for its next look; it may come late, twice, or never.
    async fn wait_for_release(&self);
}
