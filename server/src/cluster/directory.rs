//! The directory: the leases and shards as this process last saw them, each with the moment at which its beat last moved. It reads no
//! clock and asks no authority.
//!
//! Whether an owner lives is judged by its beat alone, watched on our own clock. That is a hint for routing, never a right: who may act
//! is decided by the lease, and who may write by the fence.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use everhold_protocol::ZoneName;

use crate::ownership::{LeaseView, Nonce, authority::ShardView};

/// Peers named to a client: enough that one of them lives, few enough for a message.
const PEERS_MAX: usize = 4;

/// Somebody who wants a zone, and what is known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeker {
    /// Has a fresh ticket, and no reason to mistrust the zone's owner.
    Newcomer,
    /// Had a session under `epoch` and lost sight of its owner before `since`.
    Orphan {
        /// The highest epoch the client has seen.
        epoch: u32,
        /// When it came to us.
        since: Duration,
    },
}

/// Where a connection belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// With us.
    Here,
    /// With another shard.
    There {
        /// Its address.
        addr: SocketAddr,
        /// The epoch it serves under.
        epoch: u32,
    },
    /// Nowhere yet: it stays parked.
    Wait,
    /// No such zone.
    Unknown,
}

/// Leases and shards, with when they last moved.
#[derive(Debug)]
pub struct Directory {
    me: Nonce,
    /// A beat that has not moved for so long is no sign of life: two renewals are missing.
    stale_after: Duration,
    /// The zones that there are, whether or not the authority has shown them yet.
    zones: BTreeSet<ZoneName>,
    leases: BTreeMap<ZoneName, Seen<LeaseView>>,
    shards: BTreeMap<Nonce, Seen<ShardView>>,
}

#[derive(Debug)]
struct Seen<T> {
    view: T,
    /// When its beat was seen to move; `None` until it has moved once before our eyes.
    moved_at: Option<Duration>,
}

impl Directory {
    /// A directory of a world's zones that has seen no lease yet. `lease_ttl` as configured: renewals come every quarter of it.
    #[must_use]
    pub fn new(me: Nonce, lease_ttl: Duration, zones: impl Iterator<Item = ZoneName>) -> Self {
        Self {
            me,
            stale_after: lease_ttl * 5 / 8,
            zones: zones.collect(),
            leases: BTreeMap::new(),
            shards: BTreeMap::new(),
        }
    }

    /// What the authority shows now.
    pub fn handle_views(&mut self, now: Duration, leases: &[LeaseView], shards: &[ShardView]) {
        for view in leases {
            let before = self.leases.get(&view.zone);
            let moved = before.is_some_and(|b| (b.view.beat, b.view.epoch) != (view.beat, view.epoch));
            let moved_at = if moved {
                Some(now)
            } else {
                before.and_then(|b| b.moved_at)
            };
            self.leases.insert(
                view.zone.clone(),
                Seen {
                    view: view.clone(),
                    moved_at,
                },
            );
        }
        self.shards
            .retain(|nonce, _| shards.iter().any(|view| view.nonce == *nonce));
        for view in shards {
            let before = self.shards.get(&view.nonce);
            let moved = before.is_some_and(|b| b.view.beat != view.beat);
            let moved_at = if moved {
                Some(now)
            } else {
                before.and_then(|b| b.moved_at)
            };
            self.shards.insert(
                view.nonce,
                Seen {
                    view: view.clone(),
                    moved_at,
                },
            );
        }
    }

    /// Where a seeker of `zone` belongs. `here` says that this process runs the zone now.
    #[must_use]
    pub fn place(&self, now: Duration, zone: &ZoneName, here: bool, seeker: Seeker) -> Placement {
        if !self.zones.contains(zone) {
            return Placement::Unknown;
        }
        if here {
            return Placement::Here;
        }
        let Some(seen) = self.leases.get(zone) else {
            return Placement::Wait;
        };
        let view = &seen.view;
        if view.released || view.nonce == self.me {
            return Placement::Wait;
        }
        let Some(moved_at) = seen.moved_at.filter(|at| now.saturating_sub(*at) < self.stale_after) else {
            return Placement::Wait;
        };
        let credible = match seeker {
            Seeker::Newcomer => true,
            Seeker::Orphan { epoch, .. } if view.epoch > epoch => true,
            Seeker::Orphan { epoch, .. } if view.epoch < epoch => false,
            // The very owner it fled from: alive only if it renewed well after. The client's own path to it may be what broke.
            Seeker::Orphan { since, .. } => moved_at > since + self.stale_after / 4,
        };
        if credible {
            Placement::There {
                addr: view.addr,
                epoch: view.epoch,
            }
        } else {
            Placement::Wait
        }
    }

    /// Living shards other than this one, for a client to park at.
    #[must_use]
    pub fn peers(&self, now: Duration) -> Vec<SocketAddr> {
        let lives = |seen: &&Seen<ShardView>| {
            seen.view.nonce != self.me
                && seen
                    .moved_at
                    .is_some_and(|at| now.saturating_sub(at) < self.stale_after)
        };
        self.shards
            .values()
            .filter(lives)
            .map(|seen| seen.view.addr)
            .take(PEERS_MAX)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(4);
    const ME: Nonce = Nonce(1);
    const OTHER: Nonce = Nonce(2);

    fn zone() -> ZoneName {
        "meadow".parse().unwrap()
    }

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn lease(nonce: Nonce, epoch: u32, beat: u64) -> LeaseView {
        LeaseView {
            zone: zone(),
            epoch,
            nonce,
            beat,
            released: false,
            addr: addr(4002),
            players: 3,
        }
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A directory that saw `OTHER` renew the zone under epoch 3 at 1,000 ms.
    fn seen_alive() -> Directory {
        let mut directory = Directory::new(ME, TTL, [zone()].into_iter());
        directory.handle_views(at(0), &[lease(OTHER, 3, 1)], &[]);
        directory.handle_views(at(1_000), &[lease(OTHER, 3, 2)], &[]);
        directory
    }

    #[test]
    fn a_newcomer_is_sent_to_the_living_owner() {
        let place = seen_alive().place(at(1_500), &zone(), false, Seeker::Newcomer);
        assert_eq!(
            place,
            Placement::There {
                addr: addr(4002),
                epoch: 3
            }
        );
    }

    #[test]
    fn nobody_is_sent_to_an_owner_whose_beat_stands_still() {
        let place = seen_alive().place(at(3_600), &zone(), false, Seeker::Newcomer);
        assert_eq!(place, Placement::Wait);
    }

    #[test]
    fn an_orphan_waits_while_its_silent_owner_has_not_renewed_since() {
        let orphan = Seeker::Orphan {
            epoch: 3,
            since: at(1_100),
        };
        assert_eq!(seen_alive().place(at(1_200), &zone(), false, orphan), Placement::Wait);
    }

    #[test]
    fn an_orphan_is_sent_back_to_an_owner_that_renews_after_it_came() {
        let mut directory = seen_alive();
        directory.handle_views(at(2_000), &[lease(OTHER, 3, 3)], &[]);
        let orphan = Seeker::Orphan {
            epoch: 3,
            since: at(1_100),
        };
        assert!(matches!(
            directory.place(at(2_000), &zone(), false, orphan),
            Placement::There { .. }
        ));
    }

    #[test]
    fn an_orphan_is_sent_to_the_adopter_at_once() {
        let mut directory = seen_alive();
        directory.handle_views(at(5_000), &[lease(Nonce(7), 4, 1)], &[]);
        let orphan = Seeker::Orphan {
            epoch: 3,
            since: at(4_990),
        };
        assert!(matches!(
            directory.place(at(5_000), &zone(), false, orphan),
            Placement::There { epoch: 4, .. }
        ));
    }

    #[test]
    fn an_orphan_is_never_sent_to_a_lower_epoch() {
        let orphan = Seeker::Orphan { epoch: 4, since: at(0) };
        assert_eq!(seen_alive().place(at(1_500), &zone(), false, orphan), Placement::Wait);
    }

    #[test]
    fn a_seeker_waits_while_the_leases_have_not_been_read() {
        let directory = Directory::new(ME, TTL, [zone()].into_iter());
        assert_eq!(
            directory.place(at(0), &zone(), false, Seeker::Newcomer),
            Placement::Wait
        );
    }

    #[test]
    fn a_zone_that_the_world_does_not_have_is_unknown() {
        let nowhere = "nowhere".parse().unwrap();
        assert_eq!(
            seen_alive().place(at(1_500), &nowhere, false, Seeker::Newcomer),
            Placement::Unknown
        );
    }

    #[test]
    fn peers_are_other_shards_whose_beat_moves() {
        let mut directory = Directory::new(ME, TTL, [zone()].into_iter());
        let shard = |nonce, port, beat| ShardView {
            nonce,
            addr: addr(port),
            beat,
        };
        directory.handle_views(
            at(0),
            &[],
            &[shard(ME, 1, 1), shard(OTHER, 2, 1), shard(Nonce(3), 3, 1)],
        );
        directory.handle_views(
            at(900),
            &[],
            &[shard(ME, 1, 2), shard(OTHER, 2, 2), shard(Nonce(3), 3, 1)],
        );
        assert_eq!(directory.peers(at(1_000)), [addr(2)]);
    }
}
