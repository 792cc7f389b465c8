//! The directory: the leases and shards as this process last saw them, each with the moment at which its beat last
//! moved. It reads no clock and asks no authority.
//!
//! Whether an owner lives is judged by its beat alone, watched on our own clock. That is a hint for routing, never a
//! right: the lease decides which shard may act, and the fence which may write. While the authority cannot be read,
//! beats say nothing: peers are those that lived at the last look, and time without looks does not count against them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use everhold_protocol::{Epoch, ZoneName};

use crate::ownership::{LeaseView, Nonce, ShardView};

/// Peers named to a client: enough that one of them lives, few enough for a message.
const PEERS_MAX: usize = 4;

/// Lease ttls for which an owner of a lower epoch than the client has seen must have served before the client is told
/// that its session is unknown. An owner of the higher epoch has put its lease back into the authority by then, if it
/// lives.
const LOWER_EPOCH_TTLS: u32 = 2;

/// Parts of a ttl. A time between two looks at the shards that is longer than one part does not count; looks come ten
/// times as often.
const LOOK_GAPS_PER_TTL: u32 = 4;

/// A client's request for a zone, with what it knows of the zone's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteRequest {
    /// A log-in with a fresh ticket. The client has no reason to mistrust the zone's owner.
    New,
    /// A resume of a session under `epoch`, by a client that lost its owner before `since`.
    Resume {
        /// The highest epoch of this zone that the client has seen.
        epoch: Epoch,
        /// The time on `CLOCK_BOOTTIME` at which the client came to this shard.
        since: Duration,
    },
}

/// The shard where a connection belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// This shard.
    Here,
    /// Another shard.
    There {
        /// Its address.
        addr: SocketAddr,
        /// The epoch it serves under.
        epoch: Epoch,
    },
    /// Nowhere yet: it waits.
    Wait,
    /// None: the zone is served under a lower epoch than the session was, and no owner of a higher one has come
    /// forward. Its world was restored or begun anew and has no such session.
    SessionUnknown,
    /// None: the world has no such zone.
    ZoneUnknown,
}

/// A zone that this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hosted {
    /// The epoch it runs under.
    pub epoch: Epoch,
    /// The moment at which it started to run here.
    pub since: Duration,
    /// Whether its lease allows it to say anything now.
    pub may_speak: bool,
}

/// Leases and shards, each with the moment at which its beat last moved.
#[derive(Debug)]
pub struct Directory {
    me: Nonce,
    lease_ttl: Duration,
    /// Time without a moving beat after which an owner does not count as alive: two renewals are missing.
    stale_after: Duration,
    /// The world's zones, whether or not the authority has shown them yet.
    zones: BTreeSet<ZoneName>,
    leases: BTreeMap<ZoneName, Seen<LeaseView>>,
    shards: BTreeMap<Nonce, Seen<ShardView>>,
    /// The moment of the last look at the shards.
    shards_seen_at: Option<Duration>,
}

#[derive(Debug)]
struct Seen<T> {
    view: T,
    /// The moment at which its beat was seen to move; `None` until it has moved once before our eyes.
    moved_at: Option<Duration>,
    /// The moment since which its holder and epoch are these, as far as we have seen.
    since: Duration,
}

/// Returns when a beat was last seen to move: `now` if it `moved` since the look `before`.
fn moved_at<T>(before: Option<&Seen<T>>, moved: bool, now: Duration) -> Option<Duration> {
    if moved { Some(now) } else { before?.moved_at }
}

impl Seen<LeaseView> {
    /// Takes a look at the lease: the beat is a sign of life only if it has moved since the last one.
    fn look(before: Option<&Self>, now: Duration, view: &LeaseView) -> Self {
        let grant = |view: &LeaseView| (view.epoch, view.nonce);
        let same = before.filter(|before| grant(&before.view) == grant(view));
        let moved = match before {
            Some(before) => (before.view.beat, before.view.epoch) != (view.beat, view.epoch),
            None => false,
        };
        Self {
            view: view.clone(),
            moved_at: moved_at(before, moved, now),
            since: same.map_or(now, |same| same.since),
        }
    }
}

impl Seen<ShardView> {
    fn look(before: Option<&Self>, now: Duration, view: &ShardView) -> Self {
        let moved = before.is_some_and(|before| before.view.beat != view.beat);
        Self {
            view: view.clone(),
            moved_at: moved_at(before, moved, now),
            since: before.map_or(now, |before| before.since),
        }
    }
}

impl Directory {
    /// Returns a directory of a world's zones that has seen no lease yet. `lease_ttl` is the configured one: renewals
    /// come every quarter of it.
    #[must_use]
    pub fn new(me: Nonce, lease_ttl: Duration, zones: impl Iterator<Item = ZoneName>) -> Self {
        Self {
            me,
            lease_ttl,
            stale_after: stale_after(lease_ttl),
            zones: zones.collect(),
            leases: BTreeMap::new(),
            shards: BTreeMap::new(),
            shards_seen_at: None,
        }
    }

    /// Takes what the authority shows now: leases as far as they could be read, and shards if they could be.
    pub fn handle_views(&mut self, now: Duration, leases: &[LeaseView], shards: Option<&[ShardView]>) {
        for view in leases {
            let seen = Seen::<LeaseView>::look(self.leases.get(&view.zone), now, view);
            self.leases.insert(view.zone.clone(), seen);
        }
        if let Some(shards) = shards {
            self.handle_shards(now, shards);
        }
    }

    fn handle_shards(&mut self, now: Duration, shards: &[ShardView]) {
        let unseen = now.saturating_sub(self.shards_seen_at.replace(now).unwrap_or(now));
        // Without looks no shard could be seen to live, and perhaps none could announce itself.
        if unseen > self.lease_ttl / LOOK_GAPS_PER_TTL {
            for moved_at in self.shards.values_mut().filter_map(|seen| seen.moved_at.as_mut()) {
                *moved_at += unseen;
            }
        }
        let shown: BTreeSet<Nonce> = shards.iter().map(|view| view.nonce).collect();
        let withdrawn: BTreeSet<Nonce> = self
            .shards
            .keys()
            .copied()
            .filter(|nonce| !shown.contains(nonce))
            .collect();
        self.shards.retain(|nonce, _| shown.contains(nonce));
        // A shard that withdrew is believed before its lease tells. One whose entry was lost by the authority renews
        // soon.
        for seen in self
            .leases
            .values_mut()
            .filter(|seen| withdrawn.contains(&seen.view.nonce))
        {
            seen.moved_at = None;
        }
        for view in shards {
            let seen = Seen::<ShardView>::look(self.shards.get(&view.nonce), now, view);
            self.shards.insert(view.nonce, seen);
        }
    }

    /// Returns where a client that asks for `zone` belongs. `here` is the zone, if this process runs it now.
    ///
    /// Epochs compare within this zone only. An owner of a lower epoch than the client has seen is not its session's
    /// owner, or not yet known to be: the client waits for one of a higher epoch, and after two ttl of the lower one's
    /// service it is told that there is none.
    #[must_use]
    pub fn place(&self, now: Duration, zone: &ZoneName, here: Option<Hosted>, request: RouteRequest) -> Placement {
        if !self.zones.contains(zone) {
            return Placement::ZoneUnknown;
        }
        if let Some(hosted) = here {
            return match request {
                RouteRequest::Resume { epoch, since } if epoch > hosted.epoch => {
                    let believed = hosted.may_speak && self.is_lower_for_long(now, since.max(hosted.since));
                    session_unknown_if(believed)
                }
                _ => Placement::Here,
            };
        }
        let Some(seen) = self.leases.get(zone) else {
            return Placement::Wait;
        };
        let view = &seen.view;
        let Some(moved_at) = self.living(now, seen) else {
            return Placement::Wait;
        };
        let credible = match request {
            RouteRequest::New => true,
            RouteRequest::Resume { epoch, since } if view.epoch < epoch => {
                return session_unknown_if(self.is_lower_for_long(now, since.max(seen.since)));
            }
            // The very owner it fled from: alive only if it renewed well after. The client's own path to it may be what
            // broke.
            RouteRequest::Resume { epoch, since } => view.epoch > epoch || moved_at > since + self.stale_after / 4,
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

    /// Whether another shard may be serving the zone: while none is, every connection to it waits.
    #[must_use]
    pub fn is_served(&self, now: Duration, zone: &ZoneName) -> bool {
        self.leases
            .get(zone)
            .is_some_and(|seen| self.living(now, seen).is_some())
    }

    /// Returns when the beat of a living owner other than this shard last moved.
    fn living(&self, now: Duration, seen: &Seen<LeaseView>) -> Option<Duration> {
        let elsewhere = !seen.view.released && seen.view.nonce != self.me;
        // A holder with longer leases renews less often.
        let stale_after = stale_after(seen.view.longer_ttl(self.lease_ttl));
        seen.moved_at
            .filter(|at| elsewhere && now.saturating_sub(*at) < stale_after)
    }

    fn is_lower_for_long(&self, now: Duration, since: Duration) -> bool {
        now.saturating_sub(since) >= self.lease_ttl * LOWER_EPOCH_TTLS
    }

    /// Returns other shards that lived at the last look, for a client to park at.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        let seen_at = self.shards_seen_at.unwrap_or_default();
        let lives = |seen: &&Seen<ShardView>| {
            // A shard with longer leases renews less often.
            let stale_after = stale_after(seen.view.longer_ttl(self.lease_ttl));
            seen.view.nonce != self.me && seen.moved_at.is_some_and(|at| seen_at.saturating_sub(at) < stale_after)
        };
        self.shards
            .values()
            .filter(lives)
            .map(|seen| seen.view.addr)
            .take(PEERS_MAX)
            .collect()
    }
}

/// Returns the time without a moving beat after which two renewals are missing.
fn stale_after(ttl: Duration) -> Duration {
    ttl * 5 / 8
}

/// Answers a resume that has seen a higher epoch than the owner's: once the lower epoch is `believed`, its session is
/// unknown, and before that it waits.
const fn session_unknown_if(believed: bool) -> Placement {
    if believed {
        Placement::SessionUnknown
    } else {
        Placement::Wait
    }
}

#[cfg(test)]
mod tests;
