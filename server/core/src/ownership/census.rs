//! The census remembers what the authority once showed of the world's zones. It reads no clock and asks no authority
//! itself.
//!
//! An authority without a disk of its own (a Redis that was restarted empty) forgets which zones there are and which
//! epochs it granted. A shard that has a zone in memory puts its lease back at once. A zone that stays missing has no
//! such shard, so after a grace another one declares it again; a shard that prefers a zone declares it without a grace,
//! since a zone that was declared is not free yet ([`Census::is_forgotten`]). The shard that claims it then asks for an
//! epoch above every one that it has seen, so that the store, the players, and a late zombie can tell the new ownership
//! from all before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use everhold_protocol::{Epoch, ZoneName};

use super::authority::{LeaseView, Leases};

/// The zones of a world, as one process has seen them.
#[derive(Clone, Debug)]
pub struct Census {
    zones: BTreeSet<ZoneName>,
    /// Zones that are declared as soon as they are missing.
    preferred: BTreeSet<ZoneName>,
    /// Time for which any other zone must be missing.
    grace: Duration,
    /// The missing zones, and since when.
    missing: BTreeMap<ZoneName, Duration>,
    /// The highest epoch seen of each zone.
    epochs: BTreeMap<ZoneName, Epoch>,
    /// The grace of zones whose lease last had a ttl of its own.
    graces: BTreeMap<ZoneName, Duration>,
}

impl Census {
    /// Returns a census of a world's `zones` that has seen no lease yet. Those that are `preferred` are declared
    /// without a grace.
    #[must_use]
    pub const fn new(zones: BTreeSet<ZoneName>, preferred: BTreeSet<ZoneName>, grace: Duration) -> Self {
        Self {
            zones,
            preferred,
            grace,
            missing: BTreeMap::new(),
            epochs: BTreeMap::new(),
            graces: BTreeMap::new(),
        }
    }

    /// Takes all leases as the authority showed them. A lease that could not be read is not missing; one that makes no
    /// sense is.
    pub fn handle_leases(&mut self, now: Duration, leases: &Leases) {
        let mut missing = &self.zones - &leases.unread;
        for view in &leases.views {
            missing.remove(&view.zone);
            self.note_epoch(&view.zone, view.epoch);
            // Its holder finds out within one of its own ttls, and needs a part of another to put it back.
            self.graces.insert(view.zone.clone(), view.reseed_grace(self.grace / 2));
        }
        let since = |zone: ZoneName| {
            let since = self.missing.get(&zone).copied().unwrap_or(now);
            (zone, since)
        };
        self.missing = missing.into_iter().map(since).collect();
    }

    /// Notes that a zone has had this epoch, as another source than the authority says.
    pub fn note_epoch(&mut self, zone: &ZoneName, epoch: Epoch) {
        let seen = self.epochs.entry(zone.clone()).or_default();
        *seen = epoch.max(*seen);
    }

    /// Returns the missing zones that are to be declared: preferred ones, and those that have been missing for the
    /// grace.
    #[must_use]
    pub fn missing(&self, now: Duration) -> Vec<ZoneName> {
        let grace = |zone: &ZoneName| self.graces.get(zone).copied().unwrap_or(self.grace);
        let is_due = |(zone, since): &(&ZoneName, &Duration)| {
            self.preferred.contains(*zone) || now.saturating_sub(**since) >= grace(zone)
        };
        let due = self.missing.iter().filter(is_due);
        due.map(|(zone, _)| zone.clone()).collect()
    }

    /// Whether the authority that shows this lease has forgotten another one: this process knows of a higher epoch.
    /// Such a lease is not free, released or not: the shard that has the zone in memory may be about to put its own
    /// back.
    #[must_use]
    pub fn is_forgotten(&self, view: &LeaseView) -> bool {
        view.epoch < self.epoch_seen(&view.zone)
    }

    /// Whether this process prefers the zone.
    #[must_use]
    pub fn is_preferred(&self, zone: &ZoneName) -> bool {
        self.preferred.contains(zone)
    }

    /// Whether the world of this process has the zone: what it lacks, it cannot run.
    #[must_use]
    pub fn has(&self, zone: &ZoneName) -> bool {
        self.zones.contains(zone)
    }

    /// Whether the authority last showed no lease of this zone.
    #[must_use]
    pub fn is_missing(&self, zone: &ZoneName) -> bool {
        self.missing.contains_key(zone)
    }

    /// Returns the highest epoch of a zone that this process has seen; [`Epoch::NONE`] if none.
    #[must_use]
    pub fn epoch_seen(&self, zone: &ZoneName) -> Epoch {
        self.epochs.get(zone).copied().unwrap_or(Epoch::NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::Nonce;

    const GRACE: Duration = Duration::from_secs(8);

    fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn zone(name: &str) -> ZoneName {
        name.parse().unwrap()
    }

    fn census() -> Census {
        Census::new([zone("forest"), zone("meadow")].into(), BTreeSet::new(), GRACE)
    }

    fn seen(views: &[LeaseView]) -> Leases {
        views.to_vec().into()
    }

    fn lease(name: &str, epoch: Epoch) -> LeaseView {
        LeaseView {
            zone: zone(name),
            epoch,
            nonce: Nonce(1),
            beat: 1,
            released: false,
            addr: ([127, 0, 0, 1], 1).into(),
            players: 0,
            ttl: Duration::ZERO,
            mark: None,
        }
    }

    #[test]
    fn zone_is_declared_only_after_it_was_missing_for_the_grace() {
        let mut census = census();
        census.handle_leases(at(10), &seen(&[lease("meadow", Epoch(1))]));
        census.handle_leases(at(17), &seen(&[lease("meadow", Epoch(1))]));
        assert_eq!(census.missing(at(17)), []);
        assert!(census.is_missing(&zone("forest")) && !census.is_missing(&zone("meadow")));
        assert_eq!(census.missing(at(18)), [zone("forest")]);
    }

    #[test]
    fn preferred_zone_is_declared_as_soon_as_it_is_missing() {
        let preferred = [zone("forest"), zone("hills")].into();
        let mut census = Census::new([zone("forest"), zone("meadow")].into(), preferred, GRACE);
        assert_eq!(census.missing(at(0)), [], "nothing was looked at yet");
        census.handle_leases(at(10), &seen(&[]));
        assert_eq!(census.missing(at(10)), [zone("forest")], "the world has no hills");
    }

    #[test]
    fn lease_below_what_was_seen_shows_that_another_was_forgotten() {
        let mut census = census();
        census.handle_leases(at(0), &seen(&[lease("meadow", Epoch(7))]));
        census.note_epoch(&zone("forest"), Epoch(3));
        census.note_epoch(&zone("forest"), Epoch(2));
        // The zone, the epoch that its lease shows, and whether there was another lease.
        let table = [
            ("meadow", Epoch::NONE, true),
            ("meadow", Epoch(6), true),
            ("meadow", Epoch(7), false),
            ("meadow", Epoch(8), false),
            ("forest", Epoch(2), true),
            ("forest", Epoch(3), false),
            ("hills", Epoch::NONE, false),
        ];
        for (name, epoch, is_forgotten) in table {
            assert_eq!(census.is_forgotten(&lease(name, epoch)), is_forgotten, "{name} {epoch}");
        }
    }

    #[test]
    fn zone_whose_lease_could_not_be_read_is_not_missing_and_its_grace_begins_anew() {
        let mut census = census();
        census.handle_leases(at(0), &seen(&[lease("meadow", Epoch(1))]));
        let unread = Leases {
            unread: [zone("forest")].into(),
            ..seen(&[lease("meadow", Epoch(1))])
        };
        census.handle_leases(at(7), &unread);
        assert!(!census.is_missing(&zone("forest")));
        assert_eq!(census.missing(at(9)), []);
        census.handle_leases(at(10), &seen(&[lease("meadow", Epoch(1))]));
        assert_eq!(census.missing(at(17)), []);
        assert_eq!(census.missing(at(18)), [zone("forest")]);
    }

    #[test]
    fn zone_whose_holder_puts_its_lease_back_is_not_declared() {
        let mut census = census();
        census.handle_leases(at(0), &seen(&[lease("forest", Epoch(2)), lease("meadow", Epoch(1))]));
        census.handle_leases(at(1), &seen(&[]));
        census.handle_leases(at(2), &seen(&[lease("forest", Epoch(2)), lease("meadow", Epoch(1))]));
        census.handle_leases(at(9), &seen(&[lease("meadow", Epoch(1))]));
        assert_eq!(census.missing(at(16)), []);
    }

    #[test]
    fn zone_whose_lease_had_a_longer_ttl_is_missed_for_longer_before_it_is_declared() {
        let mut census = census();
        let slow = LeaseView {
            ttl: at(20),
            ..lease("meadow", Epoch(1))
        };
        census.handle_leases(at(0), &seen(&[slow]));
        census.handle_leases(at(1), &seen(&[]));
        assert_eq!(census.missing(at(40)), [zone("forest")]);
        assert_eq!(census.missing(at(41)), [zone("forest"), zone("meadow")]);
    }

    #[test]
    fn highest_epoch_seen_is_kept_when_the_authority_forgets() {
        let mut census = census();
        census.handle_leases(at(0), &seen(&[lease("meadow", Epoch(7))]));
        census.handle_leases(at(1), &seen(&[]));
        census.handle_leases(at(9), &seen(&[lease("meadow", Epoch::NONE)]));
        assert_eq!(
            (census.epoch_seen(&zone("meadow")), census.epoch_seen(&zone("forest"))),
            (Epoch(7), Epoch::NONE)
        );
    }
}
