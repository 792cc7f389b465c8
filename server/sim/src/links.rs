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
    /// The state store, by the link that carries everything but appends.
    Store,
    /// The state store, by the link that carries appends.
    Journal,
    /// The authority.
    Authority,
    /// The archive.
    Archive,
}

impl Party {
    /// Returns the party at the end of the link: the store has two.
    const fn end(self) -> Self {
        match self {
            Self::Journal => Self::Store,
            party => party,
        }
    }
}

/// The links between parties, and what is wrong with them.
#[derive(Default)]
pub struct Links {
    /// One-way: what the first sends does not reach the second.
    pub blocked: BTreeSet<(Party, Party)>,
    /// The addition to the delay of everything that a party sends or receives.
    pub slow: BTreeMap<Party, Duration>,
    /// One-way: the addition to the delay of what the first sends to the second.
    pub lags: BTreeMap<(Party, Party), Duration>,
    /// Services that take nothing and answer nothing.
    pub down: BTreeSet<Party>,
    /// Services whose host answers for them, at once, that they are not there.
    pub refusing: BTreeSet<Party>,
    /// Datagrams that are lost, thousandths.
    pub loss_permille: u64,
    /// Messages that come up to a second and a half late, as over a link that loses packets, thousandths.
    pub late_permille: u64,
    /// Requests that arrive a second time, later, thousandths.
    pub repeat_permille: u64,
}

impl Links {
    /// Sets how much longer the store takes, which is far away: with answers on the link that carries appends, and with
    /// everything on the other link.
    pub fn set_far(&mut self, (appended, other): (Duration, Duration), shards: usize) {
        for shard in (0..shards).map(Party::Shard) {
            self.lags.insert((Party::Journal, shard), appended);
            self.lags.insert((Party::Store, shard), other);
            self.lags.insert((shard, Party::Store), other);
        }
    }

    /// Whether anything passes this way now.
    #[must_use]
    pub fn is_open(&self, from: Party, to: Party) -> bool {
        let (from, to) = (from.end(), to.end());
        !self.blocked.contains(&(from, to)) && !self.is_down(from) && !self.is_down(to)
    }

    /// Whether a service takes nothing and answers nothing.
    #[must_use]
    pub fn is_down(&self, party: Party) -> bool {
        self.down.contains(&party.end())
    }

    /// Whether whatever a service is asked is refused at once.
    #[must_use]
    pub fn is_refused(&self, to: Party) -> bool {
        self.refusing.contains(&to.end())
    }

    /// Returns what is added to the delay of a message.
    #[must_use]
    pub fn addition(&self, from: Party, to: Party) -> Duration {
        let slow = |party: Party| self.slow.get(&party.end()).copied().unwrap_or_default();
        slow(from) + slow(to) + self.lags.get(&(from, to)).copied().unwrap_or_default()
    }
}

/// Returns the address of the shard at a place.
#[must_use]
pub fn address(place: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4_000 + u16::try_from(place).unwrap_or(u16::MAX)))
}
