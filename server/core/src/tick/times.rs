//! The times of one tick's stages, and its lateness. It reads no clock: a driver says what time it is when a stage is
//! over, one reading between two stages.

use std::time::{Duration, Instant};

use super::stage::TickStage;

/// The times of one tick on its thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickTimes {
    late: Duration,
    /// By [`TickStage`]; none for a stage that the tick did not have.
    stages: [Option<Duration>; TickStage::ALL.len()],
    began: Instant,
    /// The end of the last stage that is over.
    split: Instant,
}

impl TickTimes {
    /// The times of a tick that begins `now`, so late.
    #[must_use]
    pub fn begin(late: Duration, now: Instant) -> Self {
        Self {
            late,
            stages: [None; TickStage::ALL.len()],
            began: now,
            split: now,
        }
    }

    /// Notes that a stage is over; what was since the stage before was its time.
    #[inline]
    pub fn end(&mut self, stage: TickStage, now: Instant) {
        self.stages[stage as usize] = Some(now.saturating_duration_since(self.split));
        self.split = now;
    }

    /// Returns the lateness with which the tick began.
    #[must_use]
    pub const fn late(&self) -> Duration {
        self.late
    }

    /// The tick's work: from its begin to the end of its last stage.
    #[must_use]
    pub fn work(&self) -> Duration {
        self.split.saturating_duration_since(self.began)
    }

    /// Returns the moment at which its last stage was over.
    #[must_use]
    pub const fn ended_at(&self) -> Instant {
        self.split
    }

    /// Every stage that the tick had and how long it took, lateness included, in order.
    pub fn stages(&self) -> impl Iterator<Item = (TickStage, Duration)> + '_ {
        let late = std::iter::once((TickStage::Late, self.late));
        let stages = TickStage::ALL.into_iter().zip(self.stages);
        late.chain(stages.filter_map(|(stage, took)| Some((stage, took?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn each_stage_takes_what_passed_since_the_one_before() {
        let began = Instant::now();
        let mut times = TickTimes::begin(ms(7), began);
        for (stage, at) in [(TickStage::Drain, 1), (TickStage::Freeze, 3), (TickStage::Step, 6)] {
            times.end(stage, began + ms(at));
        }
        let stages: Vec<_> = times.stages().collect();
        assert_eq!(
            stages,
            [
                (TickStage::Late, ms(7)),
                (TickStage::Drain, ms(1)),
                (TickStage::Freeze, ms(2)),
                (TickStage::Step, ms(3)),
            ]
        );
    }

    #[test]
    fn work_ends_with_the_last_stage_and_lateness_is_no_part_of_it() {
        let began = Instant::now();
        let mut times = TickTimes::begin(ms(7), began);
        assert_eq!((times.work(), times.ended_at()), (Duration::ZERO, began));
        times.end(TickStage::Drain, began + ms(1));
        times.end(TickStage::Capture, began + ms(9));
        assert_eq!(
            (times.late(), times.work(), times.ended_at()),
            (ms(7), ms(9), began + ms(9))
        );
    }
}
