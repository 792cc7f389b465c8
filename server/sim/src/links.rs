//! The parties of a simulated cluster, and the links between them with what is wrong with each. It sends nothing
//! itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Seconds between the Unix epoch and the beginning of every run.
pub const UNIX_S: u64 = 1_800_000_000;

/// One side of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A shard process, by its place.
    Shard(usize),
    /// The guardian beside a shard.
    Guardian(usize),
    /// A player's client, by its place.
    Player(usize),
    /// The state store.
    Store,
    /// The authority.
    Authority,
}

/// The links between parties, and what is wrong with them.
#[derive(Default)]
pub struct Links {
    /// One-way: what the first sends does not reach the second.
    pub blocked: BTreeSet<(Party, Party)>,
    /// The addition to the delay of everything that a party sends or receives.
    pub slow: BTreeMap<Party, Duration>,
    /// Services that take nothing and answer nothing.
    pub down: BTreeSet<Party>,
    /// Datagrams that are lost, thousandths.
    pub loss_permille: u64,
    /// Messages that come up to a second and a half late, as over a link that loses packets, thousandths.
    pub late_permille: u64,
    /// Requests that arrive a second time, later, thousandths.
    pub repeat_permille: u64,
}

impl Links {
    /// Whether anything passes this way now.
    #[must_use]
    pub fn is_open(&self, from: Party, to: Party) -> bool {
        !self.blocked.contains(&(from, to)) && !self.down.contains(&from) && !self.down.contains(&to)
    }
}

/// Returns the address of the shard at a place.
#[must_use]
pub fn address(place: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4_000 + u16::try_from(place).unwrap_or(u16::MAX)))
}
