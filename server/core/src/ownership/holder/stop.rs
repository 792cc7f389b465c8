//! The stop of a process: what it waits for, for how long, and what it gives up then. How a hosted zone has its last
//! tick is the pipeline's to say.
//!
//! A closed holder claims its own suspended zones and no others: each is to be hosted once more, from memory, and
//! sealed as the others are, for its memory may be all there is. The stop waits for every zone that is hosted or in
//! memory, and no longer than a bound.

use std::time::Duration;

use everhold_protocol::ZoneName;

use super::command::Request;
use super::held::HeldLease;
use super::remark::ZoneRemark;
use super::{Holder, HolderStep};
use crate::limits::STOP_ZONES_MS_MAX;
use crate::ownership::after::After;
use crate::ownership::grant::Tenure;

/// An authority that takes longer does not answer a process that stops: some of these must fit into what is left of its
/// time when that of its zones is over.
pub(super) const STOP_ANSWER_MAX: Duration = Duration::from_secs(1);

/// A closed holder looks at least this often: a lease may come back, and the time is short.
pub(super) const STOP_LOOK_EVERY: Duration = Duration::from_millis(100);

/// The place of a holder on its way to its stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopCourse {
    /// None was asked for.
    None,
    /// It claims nothing but what it has in memory.
    Closed {
        /// The moment at which the zones have had their time.
        stop_by: Duration,
    },
    /// It stops as soon as nothing is left to wait for.
    Leaving {
        /// The moment at which the zones have had their time.
        stop_by: Duration,
    },
}

impl Holder {
    /// Claims nothing more, from `now` on, but zones that are suspended here: the process is stopping, and the stop is
    /// to store what is in memory.
    ///
    /// # Panics
    /// If the holder is not at rest.
    pub fn handle_close(&mut self, now: Duration) {
        assert!(self.is_at_rest(), "a claim may be under way");
        if self.stop == StopCourse::None {
            let stop_by = now + Duration::from_millis(STOP_ZONES_MS_MAX);
            self.stop = StopCourse::Closed { stop_by };
            self.contender.handle_close();
            self.next_turn = Duration::ZERO;
        }
    }

    /// Notes, at `now`, that every hosted zone was asked for its last tick. As soon as none is hosted or in memory any
    /// more, or the zones have had their time, the holder releases what it was granted and does not host, leaves the
    /// directory, and stops.
    ///
    /// # Panics
    /// If the holder is not at rest.
    pub fn handle_stop(&mut self, now: Duration) {
        self.handle_close(now);
        if let StopCourse::Closed { stop_by } = self.stop {
            self.stop = StopCourse::Leaving { stop_by };
        }
    }

    /// Whether a zone is left to others at `now`. A process that stops has no time to leave them its memory of one.
    pub(super) fn is_shunned(&self, zone: &ZoneName, now: Duration) -> bool {
        self.shunned.contains(zone, now) && !self.is_closed()
    }

    /// Whether the process is stopping.
    pub(super) fn is_closed(&self) -> bool {
        self.stop != StopCourse::None
    }

    /// Returns the moment at which the holder stops, whatever is left.
    pub(super) const fn stop_by(&self) -> Option<Duration> {
        match self.stop {
            StopCourse::Leaving { stop_by } => Some(stop_by),
            StopCourse::None | StopCourse::Closed { .. } => None,
        }
    }

    /// Whether the stop is due at `now`.
    pub(super) fn is_stop_due(&self, now: Duration) -> bool {
        self.stop_by()
            .is_some_and(|stop_by| now >= stop_by || self.awaited().is_empty())
    }

    /// Returns the zones that a stop waits for: those that are hosted, and those in memory, also while they are being
    /// adopted. An adoption from the store is given up, and a zone with which another shard goes on is left to it.
    fn awaited(&self) -> Vec<(&Tenure, ZoneRemark)> {
        let awaited = |held: &HeldLease| match (held.progress.is_some(), held.is_from_memory) {
            (true, _) => Some(ZoneRemark::Unstopped),
            (false, true) => Some(ZoneRemark::LeftInMemory),
            (false, false) => None,
        };
        let held = self.held.values();
        let held = held.filter_map(|held| Some((&held.tenure, awaited(held)?)));
        let suspended = self.contender.unsettled();
        held.chain(suspended.map(|tenure| (tenure, ZoneRemark::LeftInMemory)))
            .collect()
    }

    /// Says what is given up, and releases what is held and not hosted, or suspended; hosted zones that have not ended
    /// are left to their leases.
    pub(super) fn begin_stop(&mut self, now: Duration) {
        let awaited = self.awaited().into_iter();
        let given_up: Vec<_> = awaited.map(|(tenure, remark)| (tenure.zone.clone(), remark)).collect();
        for (zone, remark) in given_up {
            self.log_zone(&zone, remark);
        }
        let unadopted = self.held.values().filter(|held| held.progress.is_none());
        let unadopted: Vec<Tenure> = unadopted.map(|held| held.tenure.clone()).collect();
        for tenure in unadopted {
            self.lose_adoption(&tenure);
            self.end(now, tenure, After::Release);
        }
        let suspended = self.contender.suspended().values();
        self.releases.extend(suspended.map(|lease| lease.tenure.clone()));
        self.step = HolderStep::Stopping;
    }

    /// Leaves the directory, when everything is released.
    pub(super) fn withdraw(&mut self) {
        self.ask(Request::Withdraw, Some(self.answer_max()));
        self.step = HolderStep::Withdrawing;
    }
}
