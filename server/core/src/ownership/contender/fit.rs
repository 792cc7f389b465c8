//! Zones that ran other rules: a contender leaves them to shards that can run them, for a time and never for ever. One
//! that is sealed, and that it may take over, it does not leave. It asks no store itself.
//!
//! A mark in a lease is a hint. It is believed if the store's newest data is of the owner that left it: a store that
//! lost the zone, or went back to an earlier owner's data, has data of which the mark says nothing. What is believed
//! may still be wrong, after both services came back from copies of different times; so a zone that no shard has
//! claimed for a while is claimed all the same, and the zone's data has the last word.

use std::time::Duration;

use super::Contender;
use super::suspended::StoreData;
use crate::ownership::authority::LeaseView;

/// The longest time for which a zone is left alone before the store is asked again, in ttls. The first is one ttl, and
/// each is twice as long as the one before. After this one the zone is claimed all the same.
const TTLS_MAX: u32 = 8;

impl Contender {
    /// Whether a lease says that its zone ran other rules than this process's. A zone in memory here did not.
    #[must_use]
    pub fn is_unfit(&self, view: &LeaseView) -> bool {
        let is_other = view.mark.is_some_and(|mark| mark.rules != self.config.rules);
        is_other && !self.suspended.contains_key(&view.zone)
    }

    /// Takes the store's word on the claim in flight, of a zone that [ran other rules](Self::is_unfit). Returns whether
    /// the claim is put off: the data is that of which the lease's mark says so.
    pub fn handle_unfit(&mut self, now: Duration, data: &StoreData) -> bool {
        let zone = self.in_flight.as_ref().expect("a claim is in flight");
        let Some(watch) = self.watches.get_mut(zone) else {
            return false;
        };
        let is_told = watch
            .view
            .mark
            .is_some_and(|mark| matches!(data, StoreData::Newest(stamp) if stamp.epoch == mark.data.epoch));
        if !is_told || watch.unfit_ttls >= TTLS_MAX {
            return false;
        }
        watch.unfit_ttls = (2 * watch.unfit_ttls).max(1);
        watch.not_before = now + watch.unfit_ttls * self.config.ttl;
        self.end_claim();
        true
    }

    /// Puts the claim in flight off: the zone was never begun, and the world is to run other rules. It is asked again
    /// for as long as that is so, however long, for the record may change.
    pub fn handle_unwanted(&mut self, now: Duration) {
        let zone = self.end_claim();
        if let Some(watch) = self.watches.get_mut(&zone) {
            watch.unfit_ttls = (2 * watch.unfit_ttls).clamp(1, TTLS_MAX);
            watch.not_before = now + watch.unfit_ttls * self.config.ttl;
        }
    }
}
