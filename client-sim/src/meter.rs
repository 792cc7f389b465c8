//! Distributions of durations. Percentiles are never averaged: distributions are merged and asked once.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Significant decimal digits that a distribution keeps.
const DIGITS: u8 = 3;
/// The longest duration told apart, µs: ten minutes. Longer ones count as this.
const MICROS_MAX: u64 = 600_000_000;

/// Percentiles of a distribution, in milliseconds. Zeros if nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 99 in 100 are no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Percentiles {
    /// Computes the percentiles of `(µs, how often)`, in any order: buckets of several distributions, one behind the
    /// other, are merged.
    #[must_use]
    pub fn of_buckets_us(buckets: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut merged: BTreeMap<u64, u64> = BTreeMap::new();
        for (us, count) in buckets.into_iter().filter(|(_, count)| *count > 0) {
            *merged.entry(us).or_default() += count;
        }
        let total: u64 = merged.values().sum();
        let at = |share: f64| {
            let rank = (share * total as f64).ceil() as u64;
            let mut seen = 0;
            let found = merged.iter().find(|(_, count)| {
                seen += **count;
                seen >= rank
            });
            found.map_or(0.0, |(us, _)| *us as f64 / 1e3)
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// A distribution of durations, to the microsecond or three digits, whichever is coarser.
#[derive(Clone, Debug)]
pub struct Durations(Histogram<u64>);

impl Durations {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        // The bounds are constants that the histogram accepts; see the test below.
        Self(Histogram::new_with_bounds(1, MICROS_MAX, DIGITS).expect("constant bounds"))
    }

    /// Adds one duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(MICROS_MAX);
        self.0.saturating_record(micros);
    }

    /// Returns how many durations were recorded.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether none was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so nothing of `other` is out of them.
        self.0.add(&other.0).expect("equal bounds");
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// The percentiles.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        if self.is_empty() {
            return Percentiles::default();
        }
        let ms = |micros: u64| micros as f64 / 1_000.0;
        Percentiles {
            p50: ms(self.0.value_at_quantile(0.50)),
            p99: ms(self.0.value_at_quantile(0.99)),
            max: ms(self.0.max()),
        }
    }

    /// Returns the whole distribution: `(µs, how often)`, rising.
    #[must_use]
    pub fn buckets_us(&self) -> Vec<(u64, u64)> {
        let recorded = self.0.iter_recorded();
        recorded
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect()
    }

    /// Returns how many in a hundred were longer than `duration`.
    #[must_use]
    pub fn percent_above(&self, duration: Duration) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        let micros = u64::try_from(duration.as_micros()).unwrap_or(MICROS_MAX);
        let within = self.0.count_between(0, micros);
        100.0 * (self.len() - within.min(self.len())) as f64 / self.len() as f64
    }
}

impl Default for Durations {
    fn default() -> Self {
        Self::new()
    }
}

impl FromIterator<Duration> for Durations {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut all = Self::new();
        for duration in durations {
            all.record(duration);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Durations, Percentiles};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn percentiles_of_a_hundred_durations_are_within_a_thousandth() {
        let durations: Durations = (1..=100).map(ms).collect();
        let Percentiles { p50, p99, max } = durations.percentiles();
        let near = |value: f64, wanted: f64| (value - wanted).abs() <= wanted / 1_000.0;
        assert!(
            near(p50, 50.0) && near(p99, 99.0) && near(max, 100.0),
            "{p50} {p99} {max}"
        );
    }

    #[test]
    fn buckets_hold_every_duration_in_rising_order() {
        let durations: Durations = [3, 1, 3].map(ms).into_iter().collect();
        let [(one, 1), (three, 2)] = durations.buckets_us()[..] else {
            panic!("{:?}", durations.buckets_us())
        };
        assert!((1_000..1_002).contains(&one) && (3_000..3_004).contains(&three));
    }

    #[test]
    fn percentiles_of_two_distributions_are_those_of_all_their_durations() {
        let merged = Percentiles::of_buckets_us([(1_000, 98), (9_000, 1), (2_000, 1), (10_000, 0)]);
        assert_eq!((merged.p50, merged.p99, merged.max), (1.0, 2.0, 9.0));
        assert_eq!(Percentiles::of_buckets_us([]), Percentiles::default());
    }

    #[test]
    fn nothing_recorded_is_zero() {
        assert_eq!(Durations::new().percentiles(), Percentiles::default());
        assert_eq!(Durations::new().percent_above(ms(1)), 0.0);
    }

    #[test]
    fn longer_than_the_longest_counts_as_the_longest() {
        let durations: Durations = [Duration::from_secs(3_600)].into_iter().collect();
        assert!((durations.percentiles().max - 600_000.0).abs() < 600.0);
    }

    #[test]
    fn share_above_a_bound_counts_only_the_longer_ones() {
        let durations: Durations = [1, 2, 30, 40].map(ms).into_iter().collect();
        assert!((durations.percent_above(ms(25)) - 50.0).abs() < f64::EPSILON);
    }
}
