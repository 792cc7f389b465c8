//! The load of a zone, as tick thread, durable task, and router tell it each other: numbers that any of them reads at
//! any time.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use everhold_core::load::{LadderState, Rung};
use everhold_core::tick::clock::micros;
use everhold_core::tick::{RungChange, TickMeasures, TickTimes};
use everhold_protocol::ZoneName;

use crate::process::ProcessGauge;

/// The load of a zone, as tick thread, durable task, and router tell it each other.
#[derive(Debug, Default)]
pub struct LoadGauges {
    /// The ladder's rung, as its place.
    rung: AtomicU8,
    /// The time for which the last finished tick lay before the durable task took it, µs.
    handover_us: AtomicU32,
    /// The time that the last release took to hand out, µs.
    egress_us: AtomicU32,
    /// Newcomers who wait for the zone.
    pub queued: AtomicU32,
    /// Newcomers who had to wait so far.
    pub queued_ever: AtomicU64,
    /// Newcomers who were refused so far.
    pub refused: AtomicU64,
}

impl LoadGauges {
    /// Returns the ladder's rung.
    #[must_use]
    pub fn rung(&self) -> Rung {
        Rung::from_place(self.rung.load(Ordering::Relaxed)).expect("only places of rungs are stored")
    }

    pub(super) fn note_handover(&self, lay: Duration) {
        self.handover_us.store(micros(lay), Ordering::Relaxed);
    }

    pub(super) fn note_egress(&self, took: Duration) {
        self.egress_us.store(micros(took), Ordering::Relaxed);
    }

    /// Gathers what was measured of a tick, of what came after the ticks before it, and of the process. `lying` ticks
    /// are not taken yet.
    pub(super) fn measures(&self, times: &TickTimes, lying: usize, process: &ProcessGauge) -> TickMeasures {
        TickMeasures {
            late: times.late(),
            work: times.work(),
            lying,
            handover_us: self.handover_us.load(Ordering::Relaxed),
            egress_us: self.egress_us.load(Ordering::Relaxed),
            send_lag_us: process.send_lag_us(),
            cpu_permille: process.cpu_permille(),
        }
    }

    /// Lets the router and the log know that the zone is on another rung.
    pub(super) fn note_change(&self, zone: &ZoneName, change: RungChange, ladder_state: LadderState) {
        let (rung, strain_permille) = (ladder_state.rung, ladder_state.strain_permille);
        self.rung.store(rung.place(), Ordering::Relaxed);
        match change {
            RungChange::Up => {
                tracing::warn!(%zone, %rung, strain_permille, "the zone has more to do: one rung up the ladder");
            }
            RungChange::Down => {
                tracing::info!(%zone, %rung, strain_permille, "the zone has less to do: one rung down the ladder");
            }
        }
    }
}
