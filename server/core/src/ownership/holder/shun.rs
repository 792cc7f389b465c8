//! The zones that failed in this process, each with the time until which it is left to others. It is a time and never
//! for ever: on a lone shard, or when the zone has failed on every shard, one more try is better than none.

use std::collections::BTreeMap;
use std::time::Duration;

use everhold_protocol::ZoneName;

/// The longest time for which a zone that failed is left to others, in ttls.
const TTLS_MAX: u32 = 8;

/// The longest time for one whose tick did not end, in ttls: a quarter of an hour with those of the default. A tick
/// that never ends keeps a processor busy, and a try at such a zone may add another.
const WEDGED_TTLS_MAX: u32 = 256;

/// The zones that this process leaves to others for now.
#[derive(Debug, Default)]
pub(super) struct ShunnedZones(BTreeMap<ZoneName, Shun>);

#[derive(Clone, Copy, Debug)]
struct Shun {
    until: Duration,
    /// The ttls of the last time.
    ttls: u32,
    cause: ShunCause,
}

/// The cause for which a zone is left to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ShunCause {
    Failure,
    /// A tick did not end.
    Wedge,
}

impl ShunCause {
    const fn ttls_max(self) -> u32 {
        match self {
            Self::Failure => TTLS_MAX,
            Self::Wedge => WEDGED_TTLS_MAX,
        }
    }
}

impl ShunnedZones {
    /// Whether a zone is left to others at `now`.
    pub(super) fn contains(&self, zone: &ZoneName, now: Duration) -> bool {
        self.0.get(zone).is_some_and(|shun| now < shun.until)
    }

    /// Leaves a zone to others for one ttl: it failed at an input, which is quarantined.
    pub(super) fn cede(&mut self, zone: ZoneName, now: Duration, ttl: Duration) {
        let until = now + ttl;
        let cause = ShunCause::Failure;
        self.0.insert(zone, Shun { until, ttls: 0, cause });
    }

    /// Leaves a zone to others for one ttl, or for twice as long as the last time if that is not long ago.
    pub(super) fn shun(&mut self, zone: ZoneName, now: Duration, ttl: Duration) {
        self.leave(zone, now, ttl, ShunCause::Failure);
    }

    /// Leaves a zone to others of which a tick does not end here, and twice as long as the last time if that is not
    /// long ago. No thread can be ended from outside: each time may cost a processor, so that the times grow longer
    /// than those of other failures.
    pub(super) fn shun_wedged(&mut self, zone: ZoneName, now: Duration, ttl: Duration) {
        self.leave(zone, now, ttl, ShunCause::Wedge);
    }

    /// Begins the time of a zone anew whose wedged tick was given up by now, and the World with it: others first.
    pub(super) fn settle(&mut self, zone: &ZoneName, now: Duration, ttl: Duration) {
        if let Some(shun) = self.0.get_mut(zone)
            && shun.cause == ShunCause::Wedge
        {
            shun.until = now + shun.ttls * ttl;
        }
    }

    /// Leaves a zone to others no longer of which a tick [did not end](Self::shun_wedged): it is in memory here, so
    /// that the tick has. What failed otherwise stays as it is.
    pub(super) fn forgive(&mut self, zone: &ZoneName) {
        if self.0.get(zone).is_some_and(|shun| shun.cause == ShunCause::Wedge) {
            self.0.remove(zone);
        }
    }

    fn leave(&mut self, zone: ZoneName, now: Duration, ttl: Duration, cause: ShunCause) {
        let max = cause.ttls_max();
        let is_recent = |shun: &&Shun| now < shun.until.saturating_add(2 * max * ttl);
        let recent = self.0.get(&zone).filter(is_recent);
        let ttls = recent.map_or(1, |shun| (2 * shun.ttls).clamp(1, max));
        let until = now + ttls * ttl;
        self.0.insert(zone, Shun { until, ttls, cause });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(4);

    fn zone() -> ZoneName {
        "meadow".parse().unwrap()
    }

    /// Shuns the zone again as soon as that is over, and returns the ttls of each time.
    fn times(shunned: &mut ShunnedZones, mut now: Duration, count: usize) -> Vec<u32> {
        let mut times = Vec::new();
        for _ in 0..count {
            shunned.shun(zone(), now, TTL);
            let ttls = (1..=100)
                .find(|ttls| !shunned.contains(&zone(), now + *ttls * TTL))
                .unwrap();
            assert!(shunned.contains(&zone(), now + ttls * TTL - Duration::from_millis(1)));
            now += ttls * TTL;
            times.push(ttls);
        }
        times
    }

    #[test]
    fn zone_that_fails_again_and_again_is_left_for_longer_each_time_up_to_a_bound() {
        assert_eq!(times(&mut ShunnedZones::default(), TTL, 6), [1, 2, 4, 8, 8, 8]);
    }

    #[test]
    fn failure_of_long_ago_counts_no_more() {
        let mut shunned = ShunnedZones::default();
        assert_eq!(times(&mut shunned, TTL, 3), [1, 2, 4]);
        assert_eq!(times(&mut shunned, 60 * TTL, 1), [1]);
    }

    #[test]
    fn zone_that_failed_at_a_quarantined_input_is_left_for_one_ttl_however_often() {
        let mut shunned = ShunnedZones::default();
        for failure in 1..5 {
            let now = failure * TTL;
            shunned.cede(zone(), now, TTL);
            assert!(shunned.contains(&zone(), now + TTL - Duration::from_millis(1)));
            assert!(!shunned.contains(&zone(), now + TTL));
        }
    }

    #[test]
    fn zone_whose_tick_does_not_end_is_left_for_ever_longer_and_never_for_ever() {
        let (mut shunned, mut now, mut times) = (ShunnedZones::default(), TTL, Vec::new());
        for _ in 0..11 {
            shunned.shun_wedged(zone(), now, TTL);
            let ttls = (1..)
                .find(|ttls| !shunned.contains(&zone(), now + *ttls * TTL))
                .unwrap();
            now += ttls * TTL;
            times.push(ttls);
        }
        assert_eq!(times, [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256]);
    }

    #[test]
    fn time_of_a_wedged_zone_begins_when_its_world_is_given_up_and_ends_when_that_is_back() {
        let mut shunned = ShunnedZones::default();
        shunned.shun_wedged(zone(), TTL, TTL);
        shunned.settle(&zone(), 5 * TTL, TTL);
        assert!(shunned.contains(&zone(), 6 * TTL - Duration::from_millis(1)));
        assert!(!shunned.contains(&zone(), 6 * TTL));
        shunned.shun_wedged(zone(), 6 * TTL, TTL);
        shunned.forgive(&zone());
        assert!(!shunned.contains(&zone(), 6 * TTL));
        shunned.shun(zone(), TTL, TTL);
        shunned.settle(&zone(), 5 * TTL, TTL);
        shunned.forgive(&zone());
        assert!(shunned.contains(&zone(), TTL), "no tick stands still");
        assert!(!shunned.contains(&zone(), 2 * TTL), "another failure's time goes on");
    }
}
