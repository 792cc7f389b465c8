//! Zones of which the store has less than their leases say: it went back, and the last owner may have the rest in
//! memory. A contender without that memory waits for a ttl in which the store answers: while it is silent, the last
//! owner cannot claim the zone either. It asks no store itself.

use std::time::Duration;

use super::Contender;

/// The longest time for which such a zone is left to its last owner, in ttls, however often the store falls silent.
const TTLS_MAX: u32 = 8;

/// The looks at the store within a ttl: a silence that lasts longer than the time between two of them is noticed.
const LOOKS: u32 = 4;

/// The time for which a zone of which the store has less than its lease says is left to its last owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct GoneBack {
    /// The moment at which that was first seen.
    seen_at: Duration,
    /// The moment from which on the store answered whenever it was asked.
    answers_since: Duration,
}

impl GoneBack {
    const fn new(now: Duration) -> Self {
        Self {
            seen_at: now,
            answers_since: now,
        }
    }

    /// Notes that the store, or the authority, did not answer a claim.
    pub(super) const fn note_silence(&mut self, now: Duration) {
        self.answers_since = now;
    }

    fn ends_at(&self, ttl: Duration) -> Duration {
        (self.answers_since + ttl).min(self.seen_at + TTLS_MAX * ttl)
    }
}

impl Contender {
    /// Notes, at `now`, that the claim in flight is of a zone of which the store has less than its lease says. Returns
    /// whether the claim is put off, until the store has answered for a ttl. The claim of a suspended zone is not put
    /// off.
    pub fn handle_gone_back(&mut self, now: Duration) -> bool {
        let ttl = self.config.ttl;
        let zone = self.in_flight.as_ref().expect("a claim is in flight");
        let is_suspended = self.suspended.contains_key(zone);
        let Some(watch) = self.watches.get_mut(zone).filter(|_| !is_suspended) else {
            return false;
        };
        let ttl = watch.view.longer_ttl(ttl);
        let ends_at = watch.gone_back.get_or_insert_with(|| GoneBack::new(now)).ends_at(ttl);
        watch.not_before = ends_at.min(now + ttl / LOOKS);
        let is_put_off = now < ends_at;
        if is_put_off {
            self.end_claim();
        }
        is_put_off
    }
}
