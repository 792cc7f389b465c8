//! The highest epoch that a client has seen of each zone. Epochs of two zones do not compare: each zone counts its own
//! owners.

use std::collections::VecDeque;

use crate::ids::{Epoch, ZoneName};

/// Zones that are remembered. A player goes through a few; a server that names more makes the client forget the oldest.
const ZONES_MAX: usize = 16;

/// Zones, each with the highest epoch seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Epochs {
    /// In order of the last attach, the newest last.
    seen: VecDeque<(ZoneName, Epoch)>,
}

impl Epochs {
    /// Returns the highest epoch seen of this zone; [`Epoch::NONE`] if none was.
    pub(super) fn of(&self, zone: &ZoneName) -> Epoch {
        self.seen
            .iter()
            .find(|(seen, _)| seen == zone)
            .map_or(Epoch::NONE, |(_, epoch)| *epoch)
    }

    /// Notes that an owner of this zone has spoken under this epoch.
    pub(super) fn note(&mut self, zone: &ZoneName, epoch: Epoch) {
        let highest = self.of(zone).max(epoch);
        self.seen.retain(|(seen, _)| seen != zone);
        if self.seen.len() >= ZONES_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back((zone.clone(), highest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(n: usize) -> ZoneName {
        format!("zone-{n}").parse().unwrap()
    }

    #[test]
    fn each_zone_has_its_own_epochs_and_they_only_rise() {
        let mut epochs = Epochs::default();
        epochs.note(&zone(1), Epoch(5));
        epochs.note(&zone(2), Epoch(2));
        epochs.note(&zone(1), Epoch(4));
        assert_eq!([1, 2, 3].map(|n| epochs.of(&zone(n))), [5, 2, 0].map(Epoch));
    }

    #[test]
    fn zones_that_were_left_long_ago_are_forgotten() {
        let mut epochs = Epochs::default();
        for n in 0..100 {
            epochs.note(&zone(0), Epoch(7));
            epochs.note(&zone(n + 1), Epoch::FIRST);
            assert!(epochs.seen.len() <= ZONES_MAX);
        }
        assert_eq!((epochs.of(&zone(0)), epochs.of(&zone(1))), (Epoch(7), Epoch::NONE));
    }
}
