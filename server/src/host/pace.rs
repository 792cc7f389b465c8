//! When a zone's ticks come: its period, its lateness, and the [`Ladder`] that stretches the one because of the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use everhold_core::load::{Ladder, Rung, Standing, TickLoad};
use everhold_protocol::ZoneName;

use super::{HostConfig, ZoneGauges};
use crate::process::ProcessGauge;

/// Ticks that are caught up in one go after a late one. More would be a burst that clients cannot use; the rest of the delay is let go.
const CATCH_UP_TICKS_MAX: u32 = 2;

/// What tick thread, durable task, and router tell each other of a zone's load.
#[derive(Debug, Default)]
pub struct LoadGauges {
    /// The ladder's rung, as its place.
    rung: AtomicU8,
    /// How long the last finished tick lay before the durable task took it, µs.
    handover_us: AtomicU32,
    /// How long the last release took to hand out, µs.
    egress_us: AtomicU32,
    /// Newcomers who wait for the zone.
    pub queued: AtomicU32,
    /// Newcomers who had to wait so far.
    pub queued_ever: AtomicU64,
    /// Newcomers who were refused so far.
    pub refused: AtomicU64,
}

impl LoadGauges {
    /// Where the ladder stands.
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
}

/// See the module.
pub(super) struct Pace {
    zone: ZoneName,
    /// Between two ticks at normal speed.
    period: Duration,
    due: Instant,
    /// None: the zone stays at full detail and speed whatever comes.
    ladder: Option<Ladder>,
    standing: Standing,
    gauges: Arc<ZoneGauges>,
    process: Arc<ProcessGauge>,
}

impl Pace {
    pub(super) fn new(config: &HostConfig, gauges: Arc<ZoneGauges>, process: Arc<ProcessGauge>) -> Self {
        Self {
            zone: config.zone.clone(),
            period: Duration::from_secs(1) / u32::from(config.tick_hz),
            due: Instant::now(),
            ladder: config.ladder.then(|| Ladder::new(config.tick_hz)),
            standing: Standing::IDLE,
            gauges,
            process,
        }
    }

    /// Sleeps until the next tick is due.
    pub(super) fn wait(&self) {
        std::thread::sleep(self.due.saturating_duration_since(Instant::now()));
    }

    /// No tick may be now; it is soon looked again. That is no lateness: lease or store hold the zone.
    pub(super) fn hold(&mut self) {
        self.due = Instant::now() + self.period / 4;
    }

    /// How late the tick is that begins now.
    pub(super) fn lateness(&self) -> Duration {
        Instant::now().saturating_duration_since(self.due)
    }

    pub(super) const fn standing(&self) -> Standing {
        self.standing
    }

    /// A tick is over. `lying` ticks before it are not taken yet.
    pub(super) fn handle_tick(&mut self, late: Duration, work: Duration, lying: usize) {
        let period = micros(self.stretched());
        let load = &self.gauges.load;
        let lying = period.saturating_mul(u32::try_from(lying).unwrap_or(u32::MAX));
        let measured = TickLoad {
            period_us: period,
            busy_us: micros(work).saturating_add(load.egress_us.load(Ordering::Relaxed)),
            waited_us: micros(late)
                .saturating_add(load.handover_us.load(Ordering::Relaxed))
                .saturating_add(lying)
                .max(self.process.send_lag_us()),
            cpu_permille: self.process.cpu_permille(),
        };
        if let Some(ladder) = &mut self.ladder {
            let standing = ladder.handle_tick(&measured);
            self.stand(standing);
        }
        self.due += self.stretched();
        if self.lateness() > self.stretched() * CATCH_UP_TICKS_MAX {
            self.due = Instant::now();
        }
    }

    fn stand(&mut self, standing: Standing) {
        let before = std::mem::replace(&mut self.standing, standing);
        if before.rung == standing.rung {
            return;
        }
        self.gauges.load.rung.store(standing.rung.place(), Ordering::Relaxed);
        let (zone, rung, strain_permille) = (&self.zone, standing.rung, standing.strain_permille);
        if standing.rung > before.rung {
            tracing::warn!(%zone, %rung, strain_permille, "the zone has more to do: one rung up the ladder");
        } else {
            tracing::info!(%zone, %rung, strain_permille, "the zone has less to do: one rung down the ladder");
        }
    }

    fn stretched(&self) -> Duration {
        self.period * self.standing.stretch_permille / 1_000
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
