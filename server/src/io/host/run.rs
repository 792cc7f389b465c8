//! How a hosted zone has run so far, for the shard's report.

use std::time::{Duration, Instant};

use everhold_protocol::Tick;
use hdrhistogram::Histogram;

use super::HostConfig;
use crate::io::report::{ZoneRun, buckets};

/// The run is told once a second.
const STATS_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Run {
    started: Instant,
    told_at: Instant,
    ticks: u64,
    tick_us: Histogram<u64>,
    append_us: Histogram<u64>,
}

impl Run {
    pub(super) fn new() -> Self {
        let histogram = || Histogram::new(3).expect("three digits are allowed");
        let now = Instant::now();
        Self {
            started: now,
            told_at: now,
            ticks: 0,
            tick_us: histogram(),
            append_us: histogram(),
        }
    }

    /// A tick's work took so long.
    pub(super) fn note_tick(&mut self, work: Duration) {
        self.ticks += 1;
        record(&mut self.tick_us, work);
    }

    /// An append was answered after so long.
    pub(super) fn note_append(&mut self, wait: Duration) {
        record(&mut self.append_us, wait);
    }

    /// Is it time to tell?
    pub(super) fn is_due(&self) -> bool {
        self.told_at.elapsed() >= STATS_EVERY
    }

    pub(super) fn tell(&mut self, config: &HostConfig, tick: Tick, released_tick: Tick, players: u32) -> ZoneRun {
        self.told_at = Instant::now();
        ZoneRun {
            zone: config.zone.clone(),
            epoch: config.grant.epoch.number(),
            ticks: self.ticks,
            tick,
            released_tick,
            seconds: self.started.elapsed().as_secs_f64(),
            players,
            tick_us: buckets(&self.tick_us),
            append_us: buckets(&self.append_us),
        }
    }
}

fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    // The histogram grows as it must; a value of µs in a u64 always fits.
    let _fits = histogram.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
}
