//! The zones that failed in this process, each with the time until which it is left to others. It is a time and never
//! for ever: on a lone shard, or when the zone has failed on every shard, one more try is better than none.

use std::collections::BTreeMap;
use std::time::Duration;

use everhold_protocol::ZoneName;

/// The longest time for which a zone is left to others, in ttls.
const TTLS_MAX: u32 = 8;

/// The zones that this process leaves to others for now.
#[derive(Debug, Default)]
pub(super) struct ShunnedZones(BTreeMap<ZoneName, Shun>);

#[derive(Clone, Copy, Debug)]
struct Shun {
    until: Duration,
    /// The ttls of the last time.
    ttls: u32,
}

impl ShunnedZones {
    /// Whether a zone is left to others at `now`.
    pub(super) fn contains(&self, zone: &ZoneName, now: Duration) -> bool {
        self.0.get(zone).is_some_and(|shun| now < shun.until)
    }

    /// Leaves a zone to others for one ttl: it failed at an input, which is quarantined.
    pub(super) fn cede(&mut self, zone: ZoneName, now: Duration, ttl: Duration) {
        let until = now + ttl;
        self.0.insert(zone, Shun { until, ttls: 0 });
    }

    /// Leaves a zone to others for one ttl, or for twice as long as the last time if that is not long ago.
    pub(super) fn shun(&mut self, zone: ZoneName, now: Duration, ttl: Duration) {
        let recent = self
            .0
            .get(&zone)
            .filter(|shun| now < shun.until.saturating_add(2 * TTLS_MAX * ttl));
        let ttls = recent.map_or(1, |shun| (2 * shun.ttls).clamp(1, TTLS_MAX));
        let until = now + ttls * ttl;
        self.0.insert(zone, Shun { until, ttls });
    }

    /// Leaves a zone to others no longer of which a tick [did not end](Self::leave): it is in memory here, so that the
    /// tick has. What failed otherwise stays as it is.
    pub(super) fn forgive(&mut self, zone: &ZoneName) {
        if self.0.get(zone).is_some_and(|shun| shun.until == Duration::MAX) {
            self.0.remove(zone);
        }
    }

    /// Leaves a zone to others until it is [forgiven](Self::forgive): a tick of it does not end here, and no thread can
    /// be ended from outside.
    pub(super) fn leave(&mut self, zone: ZoneName) {
        let until = Duration::MAX;
        self.0.insert(zone, Shun { until, ttls: 0 });
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
    fn zone_whose_tick_does_not_end_is_left_until_it_has() {
        let mut shunned = ShunnedZones::default();
        shunned.leave(zone());
        assert!(shunned.contains(&zone(), 1_000_000 * TTL));
        shunned.forgive(&zone());
        assert!(!shunned.contains(&zone(), TTL));
        shunned.shun(zone(), TTL, TTL);
        shunned.forgive(&zone());
        assert!(shunned.contains(&zone(), TTL), "no tick stands still");
    }
}
