//! The time for which a client waits before it calls its owner silent. A false alarm makes it wait longer for a while:
//! on a path or a machine that stalls, each alarm means a handshake at another shard, and handshakes of thousands make
//! it stall more.

use std::time::Duration;

use super::ms;

/// The longest wait, ms: half a lease. A client that is this patient still finds an adopter before a ttl without a
/// guardian is over.
const SILENCE_MS_MAX: u64 = 2_000;

/// The time without a false alarm after which the wait is halved again.
const CALM: Duration = Duration::from_secs(10);

/// The present wait, and what makes it longer or shorter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    base_ms: u64,
    ms: u64,
    /// The moment of the last false alarm, or of the last halving.
    since: Duration,
}

impl Patience {
    /// Returns the patience of a client that had no false alarm yet.
    pub(super) const fn new(base_ms: u64) -> Self {
        Self {
            base_ms,
            ms: base_ms,
            since: Duration::ZERO,
        }
    }

    /// Returns the time without a message after which the owner counts as silent.
    pub(super) const fn silence(&self) -> Duration {
        ms(self.ms)
    }

    /// Notes that an owner that was called silent speaks again.
    pub(super) fn handle_false_alarm(&mut self, now: Duration) {
        self.ms = (self.ms * 2).min(SILENCE_MS_MAX).max(self.base_ms);
        self.since = now;
    }

    /// Notes a message of the owner.
    pub(super) fn handle_heard(&mut self, now: Duration) {
        if self.ms > self.base_ms && now.saturating_sub(self.since) >= CALM {
            self.ms = (self.ms / 2).max(self.base_ms);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn each_false_alarm_doubles_the_wait_up_to_a_bound() {
        let mut patience = Patience::new(250);
        let mut waits = Vec::new();
        for _ in 0..5 {
            waits.push(patience.silence().as_millis());
            patience.handle_false_alarm(at(1));
        }
        assert_eq!(waits, [250, 500, 1_000, 2_000, 2_000]);
    }

    #[test]
    fn calm_halves_the_wait_again_step_by_step() {
        let mut patience = Patience::new(250);
        patience.handle_false_alarm(at(1));
        patience.handle_false_alarm(at(2));
        patience.handle_heard(at(11));
        assert_eq!(patience.silence(), ms(1_000), "it was calm for nine seconds only");
        patience.handle_heard(at(12));
        patience.handle_heard(at(13));
        assert_eq!(patience.silence(), ms(500));
        patience.handle_heard(at(22));
        patience.handle_heard(at(99));
        assert_eq!(patience.silence(), ms(250), "and never below what it began with");
    }
}
