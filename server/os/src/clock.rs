//! The one place where time is read. Everything else takes a `Duration` that was read here.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns the time since the machine started, time asleep included (CLOCK_BOOTTIME). `std::time::Instant` stands still
/// while a virtual machine is suspended, so a lease measured by it would outlive its ttl.
#[must_use]
pub fn boottime() -> Duration {
    read(ClockId::Boottime)
}

/// Returns the seconds since 1970, for tickets and reports. Nothing about ownership depends on it.
#[must_use]
pub fn unix_s() -> u64 {
    read(ClockId::Realtime).as_secs()
}

/// Returns the milliseconds since 1970, for rows that people read.
#[must_use]
pub fn unix_ms() -> i64 {
    i64::try_from(read(ClockId::Realtime).as_millis()).unwrap_or(i64::MAX)
}

fn read(clock: ClockId) -> Duration {
    // A clock set to before 1970 reads as 1970.
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boottime_goes_forward_and_is_no_shorter_than_the_monotonic_clock() {
        let monotonic = read(ClockId::Monotonic);
        let first = boottime();
        assert!(first >= monotonic);
        assert!(boottime() >= first);
    }

    #[test]
    fn unix_time_is_after_this_was_written() {
        assert!(unix_s() > 1_750_000_000);
        assert!(unix_ms() > 1_750_000_000_000);
    }
}
