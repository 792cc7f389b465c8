//! The lag of a zone's checkpoints: how many ticks an adopter would have to replay; and that of its archive. It says
//! when that is an alarm, and when the zone must hold. It writes nothing itself.
//!
//! Appends may succeed for hours while no checkpoint does. Nothing is lost by that, but in the end the journal is too
//! long for any adopter to replay, and it fills the store.

use crate::limits::{ARCHIVE_LAG_ALARM_S, CHECKPOINT_LAG_ALARM_S, CHECKPOINT_LAG_HOLD_S};

/// The bounds of the lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagConfig {
    /// Ticks from which on it is an alarm.
    pub alarm_ticks: u64,
    /// Ticks from which on the zone holds.
    pub hold_ticks: u64,
}

impl LagConfig {
    /// Returns the bounds of a zone that ticks `tick_hz` times a second, with so many ticks between deltas: a lag of
    /// two of them is no failure.
    #[must_use]
    pub const fn new(delta_ticks: u64, tick_hz: u16) -> Self {
        let hz = tick_hz as u64;
        Self {
            alarm_ticks: CHECKPOINT_LAG_ALARM_S * hz + 2 * delta_ticks,
            hold_ticks: CHECKPOINT_LAG_HOLD_S * hz + 2 * delta_ticks,
        }
    }
}

impl LagConfig {
    /// Returns the bounds of an archive with so many ticks between commits: three of them are missing, and it has had
    /// some seconds for each. No zone ever holds because of its archive.
    #[must_use]
    pub const fn of_archive(interval_ticks: u64, tick_hz: u16) -> Self {
        Self {
            alarm_ticks: 3 * interval_ticks + ARCHIVE_LAG_ALARM_S * tick_hz as u64,
            hold_ticks: u64::MAX,
        }
    }
}

/// The state of a zone's checkpoints, or of its archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LagState {
    /// They follow the ticks.
    #[default]
    Fine,
    /// They have failed for long: an alarm, and nothing else.
    Behind,
    /// They have failed for so long that no more is appended until a base is stored: the zone holds, and its players
    /// wait.
    Held,
}

/// The lag of one zone's checkpoints.
#[derive(Debug)]
pub struct Lag {
    config: LagConfig,
    state: LagState,
}

impl Lag {
    /// Begins with checkpoints that follow.
    #[must_use]
    pub const fn new(config: LagConfig) -> Self {
        let state = LagState::Fine;
        Self { config, state }
    }

    /// Takes the present lag. Returns the state, if it is another now. One that holds does so until a checkpoint is
    /// stored that leaves no alarm.
    pub fn handle_ticks(&mut self, ticks: u64) -> Option<LagState> {
        let state = if ticks < self.config.alarm_ticks {
            LagState::Fine
        } else if ticks >= self.config.hold_ticks || self.state == LagState::Held {
            LagState::Held
        } else {
            LagState::Behind
        };
        (std::mem::replace(&mut self.state, state) != state).then_some(state)
    }

    /// Returns the state.
    #[must_use]
    pub const fn state(&self) -> LagState {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_said_once_and_a_zone_that_holds_does_so_until_its_checkpoints_follow() {
        let mut lag = Lag::new(LagConfig {
            alarm_ticks: 100,
            hold_ticks: 300,
        });
        let said: Vec<_> = [99, 100, 101, 299, 300, 301, 299, 100, 99, 300, 0]
            .map(|ticks| lag.handle_ticks(ticks))
            .to_vec();
        let (fine, behind, held) = (LagState::Fine, LagState::Behind, LagState::Held);
        let expected = [
            None,
            Some(behind),
            None,
            None,
            Some(held),
            None,
            None,
            None,
            Some(fine),
            Some(held),
            Some(fine),
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn archive_is_an_alarm_after_three_intervals_and_never_holds_a_zone() {
        let mut lag = Lag::new(LagConfig::of_archive(600, 20));
        let said: Vec<_> = [1_859, 1_860, u64::MAX - 1, 1_859]
            .map(|ticks| lag.handle_ticks(ticks))
            .to_vec();
        assert_eq!(said, [None, Some(LagState::Behind), None, Some(LagState::Fine)]);
    }

    #[test]
    fn sparse_checkpoints_are_no_alarm_by_themselves() {
        let (often, seldom) = (LagConfig::new(40, 20), LagConfig::new(20_000, 20));
        assert_eq!((often.alarm_ticks, often.hold_ticks), (1_280, 18_080));
        assert!(seldom.alarm_ticks > 2 * 20_000 && seldom.hold_ticks > seldom.alarm_ticks);
    }
}
