//! The sums of a run while it goes on: latencies, failovers, errors. It judges nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use everhold_protocol::{Epoch, ZoneName};

use crate::meter::Durations;

/// Errors that are kept in words; beyond it they are only counted.
const ERRORS_KEPT_MAX: usize = 32;

/// One player's way from one owner of its zone to the next. Times count from the run's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crossing {
    pub(super) zone: usize,
    pub(super) from_epoch: Epoch,
    pub(super) to_epoch: Epoch,
    /// The last snapshot of the old owner.
    pub(super) last_shown_at: Duration,
    /// The moment when the client machine began to look elsewhere, if it did.
    pub(super) silent_at: Option<Duration>,
    /// The moment of the new owner's `Attached`.
    pub(super) attached_at: Duration,
    /// The moment of the new owner's first snapshot.
    pub(super) first_shown_at: Duration,
}

/// Figures of one zone, as its players see it.
#[derive(Debug)]
pub(super) struct ZoneTally {
    pub(super) name: ZoneName,
    /// Latencies since the last look.
    pub(super) window: Durations,
}

/// Problems that are no matter for the checker.
#[derive(Debug, Default)]
pub(super) struct Errors {
    words: Vec<String>,
    total: u64,
}

impl Errors {
    pub(super) fn add(&mut self, error: String) {
        self.total += 1;
        tracing::warn!(error, "problem in the swarm");
        if self.words.len() < ERRORS_KEPT_MAX {
            self.words.push(error);
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The words, and a last line that counts those left out.
    pub(super) fn into_lines(mut self) -> Vec<String> {
        let left_out = self.total - self.words.len() as u64;
        if left_out > 0 {
            self.words.push(format!("and {left_out} more"));
        }
        self.words
    }
}

/// Figures of a run that add up.
#[derive(Debug)]
pub(super) struct Tally {
    /// Players that are to join.
    pub(super) players: usize,
    pub(super) zones: Vec<ZoneTally>,
    /// One for each player and change of owner: with 1,000 players and a kill every 12 s about half a gigabyte in a
    /// day.
    pub(super) crossings: Vec<Crossing>,
    /// Zone and epoch of each change of owner, counted here so that a look need not go through all crossings.
    crossed: BTreeSet<(usize, Epoch)>,
    pub(super) errors: Errors,
    /// Time from an intent's intended moment to the first snapshot that covers it.
    pub(super) update: Durations,
    /// The same, of intents that were given and covered under one epoch: what a player feels when nothing fails.
    pub(super) steady: Durations,
    /// Time from an intent's intended moment to the snapshot by which it is shown and confirmed.
    pub(super) confirmation: Durations,
    pub(super) intents: u64,
    /// Intents that the client machine did not take, because too many were unconfirmed.
    pub(super) intents_refused: u64,
    /// Connections that spoke for a session and were lost.
    pub(super) lost_connections: u64,
    /// Snapshots taken, and the entities that they showed, all together.
    snapshots: u64,
    entities: u64,
}

impl Tally {
    pub(super) fn new(players: usize, zones: &[ZoneName]) -> Self {
        let mut tally = Self {
            players,
            zones: Vec::new(),
            crossings: Vec::new(),
            crossed: BTreeSet::new(),
            errors: Errors::default(),
            update: Durations::new(),
            steady: Durations::new(),
            confirmation: Durations::new(),
            intents: 0,
            intents_refused: 0,
            lost_connections: 0,
            snapshots: 0,
            entities: 0,
        };
        for zone in zones {
            tally.zone(zone);
        }
        tally
    }

    /// Starts the measurement: all have joined.
    pub(super) fn begin_play(&mut self) {
        self.update.clear();
        self.steady.clear();
        self.confirmation.clear();
        (self.snapshots, self.entities) = (0, 0);
    }

    pub(super) fn record_view(&mut self, entities: usize) {
        self.snapshots += 1;
        self.entities += entities as u64;
    }

    /// Entities that a player saw around it, on average.
    pub(super) fn view_entities_mean(&self) -> f64 {
        self.entities as f64 / self.snapshots.max(1) as f64
    }

    /// The place of a zone, which is new to the tally if a player's home is elsewhere than its ticket says.
    pub(super) fn zone(&mut self, name: &ZoneName) -> usize {
        self.zones
            .iter()
            .position(|zone| zone.name == *name)
            .unwrap_or_else(|| {
                self.zones.push(ZoneTally {
                    name: name.clone(),
                    window: Durations::new(),
                });
                self.zones.len() - 1
            })
    }

    pub(super) fn record_crossing(&mut self, crossing: Crossing) {
        self.crossed.insert((crossing.zone, crossing.to_epoch));
        self.crossings.push(crossing);
    }

    /// Changes of owner that players have crossed so far.
    pub(super) fn failovers(&self) -> usize {
        self.crossed.len()
    }

    pub(super) fn record_update(&mut self, zone: usize, latency: Duration, steady: bool) {
        self.update.record(latency);
        self.zones[zone].window.record(latency);
        if steady {
            self.steady.record(latency);
        }
    }

    pub(super) fn record_confirmation(&mut self, latency: Duration) {
        self.confirmation.record(latency);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use everhold_protocol::Epoch;

    use super::{Crossing, Errors, Tally};

    #[test]
    fn change_of_owner_counts_once_however_many_cross() {
        let mut tally = Tally::new(3, &["meadow".parse().unwrap(), "forest".parse().unwrap()]);
        for (zone, to_epoch) in [(0, 2), (0, 2), (1, 2), (0, 3)] {
            tally.record_crossing(Crossing {
                zone,
                from_epoch: Epoch(to_epoch - 1),
                to_epoch: Epoch(to_epoch),
                last_shown_at: Duration::ZERO,
                silent_at: None,
                attached_at: Duration::ZERO,
                first_shown_at: Duration::ZERO,
            });
        }
        assert_eq!((tally.failovers(), tally.crossings.len()), (3, 4));
    }

    #[test]
    fn errors_beyond_those_kept_are_counted() {
        let mut errors = Errors::default();
        (0..100).for_each(|number| errors.add(format!("number {number}")));
        let lines = errors.into_lines();
        assert_eq!(
            (lines.len(), lines.last().map(String::as_str)),
            (33, Some("and 68 more"))
        );
    }
}
