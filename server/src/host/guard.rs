//! A zone's lease, shared by the threads that act under it. The machine is pure; this reads the clock for it.

use std::sync::Arc;
use std::time::Duration;

use everhold_core::ownership::lease::{Lease, LeaseState, SharedLease};
use everhold_os::clock;

/// A [`SharedLease`], asked by the clock of this machine.
#[derive(Debug)]
pub struct LeaseGuard(Arc<SharedLease>);

impl LeaseGuard {
    /// Guards a lease that was just granted.
    #[must_use]
    pub const fn new(lease: Arc<SharedLease>) -> Self {
        Self(lease)
    }

    /// May the zone tick and write now? Asking is also what notices that the process was stopped for a while.
    #[must_use]
    pub fn may_act(&self) -> bool {
        self.ask(Lease::may_act)
    }

    /// May anything leave the process now? Ask immediately before sending.
    #[must_use]
    pub fn may_speak(&self) -> bool {
        self.ask(Lease::may_speak)
    }

    /// Returns the present state of the lease. Asking is also what notices that the process was stopped for a while.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        self.ask(|lease, _| lease.state())
    }

    /// The zone's tick advanced, or stands still on purpose and is looked after.
    pub fn note_tick(&self) {
        let now = clock::boottime();
        self.0.with(|lease| lease.handle_tick(now));
    }

    fn ask<T>(&self, question: impl FnOnce(&Lease, Duration) -> T) -> T {
        let now = clock::boottime();
        self.0.ask(now, |lease| question(lease, now))
    }
}
