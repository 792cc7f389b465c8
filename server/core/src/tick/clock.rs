//! The schedule of a zone's ticks: its period, its lateness, and the [`Ladder`] that stretches the one because of the
//! other. It reads no clock and sleeps for nothing: moments are arguments.
//!
//! ```text
//!  poll_wait ──► wait ──► lateness ──► tick ──► handle_tick ──► due += stretched period, or now if far too late
//!                    └──► no tick may be ─────► handle_hold ──► due = a quarter of a period from now
//! ```

use std::time::{Duration, Instant};

use crate::load::{Ladder, LadderState, TickLoad};

/// Ticks that are caught up in one go after a late one. More would be a burst that clients cannot use; the rest of the
/// delay is let go.
const CATCH_UP_TICKS_MAX: u32 = 2;

/// So often in a period a zone that holds is looked at again.
const HOLD_LOOKS_PER_PERIOD: u32 = 4;

/// The measurements of a tick and of what carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickMeasures {
    /// The delay with which it began.
    pub late: Duration,
    /// Work of the tick thread.
    pub work: Duration,
    /// Finished ticks before it that are not taken yet.
    pub lying: usize,
    /// The time for which the last tick that was taken lay before, µs.
    pub handover_us: u32,
    /// The time that the last release took to hand out, µs.
    pub egress_us: u32,
    /// The delay with which the last tick's datagrams left the process, µs.
    pub send_lag_us: u32,
    /// The process's use of the cores that it may use, thousandths.
    pub cpu_permille: u32,
}

/// The direction in which a zone went on the overload ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RungChange {
    /// The zone has more to do, and leaves more out.
    Up,
    /// The zone has less to do, and leaves less out.
    Down,
}

/// Says when a zone's next tick is due, and how the zone stands with its load.
#[derive(Clone, Debug)]
pub struct TickClock {
    /// Between two ticks at normal speed.
    period: Duration,
    due: Instant,
    /// None: the zone stays at full detail and speed whatever comes.
    ladder: Option<Ladder>,
    ladder_state: LadderState,
}

impl TickClock {
    /// A clock whose first tick is due `now`. Without a ladder the zone stays at full detail and speed whatever comes.
    ///
    /// # Panics
    /// If the tick rate is zero.
    #[must_use]
    pub fn new(tick_hz: u16, ladder: Option<Ladder>, now: Instant) -> Self {
        Self {
            period: Duration::from_secs(1) / u32::from(tick_hz),
            due: now,
            ladder,
            ladder_state: LadderState::IDLE,
        }
    }

    /// Returns the time until the next tick is due. Zero: it is due.
    #[must_use]
    pub fn poll_wait(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }

    /// Returns the lateness of a tick that begins now.
    #[must_use]
    pub fn lateness(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.due)
    }

    /// Returns the zone's present place on the ladder.
    #[must_use]
    pub const fn ladder_state(&self) -> LadderState {
        self.ladder_state
    }

    /// Notes that no tick may be now; the zone is looked at again soon. That is no lateness: lease or store hold the
    /// zone.
    pub fn handle_hold(&mut self, now: Instant) {
        self.due = now + self.period / HOLD_LOOKS_PER_PERIOD;
    }

    /// Notes that a tick is over, and sets when the next one is due. Returns which way the zone went on the ladder, if
    /// it changed its rung.
    pub fn handle_tick(&mut self, measures: &TickMeasures, now: Instant) -> Option<RungChange> {
        let before = self.ladder_state.rung;
        let load = self.load(measures);
        if let Some(ladder) = &mut self.ladder {
            self.ladder_state = ladder.handle_tick(&load);
        }
        let period = self.stretched();
        self.due += period;
        if self.lateness(now) > period * CATCH_UP_TICKS_MAX {
            self.due = now;
        }
        match self.ladder_state.rung.cmp(&before) {
            std::cmp::Ordering::Less => Some(RungChange::Down),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(RungChange::Up),
        }
    }

    /// Returns the load of a tick, for the ladder: see [`crate::load`] for why.
    fn load(&self, measures: &TickMeasures) -> TickLoad {
        let period_us = micros(self.stretched());
        let lying_us = period_us.saturating_mul(u32::try_from(measures.lying).unwrap_or(u32::MAX));
        let waited_us = micros(measures.late)
            .saturating_add(measures.handover_us)
            .saturating_add(lying_us);
        TickLoad {
            period_us,
            busy_us: micros(measures.work).saturating_add(measures.egress_us),
            waited_us: waited_us.max(measures.send_lag_us),
            cpu_permille: measures.cpu_permille,
        }
    }

    fn stretched(&self) -> Duration {
        self.period * self.ladder_state.stretch_permille / 1_000
    }
}

/// Returns a duration in whole microseconds; what is too long for the number is its largest.
#[must_use]
pub fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
