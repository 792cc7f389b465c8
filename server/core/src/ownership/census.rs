//! The census remembers what the authority once showed of the world's zones. It reads no clock and asks no authority
//! itself.
//!
//! An authority without a disk of its own (a Redis that was restarted empty) forgets which zones there are and which
//! epochs it granted. A shard that holds a zone puts its lease back at once. A zone that stays missing has no living
//! holder, so after a grace another shard declares it again; and the shard that claims it then asks for an epoch above
//! every one that it has seen, so that the store, the players, and a late zombie can tell the new ownership from all
//! before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use everhold_protocol::{Epoch, ZoneName};

use super::authority::Leases;

/// The zones of a world, as one process has seen them.
#[derive(Clone, Debug)]
pub struct Census {
    zones: BTreeSet<ZoneName>,
    /// Time for which a zone must be missing.
    grace: Duration,
    /// The missing zones, and since when.
    missing: BTreeMap<ZoneName, Duration>,
    /// The highest epoch seen of each zone.
    epochs: BTreeMap<ZoneName, Epoch>,
}

impl Census {
    /// Returns a census of a world's `zones` that has seen no lease yet.
    #[must_use]
    pub const fn new(zones: BTreeSet<ZoneName>, grace: Duration) -> Self {
        Self {
            zones,
            grace,
            missing: BTreeMap::new(),
            epochs: BTreeMap::new(),
        }
    }

    /// Takes all leases as the authority showed them. A lease that could not be read is not missing.
    pub fn handle_leases(&mut self, now: Duration, leases: &Leases) {
        let mut missing = &self.zones - &leases.unread;
        for view in &leases.views {
            missing.remove(&view.zone);
            let seen = self.epochs.entry(view.zone.clone()).or_default();
            *seen = view.epoch.max(*seen);
        }
        let since = |zone: ZoneName| {
            let since = self.missing.get(&zone).copied().unwrap_or(now);
            (zone, since)
        };
        self.missing = missing.into_iter().map(since).collect();
    }

    /// Returns the zones that have been missing for the grace: declare them.
    #[must_use]
    pub fn missing(&self, now: Duration) -> Vec<ZoneName> {
        let is_due = |since: &Duration| now.saturating_sub(*since) >= self.grace;
        let due = self.missing.iter().filter(|(_, since)| is_due(since));
        due.map(|(zone, _)| zone.clone()).collect()
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
    use crate::ownership::{LeaseView, Nonce};

    const GRACE: Duration = Duration::from_secs(8);

    fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn zone(name: &str) -> ZoneName {
        name.parse().unwrap()
    }

    fn census() -> Census {
        Census::new([zone("forest"), zone("meadow")].into(), GRACE)
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
