//! The run of a hosted zone so far, for the shard's report.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use everhold_core::load::{LadderState, RungHistory};
use everhold_core::report::{LoadRun, ZoneRun};
use everhold_core::tick::{TickStage, TickTimes};
use everhold_protocol::Tick;
use hdrhistogram::Histogram;

use super::{HostConfig, ZoneGauges};
use crate::reporter::buckets;

/// The run is told once a second.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// The run of a zone under this epoch, as it is told once a second.
pub(super) struct RunFigures {
    started: Instant,
    told_at: Instant,
    ticks: u64,
    ticks_told: u64,
    tick_us: Histogram<u64>,
    append_us: Histogram<u64>,
    stages: [Histogram<u64>; TickStage::ALL.len()],
    rungs: RungHistory,
}

impl RunFigures {
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
            stages: std::array::from_fn(|_| histogram(2)),
            rungs: RungHistory::new(now),
        }
    }

    /// A tick is over, and left the zone at this place on the ladder.
    pub(super) fn note_tick(&mut self, times: &TickTimes, ladder_state: LadderState) {
        self.ticks += 1;
        record(&mut self.tick_us, times.work());
        for (stage, took) in times.stages() {
            self.note(stage, took);
        }
        self.rungs.handle_ladder_state(ladder_state, Instant::now());
    }

    /// A stage took so long.
    pub(super) fn note(&mut self, stage: TickStage, took: Duration) {
        record(&mut self.stages[stage as usize], took);
    }

    /// An append was answered after so long.
    pub(super) fn note_append(&mut self, wait: Duration) {
        record(&mut self.append_us, wait);
    }

    /// Is it time to tell?
    pub(super) fn is_due(&self) -> bool {
        self.told_at.elapsed() >= STATS_EVERY
    }

    pub(super) fn tell(&mut self, config: &HostConfig, gauges: &ZoneGauges, released_tick: Tick) -> ZoneRun {
        let since = self.told_at.elapsed().as_secs_f64();
        let ticks = self.ticks - std::mem::replace(&mut self.ticks_told, self.ticks);
        self.told_at = Instant::now();
        self.rungs.handle_now(self.told_at);
        let ladder_state = self.rungs.ladder_state();
        ZoneRun {
            zone: config.tenure.zone.clone(),
            epoch: config.tenure.epoch(),
            ticks: self.ticks,
            tick: Tick(gauges.tick.load(Ordering::Relaxed)),
            released_tick,
            seconds: self.started.elapsed().as_secs_f64(),
            players: gauges.attached.load(Ordering::Relaxed),
            characters: 0,
            tick_us: buckets(&self.tick_us),
            append_us: buckets(&self.append_us),
            tick_rate: ticks as f64 / since.max(1e-3),
            phases: TickStage::ALL
                .map(|stage| (stage, buckets(&self.stages[stage as usize])))
                .into(),
            checkpoint_lag_ticks: 0,
            archive_lag_ticks: None,
            load: LoadRun {
                rung: ladder_state.rung,
                stretch: f64::from(ladder_state.stretch_permille) / 1e3,
                strain: f64::from(ladder_state.strain_permille) / 1e3,
                entered: self.rungs.entered(),
                seconds: self.rungs.stood().map(|stood| stood.as_secs_f64()),
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
