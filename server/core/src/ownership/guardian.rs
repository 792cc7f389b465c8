//! The guardian's side of a server's ownerships: what the server holds, whether it fell silent, and what to release
//! when it is dead. It reads no clock and no pipe, and sends no signal.
//!
//! A guardian only shortens a wait. If it misses something (a grant that it never heard of, its own death), the ttl
//! makes up for it; and it releases by compare-and-set on epoch and nonce, so it can take nothing from a successor.

mod death;

use std::collections::BTreeMap;
use std::time::Duration;

use everhold_protocol::{Epoch, ZoneName};
use serde::{Deserialize, Serialize};

pub use self::death::{ReleaseAnswer, ServerEnd};
use super::grant::{Grant, Nonce, Tenure};
use crate::limits::{STOP_KILL_MS, STOP_MS_MAX};

/// The holdings that a server reports to its guardian, complete each time. So no report must be kept until it can be
/// sent, and a lost one does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// The server's nonce; 0 until it is in the directory of shards.
    nonce: u64,
    /// Whether the server is in the directory.
    #[serde(default)]
    is_announced: bool,
    /// The server's zones, and the epoch of each.
    zones: BTreeMap<ZoneName, Epoch>,
}

impl Holdings {
    /// Notes that the server is in the directory.
    pub const fn note_announced(&mut self, nonce: Nonce) {
        self.nonce = nonce.0;
        self.is_announced = true;
    }

    /// Notes that the server has left the directory: there is nothing to withdraw.
    pub const fn note_withdrawn(&mut self) {
        self.is_announced = false;
    }

    /// Notes that the zone was granted.
    pub fn note_granted(&mut self, tenure: &Tenure) {
        self.note_announced(tenure.grant.nonce());
        self.zones.insert(tenure.zone.clone(), tenure.epoch());
    }

    /// Notes that the grant is released, or left to its ttl. Ignored if the zone was granted anew since.
    pub fn note_ended(&mut self, tenure: &Tenure) {
        if self.zones.get(&tenure.zone) == Some(&tenure.epoch()) {
            self.zones.remove(&tenure.zone);
        }
    }

    /// Notes that another shard was granted the zone.
    pub fn note_taken(&mut self, zone: &ZoneName) {
        self.zones.remove(zone);
    }

    /// Whether there is nothing to release and nothing to withdraw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.zones.is_empty() && !self.is_announced
    }

    /// Returns the server's nonce, if it is in the directory.
    #[must_use]
    pub fn announced(&self) -> Option<Nonce> {
        self.is_announced.then_some(Nonce(self.nonce))
    }

    /// Returns the server's tenures, in order of zone.
    pub fn tenures(&self) -> impl Iterator<Item = Tenure> {
        self.zones.iter().map(|(zone, epoch)| Tenure {
            zone: zone.clone(),
            grant: Grant::issue(*epoch, Nonce(self.nonce)),
        })
    }
}

/// The guardian's machine.
#[derive(Clone, Debug)]
pub struct Guardian {
    ttl: Duration,
    holdings: Holdings,
    heard_at: Duration,
    looked_at: Duration,
    /// The moment by which a server that was asked to stop must have ended.
    stop_by: Option<Duration>,
    has_killed: bool,
}

/// The server is to be killed, again if it takes some looks to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The cause, as the log says it.
    pub why: KillReason,
    /// Whether it was not to be killed before.
    pub is_first: bool,
}

/// The reason why a server is to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KillReason {
    /// It holds something, and its lease is over.
    #[error("it said nothing for a whole ttl")]
    Silent,
    /// It was asked to stop, and did not end in time.
    #[error("it did not stop when it was asked to")]
    Unstopped,
}

impl Guardian {
    /// Looks in a ttl: silence is noticed at most an eighth of a ttl late. A server reports as often.
    pub const LOOKS_PER_TTL: u32 = 8;

    /// Returns the guardian of a server that holds nothing yet.
    #[must_use]
    pub fn new(ttl: Duration, now: Duration) -> Self {
        Self {
            ttl,
            holdings: Holdings::default(),
            heard_at: now,
            looked_at: now,
            stop_by: None,
            has_killed: false,
        }
    }

    /// Returns the time between two looks.
    #[must_use]
    pub fn look_every(&self) -> Duration {
        Self::word_every(self.ttl)
    }

    /// The time between two words of a server whose leases have this ttl.
    #[must_use]
    pub fn word_every(ttl: Duration) -> Duration {
        ttl / Self::LOOKS_PER_TTL
    }

    /// Takes a report of the server.
    pub fn handle_heard(&mut self, holdings: Holdings, now: Duration) {
        self.heard_at = now;
        self.holdings = holdings;
    }

    /// Notes that the server was asked to stop. It ends itself within a bound; this bound is for a server that cannot.
    pub fn handle_stop(&mut self, now: Duration) {
        self.stop_by = Some(now + Duration::from_millis(STOP_MS_MAX + STOP_KILL_MS));
    }

    /// Returns why the server is to be killed, if it is. If it holds something and was silent for a whole ttl, its
    /// zones have stopped, because the margin of its lease is over; only the process is in the way. A server that holds
    /// nothing is in no shard's way, however silent, unless it was asked to stop.
    ///
    /// A guardian that did not look for longer than two looks take was stopped itself, and could not hear: the server
    /// gets a fresh ttl.
    pub fn look(&mut self, now: Duration) -> Option<Kill> {
        let why = self.reason_to_kill(now)?;
        let is_first = !std::mem::replace(&mut self.has_killed, true);
        Some(Kill { why, is_first })
    }

    fn reason_to_kill(&mut self, now: Duration) -> Option<KillReason> {
        let gap = now.saturating_sub(self.looked_at);
        self.looked_at = now;
        if gap > 2 * self.look_every() {
            self.heard_at = now;
        }
        if !self.holdings.zones.is_empty() && now.saturating_sub(self.heard_at) >= self.ttl {
            return Some(KillReason::Silent);
        }
        self.stop_by
            .is_some_and(|by| now >= by)
            .then_some(KillReason::Unstopped)
    }

    /// Returns what is to be released once the server is dead.
    #[must_use]
    pub const fn holdings(&self) -> &Holdings {
        &self.holdings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_millis(800);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn tenure(epoch: u32) -> Tenure {
        Tenure {
            zone: "meadow".parse().unwrap(),
            grant: Grant::issue(Epoch(epoch), Nonce(u64::MAX)),
        }
    }

    fn holding(epoch: u32) -> Holdings {
        let mut holdings = Holdings::default();
        holdings.note_granted(&tenure(epoch));
        holdings
    }

    /// Looks as often as a guardian does until `until`. Returns the first moment at which the server is to be killed.
    fn look_until(guardian: &mut Guardian, from: u64, until: u64) -> Option<u64> {
        (from..=until).step_by(100).find(|at| {
            guardian
                .look(ms(*at))
                .is_some_and(|kill| kill.why == KillReason::Silent)
        })
    }

    #[test]
    fn silent_holder_is_killed_after_a_whole_ttl() {
        let mut guardian = Guardian::new(TTL, ms(0));
        guardian.handle_heard(holding(1), ms(50));
        assert_eq!(look_until(&mut guardian, 100, 2_000), Some(900));
        assert_eq!(guardian.holdings().tenures().collect::<Vec<_>>(), [tenure(1)]);
    }

    #[test]
    fn holder_that_speaks_is_left_alone() {
        let mut guardian = Guardian::new(TTL, ms(0));
        for at in (0..10_000).step_by(100) {
            guardian.handle_heard(holding(1), ms(at));
            assert_eq!(guardian.look(ms(at)), None);
        }
    }

    #[test]
    fn silent_server_that_holds_nothing_is_left_alone() {
        let mut guardian = Guardian::new(TTL, ms(0));
        assert_eq!(look_until(&mut guardian, 0, 5_000), None);
        guardian.handle_heard(holding(1), ms(5_000));
        guardian.handle_heard(Holdings::default(), ms(5_010));
        assert_eq!(look_until(&mut guardian, 5_100, 10_000), None);
    }

    #[test]
    fn guardian_that_was_stopped_gives_a_fresh_ttl() {
        let mut guardian = Guardian::new(TTL, ms(0));
        guardian.handle_heard(holding(1), ms(0));
        assert_eq!(look_until(&mut guardian, 100, 300), None);
        assert_eq!(look_until(&mut guardian, 5_000, 10_000), Some(5_800));
    }

    #[test]
    fn server_that_does_not_stop_is_killed_whatever_it_holds() {
        let mut guardian = Guardian::new(TTL, ms(0));
        guardian.handle_stop(ms(100));
        let by = 100 + STOP_MS_MAX + STOP_KILL_MS;
        assert_eq!(guardian.look(ms(by - 1)), None);
        let kill = |is_first| {
            Some(Kill {
                why: KillReason::Unstopped,
                is_first,
            })
        };
        assert_eq!(guardian.look(ms(by)), kill(true));
        assert_eq!(guardian.look(ms(by + 100)), kill(false), "it takes a while to die");
    }

    #[test]
    fn end_of_an_earlier_grant_does_not_end_the_later_one() {
        let mut holdings = holding(3);
        holdings.note_ended(&tenure(2));
        assert_eq!(holdings.tenures().count(), 1);
        holdings.note_ended(&tenure(3));
        assert_eq!(holdings.tenures().count(), 0);
        assert_eq!(
            holdings.announced(),
            Some(tenure(3).grant.nonce()),
            "it is still the same process"
        );
    }

    #[test]
    fn server_that_was_granted_nothing_is_in_the_directory_until_it_leaves_it() {
        let mut holdings = Holdings::default();
        assert_eq!(holdings.announced(), None);
        assert!(holdings.is_empty());
        holdings.note_announced(Nonce(7));
        assert!(!holdings.is_empty());
        assert_eq!((holdings.announced(), holdings.tenures().count()), (Some(Nonce(7)), 0));
        holdings.note_withdrawn();
        assert_eq!(holdings.announced(), None);
    }

    #[test]
    fn what_a_server_that_left_the_directory_still_holds_is_released_as_it_was_granted() {
        let mut holdings = holding(3);
        holdings.note_withdrawn();
        assert_eq!(holdings.announced(), None);
        assert_eq!(holdings.tenures().collect::<Vec<_>>(), [tenure(3)]);
    }

    #[test]
    fn words_survive_their_way() {
        let sent = holding(7);
        let line = serde_json::to_vec(&sent).unwrap();
        assert_eq!(serde_json::from_slice::<Holdings>(&line).unwrap(), sent);
    }
}
