//! How a hosted zone has run so far, for the shard's report.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use everhold_core::load::Standing;
use everhold_core::report::{LoadRun, Phase, ZoneRun};
use hdrhistogram::Histogram;

use super::{HostConfig, ZoneGauges};
use crate::reporter::buckets;

/// The run is told once a second.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// How long the parts of one tick took on the tick thread, and how late it was. One clock reading between two parts.
#[derive(Debug)]
pub(super) struct TickTimes {
    pub(super) late: Duration,
    pub(super) work: Duration,
    parts: Vec<(Phase, Duration)>,
    began: Instant,
    split: Instant,
}

impl TickTimes {
    pub(super) fn begin(late: Duration) -> Self {
        let now = Instant::now();
        Self {
            late,
            work: Duration::ZERO,
            parts: Vec::with_capacity(Phase::ALL.len()),
            began: now,
            split: now,
        }
    }

    /// This phase is over.
    pub(super) fn end(&mut self, phase: Phase) {
        let now = Instant::now();
        self.parts.push((phase, now - self.split));
        self.split = now;
        self.work = now - self.began;
    }

    /// When the last phase was over.
    pub(super) const fn ended_at(&self) -> Instant {
        self.split
    }
}

pub(super) struct Run {
    started: Instant,
    told_at: Instant,
    ticks: u64,
    ticks_told: u64,
    tick_us: Histogram<u64>,
    append_us: Histogram<u64>,
    phases: [Histogram<u64>; Phase::ALL.len()],
    standing: Standing,
    stood_since: Instant,
    entered: [u64; 6],
    stood: [Duration; 6],
}

impl Run {
    pub(super) fn new() -> Self {
        let histogram = |digits| Histogram::new(digits).expect("up to five digits are allowed");
        let now = Instant::now();
        Self {
            started: now,
            told_at: now,
            ticks: 0,
            ticks_told: 0,
            tick_us: histogram(3),
            append_us: histogram(3),
            // Two digits keep a line short that has ten of them.
            phases: std::array::from_fn(|_| histogram(2)),
            standing: Standing::IDLE,
            stood_since: now,
            entered: [0; 6],
            stood: [Duration::ZERO; 6],
        }
    }

    /// A tick is over, and left the zone standing so.
    pub(super) fn note_tick(&mut self, times: &TickTimes, standing: Standing) {
        self.ticks += 1;
        record(&mut self.tick_us, times.work);
        self.note(Phase::Late, times.late);
        for (phase, took) in &times.parts {
            self.note(*phase, *took);
        }
        self.note_standing(standing);
    }

    /// A phase took so long.
    pub(super) fn note(&mut self, phase: Phase, took: Duration) {
        record(&mut self.phases[phase as usize], took);
    }

    /// An append was answered after so long.
    pub(super) fn note_append(&mut self, wait: Duration) {
        record(&mut self.append_us, wait);
    }

    fn note_standing(&mut self, standing: Standing) {
        let now = Instant::now();
        let before = usize::from(self.standing.rung.place());
        self.stood[before] += now - self.stood_since;
        self.stood_since = now;
        if standing.rung != self.standing.rung {
            self.entered[usize::from(standing.rung.place())] += 1;
        }
        self.standing = standing;
    }

    /// Is it time to tell?
    pub(super) fn is_due(&self) -> bool {
        self.told_at.elapsed() >= STATS_EVERY
    }

    pub(super) fn tell(&mut self, config: &HostConfig, gauges: &ZoneGauges, released_tick: u64) -> ZoneRun {
        let since = self.told_at.elapsed().as_secs_f64();
        let ticks = self.ticks - std::mem::replace(&mut self.ticks_told, self.ticks);
        self.told_at = Instant::now();
        self.note_standing(self.standing);
        ZoneRun {
            zone: config.zone.clone(),
            epoch: config.grant.epoch.number(),
            ticks: self.ticks,
            tick: gauges.tick.load(Ordering::Relaxed),
            released_tick,
            seconds: self.started.elapsed().as_secs_f64(),
            players: gauges.attached.load(Ordering::Relaxed),
            tick_us: buckets(&self.tick_us),
            append_us: buckets(&self.append_us),
            tick_rate: ticks as f64 / since.max(1e-3),
            phases: Phase::ALL
                .map(|phase| (phase, buckets(&self.phases[phase as usize])))
                .into(),
            load: LoadRun {
                rung: self.standing.rung,
                stretch: f64::from(self.standing.stretch_permille) / 1e3,
                strain: f64::from(self.standing.strain_permille) / 1e3,
                entered: self.entered,
                seconds: self.stood.map(|stood| stood.as_secs_f64()),
                queued: gauges.load.queued.load(Ordering::Relaxed),
                queued_ever: gauges.load.queued_ever.load(Ordering::Relaxed),
                refused: gauges.load.refused.load(Ordering::Relaxed),
            },
        }
    }
}

fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    // The histogram grows as it must; a value of µs in a u64 always fits.
    let _fits = histogram.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
}
