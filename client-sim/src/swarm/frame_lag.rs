//! Whether the simulator keeps up with itself. A swarm that is late measures its own delay and calls it the server's.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::meter::Durations;
use crate::net::Traffic;
use crate::report::SimulatorHealth;

/// More late frames than this, in a hundred, and the run says more about the simulator than about the server.
const LATE_PERCENT_MAX: f64 = 1.0;
/// A thread that is busier than this, in a hundred, has no room for the next burst.
const CPU_PERCENT_MAX: f64 = 95.0;
/// More frames than this that a player did not have at all, in a hundred, and the load was less than asked for.
const MISSED_PERCENT_MAX: f64 = 1.0;
/// More packets than this lost at our own sockets, in a hundred, and what players miss is the simulator's doing.
const DROPPED_PERCENT_MAX: f64 = 0.1;

/// Measures how late the frames of one thread's loop are.
pub(super) struct FrameLag {
    late: Durations,
    period: Duration,
    wall: Instant,
    cpu: Duration,
}

impl FrameLag {
    /// Starts watching the calling thread, which must be the one that asks for [`FrameLag::health`].
    pub(super) fn start(period: Duration) -> Self {
        Self {
            late: Durations::new(),
            period,
            wall: Instant::now(),
            cpu: thread_cpu(),
        }
    }

    /// Frames began so much later than their time.
    pub(super) fn record_frame(&mut self, late: Duration) {
        self.late.record(late);
    }

    /// `traffic`, `dropped`, and `missed` count from the start.
    pub(super) fn health(&self, traffic: &Traffic, dropped: u64, missed: u64) -> SimulatorHealth {
        let busy = thread_cpu().saturating_sub(self.cpu).as_secs_f64();
        let cpu_percent = 100.0 * busy / self.wall.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        SimulatorHealth {
            cpu_us_per_player_tick: 1e6 * busy / self.late.len().max(1) as f64,
            ..judge(&self.late, self.period, cpu_percent, traffic, dropped, missed)
        }
    }
}

fn judge(
    late: &Durations,
    period: Duration,
    cpu_percent: f64,
    traffic: &Traffic,
    dropped: u64,
    missed: u64,
) -> SimulatorHealth {
    let share = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
    let dropped_packets_percent = share(dropped, traffic.packets_in + dropped);
    let late_frames_percent = late.percent_above(period / 2);
    let percentiles = late.percentiles();
    let limits = [
        (
            "frames that were late by more than half a period",
            late_frames_percent,
            LATE_PERCENT_MAX,
        ),
        (
            "frames that were left out",
            share(missed, late.len() + missed),
            MISSED_PERCENT_MAX,
        ),
        ("busy share of its core", cpu_percent, CPU_PERCENT_MAX),
        (
            "packets lost at its own sockets",
            dropped_packets_percent,
            DROPPED_PERCENT_MAX,
        ),
    ];
    let beyond = limits.into_iter().filter(|(_, percent, most)| percent > most);
    let bottleneck: Vec<String> = beyond
        .map(|(what, percent, most)| format!("{what}: {percent:.1} %, at most {most} % is believed"))
        .collect();
    SimulatorHealth {
        frame_late_ms_p50: percentiles.p50,
        frame_late_ms_p99: percentiles.p99,
        frame_late_ms_max: percentiles.max,
        late_frames_percent,
        frames_missed: missed,
        cpu_percent,
        cpu_us_per_player_tick: 0.0,
        send_failures: traffic.send_failures,
        dropped_packets_percent,
        is_bottleneck: !bottleneck.is_empty(),
        bottleneck,
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{FrameLag, SimulatorHealth, thread_cpu};
    use crate::net::Traffic;

    const PERIOD: Duration = Duration::from_millis(50);

    fn late(ms: u64, of_hundred: usize) -> crate::meter::Durations {
        let punctual = std::iter::repeat_n(Duration::from_millis(1), 100 - of_hundred);
        punctual
            .chain(std::iter::repeat_n(Duration::from_millis(ms), of_hundred))
            .collect()
    }

    fn judge(late: &crate::meter::Durations, cpu_percent: f64, dropped: u64) -> SimulatorHealth {
        let traffic = Traffic {
            packets_in: 10_000,
            ..Traffic::default()
        };
        super::judge(late, PERIOD, cpu_percent, &traffic, dropped, 0)
    }

    #[test]
    fn loop_that_loses_packets_is_the_bottleneck() {
        assert!(!judge(&late(1, 1), 50.0, 10).is_bottleneck);
        assert!(judge(&late(1, 1), 50.0, 20).is_bottleneck);
    }

    #[test]
    fn punctual_loop_is_no_bottleneck() {
        assert!(!judge(&late(20, 50), 50.0, 0).is_bottleneck);
        assert!(!judge(&late(40, 1), 50.0, 0).is_bottleneck);
    }

    #[test]
    fn loop_with_two_late_frames_in_a_hundred_is_the_bottleneck() {
        let health = judge(&late(40, 2), 50.0, 0);
        assert!(
            health.is_bottleneck && (health.late_frames_percent - 2.0).abs() < 0.01,
            "{health:?}"
        );
    }

    #[test]
    fn full_core_is_the_bottleneck() {
        assert!(!judge(&late(1, 1), 95.0, 0).is_bottleneck);
        let health = judge(&late(1, 1), 96.0, 0);
        assert!(
            health.is_bottleneck && health.bottleneck[0].contains("core"),
            "{health:?}"
        );
    }

    #[test]
    fn loop_that_leaves_frames_out_is_the_bottleneck() {
        let judge = |missed| super::judge(&late(1, 1), PERIOD, 50.0, &Traffic::default(), 0, missed);
        assert!(!judge(1).is_bottleneck);
        let health = judge(2);
        assert!(health.is_bottleneck && health.frames_missed == 2, "{health:?}");
    }

    #[test]
    fn busy_thread_is_seen_as_busy() {
        let lag = FrameLag::start(PERIOD);
        let (start, cpu) = (Instant::now(), thread_cpu());
        while thread_cpu() - cpu < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let share = 100.0 * 0.020 / start.elapsed().as_secs_f64();
        let health = lag.health(&Traffic::default(), 0, 0);
        assert!(health.cpu_percent >= share * 0.9, "{health:?}");
    }
}
