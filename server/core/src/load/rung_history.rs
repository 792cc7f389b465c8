//! The history of a zone on the ladder: how often it entered each rung, and how long it stood there. It decides nothing
//! and reads no clock.

use std::time::{Duration, Instant};

use super::ladder::{LadderState, Rung};

/// A zone's way on the ladder so far. Arrays are in order of [`Rung::ALL`].
#[derive(Clone, Debug)]
pub struct RungHistory {
    ladder_state: LadderState,
    since: Instant,
    entered: [u64; Rung::ALL.len()],
    stood: [Duration; Rung::ALL.len()],
}

impl RungHistory {
    /// Of a zone that begins with nothing to do. The rung on which it begins does not count as entered.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self {
            ladder_state: LadderState::IDLE,
            since: now,
            entered: [0; Rung::ALL.len()],
            stood: [Duration::ZERO; Rung::ALL.len()],
        }
    }

    /// Notes how the zone stands from now on. What has passed was spent where it stood before.
    pub fn handle_ladder_state(&mut self, ladder_state: LadderState, now: Instant) {
        self.handle_now(now);
        if ladder_state.rung != self.ladder_state.rung {
            self.entered[usize::from(ladder_state.rung.place())] += 1;
        }
        self.ladder_state = ladder_state;
    }

    /// Counts the time up to now.
    pub fn handle_now(&mut self, now: Instant) {
        self.stood[usize::from(self.ladder_state.rung.place())] += now.saturating_duration_since(self.since);
        self.since = now;
    }

    /// Returns the zone's present place on the ladder.
    #[must_use]
    pub const fn ladder_state(&self) -> LadderState {
        self.ladder_state
    }

    /// Returns how often each rung was entered.
    #[must_use]
    pub const fn entered(&self) -> [u64; Rung::ALL.len()] {
        self.entered
    }

    /// Returns the time that the zone stood on each rung, up to the last moment that was noted.
    #[must_use]
    pub const fn stood(&self) -> [Duration; Rung::ALL.len()] {
        self.stood
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rungs of a zone, each with the second at which it took it; then how often each was entered, and the seconds
    /// spent on each, after ten seconds.
    type Way = (&'static [(u64, Rung)], [u64; 6], [u64; 6]);

    const WAYS: [Way; 4] = [
        (&[], [0; 6], [10, 0, 0, 0, 0, 0]),
        (&[(1, Rung::Normal), (2, Rung::Normal)], [0; 6], [10, 0, 0, 0, 0, 0]),
        (&[(3, Rung::Seldom)], [0, 1, 0, 0, 0, 0], [3, 7, 0, 0, 0, 0]),
        (
            &[
                (1, Rung::Seldom),
                (3, Rung::Normal),
                (6, Rung::Seldom),
                (7, Rung::Refuse),
            ],
            [1, 2, 0, 0, 0, 1],
            [4, 3, 0, 0, 0, 3],
        ),
    ];

    #[test]
    fn time_counts_for_the_rung_that_it_was_spent_on() {
        for (way, entered, stood_s) in WAYS {
            let began = Instant::now();
            let at = |s| began + Duration::from_secs(s);
            let mut history = RungHistory::new(began);
            for &(s, rung) in way {
                let ladder_state = LadderState {
                    rung,
                    ..LadderState::IDLE
                };
                history.handle_ladder_state(ladder_state, at(s));
            }
            history.handle_now(at(10));
            assert_eq!(history.entered(), entered, "{way:?}");
            assert_eq!(history.stood().map(|stood| stood.as_secs()), stood_s, "{way:?}");
        }
    }
}
