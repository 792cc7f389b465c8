//! The tries of an operation on a store that does not answer: their number and their pause. It asks nothing itself.

use std::time::Duration;

use super::store::StoreError;

/// The time between two tries.
pub const RETRY: Duration = Duration::from_millis(100);

/// Tries after the first one.
const TRIES_MAX: u32 = 30;

/// The tries of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries(u32);

/// Another try is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// The time from now until the next try.
    pub after: Duration,
    /// The first failure's reason, to be logged.
    pub news: Option<String>,
}

impl Tries {
    /// The tries of an operation that was not tried yet.
    pub const NONE: Self = Self(0);

    /// Takes a try's failure, and returns when the next one is due.
    ///
    /// # Errors
    /// The error, if another try would not help, or there were enough.
    pub fn handle_error(&mut self, error: StoreError) -> Result<Again, StoreError> {
        match error {
            StoreError::Unavailable(why) if self.0 < TRIES_MAX => {
                self.0 += 1;
                Ok(Again {
                    after: RETRY,
                    news: (self.0 == 1).then_some(why),
                })
            }
            error => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::Epoch;

    use super::*;

    #[test]
    fn store_that_does_not_answer_is_asked_for_three_seconds_and_said_once() {
        let mut tries = Tries::default();
        let unavailable = || StoreError::Unavailable("a time-out".to_owned());
        let again: Vec<Again> = std::iter::from_fn(|| tries.handle_error(unavailable()).ok()).collect();
        assert_eq!(
            again.iter().map(|again| again.after).sum::<Duration>(),
            Duration::from_secs(3)
        );
        let news: Vec<_> = again.iter().map(|again| again.news.as_deref()).collect();
        assert_eq!(news[..2], [Some("a time-out"), None]);
        assert_eq!(news.iter().flatten().count(), 1);
    }

    #[test]
    fn answer_is_not_asked_for_again_because_it_is_a_no() {
        for error in [
            StoreError::Fenced { epoch: Epoch(3) },
            StoreError::Lost,
            StoreError::ParentMoved,
            StoreError::Corrupt("a hole".to_owned()),
        ] {
            let text = error.to_string();
            let answer = Tries::default().handle_error(error);
            assert_eq!(answer.unwrap_err().to_string(), text);
        }
    }
}
