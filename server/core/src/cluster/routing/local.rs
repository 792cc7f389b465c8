//! The state of its own process that routing reads while it decides: both clocks, the zones that run here, and the
//! connections. These are values of a moment; nothing here changes anything.

use std::time::Duration;

use everhold_protocol::{Account, Tick, ZoneName};

use crate::cluster::directory::Hosted;
use crate::ingress::AttachToken;
use crate::load::{Caller, Rung};

/// The moment at which something happened.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// Time on the clock by which leases are judged.
    pub now: Duration,
    /// Seconds since the Unix epoch, by which tickets expire.
    pub unix_s: u64,
    /// The zones and connections of this process.
    pub local: &'a dyn LocalState,
}

/// The zones and connections of this process, as they are now.
pub trait LocalState {
    /// A zone that came up here and was not forgotten since; `None` for every other.
    fn zone(&self, zone: &ZoneName) -> Option<ZoneStatus>;

    /// Judges a client that shows this ticket, as far as the zone's acknowledged ticks say. Asked only for zones that
    /// [`zone`](Self::zone) knows.
    fn caller(&self, zone: &ZoneName, account: Account, ticket: &[u8; 16]) -> Caller;

    /// Whether a zone has the account's character, in the world or at rest, as far as its acknowledged ticks say. Asked
    /// only for zones that [`zone`](Self::zone) knows.
    fn has(&self, zone: &ZoneName, account: Account) -> bool;

    /// The status of a connection.
    fn conn(&self, conn: AttachToken) -> ConnStatus;
}

/// The status of a zone that came up here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneStatus {
    /// The zone's entry in the directory; `None` if it runs no longer.
    pub hosted: Option<Hosted>,
    /// Its rung on the overload ladder.
    pub rung: Rung,
    /// The newest tick stepped.
    pub tick: Tick,
}

/// The status of a connection that has said hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnStatus {
    /// It speaks for no session yet.
    Unattached,
    /// It speaks for a session.
    Attached,
    /// It is closed, or closing.
    Ended,
}
