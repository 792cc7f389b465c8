//! Asking: whether a machine that asks a store one thing after the other awaits an answer, waits for time to pass, or
//! may ask now. It asks nothing itself, and reads no clock.

use std::time::{Duration, Instant};

use super::store::StoreError;
use super::tries::Tries;

/// Fencing a zone, or reading a page of it, takes milliseconds; a store that takes longer than this does not answer.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The asking of one step after the other: one operation is under way at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asking {
    /// The step's operation is under way.
    is_awaited: bool,
    /// The step's operation waits until then.
    at: Option<Instant>,
    tries: Tries,
}

impl Asking {
    /// The asking of a step that is due at once.
    pub const NEW: Self = Self {
        is_awaited: false,
        at: None,
        tries: Tries::NONE,
    };

    /// Whether the step's operation may be asked for at `now`.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        !self.is_awaited && self.at.is_none_or(|at| at <= now)
    }

    /// Whether the step's operation is under way: its answer is awaited.
    #[must_use]
    pub const fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Returns when the step's operation is due, if it waits for time to pass.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.at.filter(|_| !self.is_awaited)
    }

    /// Takes that the step's operation was asked for: its answer is awaited.
    pub const fn handle_asked(&mut self) {
        self.is_awaited = true;
    }

    /// Has the step's operation asked for at `at`, and not before.
    pub const fn wait_until(&mut self, at: Instant) {
        (self.is_awaited, self.at) = (false, Some(at));
    }

    /// Takes that the store failed at `now`: the same operation is due again after a pause. Returns the failure's
    /// reason, to be logged, if it is the step's first.
    ///
    /// # Errors
    /// The error, if another try would not help, or there were enough.
    pub fn handle_error(&mut self, now: Instant, error: StoreError) -> Result<Option<String>, StoreError> {
        let again = self.tries.handle_error(error)?;
        self.wait_until(now + again.after);
        Ok(again.news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> StoreError {
        StoreError::Unavailable("a time-out".to_owned())
    }

    #[test]
    fn step_is_due_until_it_is_asked_for_and_again_after_a_pause() {
        let (mut asking, start) = (Asking::NEW, Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert!(asking.is_due(start) && asking.poll_timeout().is_none());
        asking.handle_asked();
        assert!(!asking.is_due(after(60_000)), "one operation at a time");
        assert_eq!(asking.poll_timeout(), None, "an answer is awaited, not time");
        assert_eq!(asking.handle_error(start, away()), Ok(Some("a time-out".to_owned())));
        assert_eq!(asking.poll_timeout(), Some(after(100)));
        assert!(!asking.is_due(after(99)) && asking.is_due(after(100)));
        asking.handle_asked();
        assert_eq!((asking.is_due(after(200)), asking.poll_timeout()), (false, None));
        assert_eq!(asking.handle_error(after(200), away()), Ok(None), "it was said");
        assert_eq!(asking.poll_timeout(), Some(after(300)));
        asking.wait_until(after(900));
        assert!(!asking.is_due(after(899)) && asking.is_due(after(900)));
    }

    #[test]
    fn step_is_given_up_at_a_no_and_after_so_many_tries_and_the_next_has_its_own() {
        let (mut asking, now) = (Asking::NEW, Instant::now());
        assert_eq!(asking.handle_error(now, StoreError::Lost), Err(StoreError::Lost));
        let tried = std::iter::from_fn(|| asking.handle_error(now, away()).ok()).count();
        assert_eq!(asking.handle_error(now, away()), Err(away()));
        asking = Asking::NEW;
        let tried_again = std::iter::from_fn(|| asking.handle_error(now, away()).ok()).count();
        assert_eq!((tried, tried_again), (30, 30));
    }
}
