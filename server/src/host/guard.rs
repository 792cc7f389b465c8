//! A zone's lease, shared by the threads that act under it. The machine is pure; this reads the clock for it.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use everhold_core::ownership::lease::{Lease, LeaseState};
use everhold_os::clock;

/// One [`Lease`] behind a lock that is never held over anything that waits.
#[derive(Debug)]
pub struct LeaseGuard(Mutex<Lease>);

impl LeaseGuard {
    /// Guards a lease that was just granted.
    #[must_use]
    pub const fn new(lease: Lease) -> Self {
        Self(Mutex::new(lease))
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

    /// Where the lease stands now. Asking is also what notices that the process was stopped for a while.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        self.ask(|lease, _| lease.state())
    }

    /// The zone's tick advanced, or stands still on purpose and is looked after.
    pub fn note_tick(&self) {
        self.lease().handle_tick(clock::boottime());
    }

    /// No tick has ended for longer than a healthy zone takes.
    pub fn is_stalled(&self) -> bool {
        self.lease().is_stalled(clock::boottime())
    }

    /// Whether a renewal is due; it counts as sent from the returned moment on.
    pub fn poll_renewal(&self) -> Option<Duration> {
        let now = clock::boottime();
        let mut lease = self.lease();
        lease.poll_renewal(now).then(|| {
            lease.handle_renew_sent(now);
            now
        })
    }

    /// A renewal's outcome, as the lease machine names it.
    pub fn handle(&self, outcome: impl FnOnce(&mut Lease, Duration)) {
        outcome(&mut self.lease(), clock::boottime());
    }

    fn ask<T>(&self, question: impl FnOnce(&Lease, Duration) -> T) -> T {
        let now = clock::boottime();
        let mut lease = self.lease();
        lease.handle_iteration(now);
        question(&lease, now)
    }

    fn lease(&self) -> MutexGuard<'_, Lease> {
        self.0.lock().expect("no holder of a lease panics")
    }
}
