//! The logging of a state that lasts: a store that is away fails every append of every zone, and each failure is the
//! same news.

use std::ops::Sub;
use std::time::{Duration, Instant};

use crate::limits::OUTAGE_SAID_EVERY_MS;

/// A state that comes and goes: said at its start, at its end, and seldom in between. One of these for each state and
/// whatever it is of. `T` is a point in time, on a clock that never goes back: an [`Instant`], or a [`Duration`] since
/// a fixed moment.
#[derive(Debug)]
pub struct Outage<T = Instant> {
    began: Option<Began<T>>,
}

#[derive(Clone, Copy, Debug)]
struct Began<T> {
    at: T,
    said_at: T,
    failures: u64,
}

impl<T> Default for Outage<T> {
    fn default() -> Self {
        Self { began: None }
    }
}

/// The length of an outage so far, and the failures in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasted {
    /// Time since the first failure, ms.
    pub ms: u64,
    /// Failures, the first included.
    pub failures: u64,
}

impl<T: Copy + Sub<Output = Duration>> Outage<T> {
    /// Notes a failure. Returns what to log, if it is time to log something.
    pub fn note(&mut self, now: T) -> Option<Lasted> {
        let Some(began) = &mut self.began else {
            self.began = Some(Began {
                at: now,
                said_at: now,
                failures: 1,
            });
            return Some(Lasted { ms: 0, failures: 1 });
        };
        began.failures += 1;
        if now - began.said_at < Duration::from_millis(OUTAGE_SAID_EVERY_MS) {
            return None;
        }
        began.said_at = now;
        Some(began.lasted(now))
    }

    /// Notes that the state is over. Returns what to log, if it had begun.
    pub fn end(&mut self, now: T) -> Option<Lasted> {
        self.began.take().map(|began| began.lasted(now))
    }
}

impl<T: Copy + Sub<Output = Duration>> Began<T> {
    fn lasted(&self, now: T) -> Lasted {
        Lasted {
            ms: u64::try_from((now - self.at).as_millis()).unwrap_or(u64::MAX),
            failures: self.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_five_failures_a_second_is_four_lines() {
        let (start, mut outage) = (Instant::now(), Outage::default());
        assert_eq!(outage.end(start), None, "nothing has begun");
        let failures = (0..=300).map(|n| start + Duration::from_millis(200) * n);
        let said: Vec<Lasted> = failures.filter_map(|at| outage.note(at)).collect();
        let at = |ms, failures| Lasted { ms, failures };
        assert_eq!(said, [at(0, 1), at(30_000, 151), at(60_000, 301)]);
        let over = outage.end(start + Duration::from_secs(61));
        assert_eq!(over, Some(at(61_000, 301)));
        assert_eq!(outage.end(start + Duration::from_secs(62)), None, "it is said once");
    }

    #[test]
    fn the_next_outage_is_said_at_once() {
        let (start, mut outage) = (Instant::now(), Outage::default());
        assert!(outage.note(start).is_some());
        outage.end(start + Duration::from_millis(10));
        assert!(outage.note(start + Duration::from_millis(20)).is_some());
    }

    #[test]
    fn an_outage_on_a_clock_of_durations_lasts_as_long() {
        let mut outage = Outage::default();
        assert!(outage.note(Duration::from_secs(7)).is_some());
        let lasted = outage.end(Duration::from_secs(9));
        assert_eq!(lasted, Some(Lasted { ms: 2_000, failures: 1 }));
    }
}
