//! The schedule of all players' frames. It reads no clock.
//!
//! Players are spread evenly over the frame period, so that inputs arrive all the time and not in one burst a tick.
//! Frames have a place in time that does not move: a loop that is late says by how much, and what it measures counts
//! from when it should have acted.

use std::ops::Range;
use std::time::Duration;

/// Parts of a frame period that have players of their own. At 50 ms: one part each millisecond, which is how often the
/// loop looks.
const SLOTS: u32 = 50;

/// A slot whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DueSlot {
    /// The slot's own time.
    pub(super) at: Duration,
    /// The players whose frames these are.
    pub(super) players: Range<usize>,
}

/// The order of frames of a number of players.
#[derive(Clone, Debug)]
pub(super) struct Wheel {
    players: usize,
    period: Duration,
    start: Duration,
    /// Slots given out since `start`.
    slot: u64,
    missed: u64,
}

impl Wheel {
    pub(super) fn new(players: usize, period: Duration, start: Duration) -> Self {
        Self {
            players,
            period,
            start,
            slot: 0,
            missed: 0,
        }
    }

    /// Takes the next slot whose time has come. A loop that is more than a period late skips whole periods: a player
    /// never has two frames at once.
    pub(super) fn next(&mut self, now: Duration) -> Option<DueSlot> {
        let at = self.next_at();
        if now < at {
            return None;
        }
        let place = (self.slot % u64::from(SLOTS)) as usize;
        let bound = |place: usize| place * self.players / SLOTS as usize;
        self.slot += 1;
        if now.saturating_sub(at) >= self.period {
            // The frames that this slot missed are not made up for; it is given out once, and is late by the whole
            // delay.
            let missed = (now - at).as_nanos() / self.period.as_nanos();
            if place == SLOTS as usize - 1 {
                self.slot += missed as u64 * u64::from(SLOTS);
                self.missed += missed as u64 * self.players as u64;
            }
        }
        Some(DueSlot {
            at,
            players: bound(place)..bound(place + 1),
        })
    }

    /// Frames of players that were skipped, all together.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// Returns when the next slot's time comes.
    pub(super) fn next_at(&self) -> Duration {
        let periods = self.slot / u64::from(SLOTS);
        let rest = (self.slot % u64::from(SLOTS)) as u32;
        self.start + self.period * periods as u32 + self.period * rest / SLOTS
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Wheel;

    const PERIOD: Duration = Duration::from_millis(50);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Counts the frames of 7 players, and tells whether none had two in less than half a period.
    fn frames(wheel: &mut Wheel, now: Duration) -> Vec<u32> {
        let mut frames = vec![0; 7];
        while let Some(due) = wheel.next(now) {
            due.players.for_each(|player| frames[player] += 1);
        }
        frames
    }

    #[test]
    fn every_player_has_one_frame_a_period() {
        let mut wheel = Wheel::new(7, PERIOD, ms(1_000));
        for period in 0..20 {
            let counts = (0..50).map(|part| frames(&mut wheel, ms(1_000 + 50 * period + part)));
            let sum = counts.fold([0; 7], |sum, one| std::array::from_fn(|i| sum[i] + one[i]));
            assert_eq!(sum, [1; 7]);
        }
    }

    #[test]
    fn frames_are_spread_over_the_period() {
        let mut wheel = Wheel::new(1_000, PERIOD, ms(0));
        for part in 0..200 {
            let due = wheel.next(ms(part)).unwrap();
            assert_eq!((due.at, due.players.len()), (ms(part), 20));
            assert_eq!(wheel.next(ms(part)), None);
        }
    }

    #[test]
    fn late_slot_says_when_its_time_was() {
        let mut wheel = Wheel::new(50, PERIOD, ms(0));
        assert_eq!(wheel.next(ms(30)).unwrap().at, ms(0));
        assert_eq!(wheel.next(ms(30)).unwrap().at, ms(1));
        assert_eq!(wheel.next_at(), ms(2));
    }

    #[test]
    fn after_a_long_stall_every_player_has_at_most_two_frames() {
        let mut wheel = Wheel::new(7, PERIOD, ms(0));
        let after = frames(&mut wheel, ms(10_020));
        assert!(after.iter().all(|frames| (1..=2).contains(frames)), "{after:?}");
        assert!(wheel.next_at() > ms(10_020) && wheel.next_at() <= ms(10_021));
        // 200 periods have begun, and one or two frames of each player were given out.
        let given: u64 = after.iter().map(|frames| u64::from(*frames)).sum();
        assert!(
            (7 * 200..=7 * 202).contains(&(wheel.missed() + given)),
            "{} missed",
            wheel.missed()
        );
    }
}
