//! One lease that several threads ask: the zone's, the one that sends, and the one that renews. It reads no clock.

use std::sync::{Mutex, MutexGuard};

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

    /// Asks the lease something, or tells it something. Read the clock before.
    pub fn with<T>(&self, ask: impl FnOnce(&mut Lease) -> T) -> T {
        ask(&mut self.lease())
    }

    fn lease(&self) -> MutexGuard<'_, Lease> {
        self.0.lock().expect("no holder of a lease panics")
    }
}
