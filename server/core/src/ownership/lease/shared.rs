//! One lease that several threads ask: the zone's, the one that sends, and the one that renews. It reads no clock.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::Lease;

/// One [`Lease`] behind a lock that is never held over anything that waits.
#[derive(Debug)]
pub struct SharedLease(Mutex<Lease>);

impl SharedLease {
    /// A lease that was just granted.
    #[must_use]
    pub const fn new(lease: Lease) -> Self {
        Self(Mutex::new(lease))
    }

    /// Asks the lease something at `now`. Asking is also what notices that the process was stopped for a while.
    pub fn ask<T>(&self, now: Duration, question: impl FnOnce(&mut Lease) -> T) -> T {
        self.with(|lease| {
            lease.handle_iteration(now);
            question(lease)
        })
    }

    /// Tells the lease something, or reads it without asking. Read the clock before.
    pub fn with<T>(&self, ask: impl FnOnce(&mut Lease) -> T) -> T {
        ask(&mut self.lease())
    }

    fn lease(&self) -> MutexGuard<'_, Lease> {
        self.0.lock().expect("no holder of a lease panics")
    }
}
