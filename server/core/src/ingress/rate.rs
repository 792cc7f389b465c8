//! Rate limits of a peer. It reads no clock: `now` comes in, as the time since an origin that the caller keeps to.

use std::time::Duration;

/// One token, in the bucket's unit. A rate of `n` per second then refills `n` units per nanosecond, exactly, without a
/// remainder.
const TOKEN: u128 = 1_000_000_000;

/// A token bucket in integers: `burst` tokens at first, `per_second` come back each second, never more than `burst`.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_second: u32,
    burst: u32,
    /// Tokens left, in [`TOKEN`]ths.
    level: u128,
    refilled: Duration,
}

impl TokenBucket {
    /// Returns a full bucket.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32, now: Duration) -> Self {
        Self {
            per_second,
            burst,
            level: burst as u128 * TOKEN,
            refilled: now,
        }
    }

    /// Takes a token. Returns false if there is none. A `now` before an earlier one counts as that one.
    pub fn take(&mut self, now: Duration) -> bool {
        let elapsed = now.saturating_sub(self.refilled);
        self.refilled = self.refilled.max(now);
        let refill = elapsed.as_nanos().saturating_mul(u128::from(self.per_second));
        self.level = self.level.saturating_add(refill).min(u128::from(self.burst) * TOKEN);
        if self.level < TOKEN {
            return false;
        }
        self.level -= TOKEN;
        true
    }
}

/// The verdict on something that a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateVerdict {
    /// Take it: it is within the rate.
    Take,
    /// Drop it: it is beyond the rate.
    Drop,
    /// Disconnect the peer: it was beyond the rate for long.
    Close,
}

/// A rate with patience: excess is dropped, and a peer whose excess lasts is disconnected.
///
/// Patience is a bucket of its own that every excess takes from: a peer that sends at twice the rate exhausts it in
/// about `excess_seconds`, one that sends at ten times the rate in a ninth of that, and a burst after a stall never
/// does.
#[derive(Clone, Debug)]
pub struct RateGuard {
    allowed: TokenBucket,
    patience: TokenBucket,
}

impl RateGuard {
    /// Returns a guard that allows `per_second` with bursts of `burst`, and closes after `excess_seconds` at twice the
    /// rate.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, excess_seconds: u32, now: Duration) -> Self {
        // Patience grows back at a tenth of the rate, so that a peer that is always a little over is dropped in the
        // end, too.
        let patience = TokenBucket::new(per_second / 10, per_second.saturating_mul(excess_seconds), now);
        Self {
            allowed: TokenBucket::new(per_second, burst, now),
            patience,
        }
    }

    /// Judges one thing that was received at `now`.
    pub fn judge(&mut self, now: Duration) -> RateVerdict {
        if self.allowed.take(now) {
            RateVerdict::Take
        } else if self.patience.take(now) {
            RateVerdict::Drop
        } else {
            RateVerdict::Close
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn taken(bucket: &mut TokenBucket, now: Duration, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(bucket.take(now))).sum()
    }

    #[test]
    fn full_bucket_gives_its_burst_and_no_more() {
        let mut bucket = TokenBucket::new(10, 5, ms(0));
        assert_eq!(taken(&mut bucket, ms(0), 100), 5);
    }

    #[test]
    fn empty_bucket_refills_at_its_rate_to_the_nanosecond() {
        let mut bucket = TokenBucket::new(3, 1, ms(0));
        assert!(bucket.take(ms(0)));
        assert!(!bucket.take(Duration::from_nanos(333_333_333)));
        assert!(bucket.take(Duration::from_nanos(333_333_334)));
    }

    #[test]
    fn many_small_steps_lose_nothing_to_rounding() {
        let mut bucket = TokenBucket::new(7, 1, ms(0));
        assert!(bucket.take(ms(0)));
        let given: u32 = (1..=10_000)
            .map(|ms_passed| u32::from(bucket.take(ms(ms_passed))))
            .sum();
        assert!((69..=70).contains(&given), "10 s at 7 per second gave {given}");
    }

    #[test]
    fn long_silence_fills_the_bucket_only_to_its_burst() {
        let mut bucket = TokenBucket::new(u32::MAX, 4, ms(0));
        assert_eq!(taken(&mut bucket, Duration::MAX, 100), 4);
    }

    #[test]
    fn time_that_goes_back_refills_nothing() {
        let mut bucket = TokenBucket::new(1, 1, ms(5_000));
        assert!(bucket.take(ms(5_000)));
        assert!(!bucket.take(ms(1_000)));
        assert!(!bucket.take(ms(5_999)));
        assert!(bucket.take(ms(6_000)));
    }

    /// Sends `per_second` for up to a minute and returns the millisecond of the first `Close`.
    fn closed_at(guard: &mut RateGuard, per_second: u64) -> Option<u64> {
        (0..60 * per_second)
            .map(|n| n * 1_000 / per_second)
            .find(|&at| guard.judge(ms(at)) == RateVerdict::Close)
    }

    #[test]
    fn peer_at_its_rate_is_never_dropped() {
        let mut guard = RateGuard::new(50, 50, 10, ms(0));
        assert!((0..3_000).all(|n| guard.judge(ms(n * 20)) == RateVerdict::Take));
    }

    #[test]
    fn burst_after_a_stall_is_cut_and_forgiven() {
        let mut guard = RateGuard::new(50, 50, 10, ms(0));
        let verdicts: Vec<_> = (0..200).map(|_| guard.judge(ms(1_000))).collect();
        assert_eq!(verdicts.iter().filter(|&&v| v == RateVerdict::Take).count(), 50);
        assert!(!verdicts.contains(&RateVerdict::Close));
    }

    #[test]
    fn lasting_excess_closes_sooner_the_worse_it_is() {
        let twice = closed_at(&mut RateGuard::new(50, 50, 10, ms(0)), 100).expect("twice the rate lasts");
        let tenfold = closed_at(&mut RateGuard::new(50, 50, 10, ms(0)), 500).expect("ten times the rate lasts");
        assert!((10_000..15_000).contains(&twice), "{twice} ms");
        assert!((1_000..2_000).contains(&tenfold), "{tenfold} ms");
    }
}
