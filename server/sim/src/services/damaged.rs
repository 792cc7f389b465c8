//! The damage in a simulated store: what an adopter can still read in spite of it, and what it may miss. It damages
//! nothing itself.

use everhold_core::ownership::DataStamp;
use everhold_protocol::{Tick, ZoneName};

use super::Services;
use super::reading::readable_end;
use crate::store::StoredPlace;

/// Stored bytes that were damaged.
pub(super) struct DamagedPlace {
    place: StoredPlace,
    /// The hash of the damaged bytes: others are not damaged.
    fingerprint: u64,
    /// Whether some ticks can be read no more even if all else is whole.
    is_needed: bool,
}

impl Services {
    /// Whether the store has a data set of a zone that reaches that tick, and some of it is damaged.
    pub(super) fn is_told_damaged(&self, zone: &ZoneName) -> bool {
        let told = self.told(zone).unwrap_or_default();
        let reaches = self
            .store
            .outline(zone, None)
            .is_ok_and(|outline| outline.end() >= told);
        reaches && self.damage_of(zone).next().is_some()
    }

    /// Whether there is damage at one of these places that is not made good.
    #[must_use]
    pub fn is_damaged_in(&self, zone: &ZoneName, places: &[StoredPlace]) -> bool {
        self.damage_of(zone).any(|damaged| places.contains(&damaged.place))
    }

    /// Returns the end of what an adopter can read of a zone.
    pub(super) fn stored_end(&self, zone: &ZoneName) -> Option<DataStamp> {
        let is_of = |place, of| matches!(place, StoredPlace::Part { position, .. } if position == of);
        let is_damaged = |position| self.damage_of(zone).any(|damaged| is_of(damaged.place, position));
        readable_end(&self.store, zone, is_damaged)
    }

    /// Returns the damage of a zone that is not made good.
    fn damage_of(&self, zone: &ZoneName) -> impl Iterator<Item = &DamagedPlace> {
        let damaged = self.damaged.get(zone).into_iter().flatten();
        damaged.filter(|damaged| self.store.fingerprint(zone, damaged.place) == Some(damaged.fingerprint))
    }

    /// Notes that what the store has at a place is damaged now.
    pub fn note_damaged(&mut self, zone: &ZoneName, place: StoredPlace, is_needed: bool) {
        self.replica.is_damage_possible = true;
        let fingerprint = self.store.fingerprint(zone, place).unwrap_or_default();
        let damaged = self.damaged.entry(zone.clone()).or_default();
        damaged.push(DamagedPlace {
            place,
            fingerprint,
            is_needed,
        });
    }

    /// Forgets damage that was made good: something else stands there, or nothing.
    pub fn forget_mended(&mut self, zone: &ZoneName) {
        let store = &self.store;
        let is_there = |damaged: &DamagedPlace| store.fingerprint(zone, damaged.place) == Some(damaged.fingerprint);
        if let Some(damaged) = self.damaged.get_mut(zone) {
            damaged.retain(is_there);
        }
    }

    /// Notes that an adopter has fenced the zone. A delta that was built on a damaged checkpoint, and whose records
    /// never came, cannot be read without it.
    pub fn note_fenced(&mut self, zone: &ZoneName) {
        let store = &self.store;
        for damaged in self.damaged.get_mut(zone).into_iter().flatten() {
            damaged.is_needed |= store.is_relied_on(zone, damaged.place);
        }
    }

    /// Whether an adopter that goes on from tick `last`, and not from the end of what is stored, was kept from that by
    /// damage: of a record right after it, or of checkpoints that have nothing in their stead.
    #[must_use]
    pub fn is_end_damaged(&self, zone: &ZoneName, last: Tick) -> bool {
        let damaged = self.damaged.get(zone).map_or(&[][..], Vec::as_slice);
        let mut parts = 0;
        let is_reason = |damaged: &DamagedPlace| match damaged.place {
            StoredPlace::Record(tick) => tick <= last.next(),
            StoredPlace::Part { .. } => {
                parts += 1;
                damaged.is_needed || parts > 1
            }
        };
        damaged.iter().any(is_reason)
    }
}
