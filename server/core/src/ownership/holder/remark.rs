//! The lines that a [`Holder`](super::Holder) has logged, as data, and how often those are said that repeat themselves.
//! Their words are the driver's.

use std::collections::BTreeSet;
use std::time::Duration;

use everhold_protocol::{Epoch, Tick, ZoneName};

use crate::outage::{Lasted, Outage};
use crate::ownership::grant::Nonce;
use crate::ownership::key_check::Stranger;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// The authority does not do something, for the first time or still.
    Failing(RequestFailure, Lasted),
    /// The authority does it again.
    Answered(Service, Lasted),
    /// Something became of a zone.
    Zone(ZoneName, ZoneRemark),
    /// A living shard of this world has other keys.
    Stranger(Stranger),
    /// The entry of a dead shard was removed from the directory.
    Retired(Nonce),
    /// At the stop: the directory could not be left, and why.
    StillInDirectory(String),
}

/// A request that fails, and the last error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestFailure {
    /// Renewals are not answered.
    Renewals {
        /// One of the zones.
        zone: ZoneName,
        /// So many zones have not been renewed.
        zones: usize,
        /// The error of that zone.
        error: String,
    },
    /// No lease can be read.
    Leases(String),
    /// The leases of so many zones cannot be read, the first of which is this.
    SomeLeases(usize, Option<ZoneName>),
    /// The directory cannot be read, or this shard not be announced.
    Directory(String),
    /// A claim of this zone was not answered.
    Claim(ZoneName, String),
    /// This zone could not be declared.
    Declaration(ZoneName, String),
}

/// A service of the authority that works again after it failed for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the requests of their names")]
pub enum Service {
    Renewals,
    Leases,
    Directory,
    Claims,
}

/// A change of a zone or of its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneRemark {
    /// No other shard has declared it: it is declared here.
    Declared,
    /// Its lease is there and makes no sense: it counts as forgotten.
    Damaged,
    /// It was granted to this process under this epoch.
    Granted(Epoch),
    /// Its adoption, under this epoch, takes too long, or the process stops.
    GivenUp(Epoch),
    /// The lease of this epoch was released.
    Released(Epoch),
    /// There was nothing to release: another process holds it under this epoch.
    NotOurs(Epoch),
    /// The lease could not be released, and why.
    NotReleased(String),
    /// It was suspended, and another shard goes on with it.
    Taken,
    /// The authority had forgotten the lease of this epoch; it was put back.
    PutBack(Epoch),
    /// A renewal found the lease another process's, under this epoch.
    Refused(Epoch),
    /// This tick does not end.
    Wedged(Tick),
    /// This process ends because of that tick.
    EndsProcess(Tick),
    /// It is not renewed, and left to other processes for a while.
    Shunned,
    /// The process ends, and the zone did not have its last tick stored in time.
    Unstopped,
    /// The process ends with the zone in memory, which was not stored in time.
    LeftInMemory,
}

/// The outages of the authority, of which each is logged seldom however many turns it lasts.
#[derive(Debug, Default)]
pub(super) struct Outages {
    pub(super) renewals: Outage<Duration>,
    /// Zones whose latest renewal was not answered.
    pub(super) unrenewed: BTreeSet<ZoneName>,
    pub(super) looks: Outage<Duration>,
    pub(super) directory: Outage<Duration>,
    pub(super) claims: Outage<Duration>,
    pub(super) declarations: Outage<Duration>,
}
