//! The process's use of the machine, for its report and for the overload ladder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use everhold_core::report::{ProcessRun, ShardEvent};
use everhold_net::transport::TransportCounters;
use everhold_os::vital;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinHandle;

use crate::reporter::Reporter;

/// A second of processor time is long enough to even out bursts of a tick, and short enough to notice a rush.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The use that this process makes of its cores.
#[derive(Debug, Default)]
pub struct ProcessGauge {
    cpu_permille: AtomicU32,
    counters: Arc<TransportCounters>,
}

impl ProcessGauge {
    /// Returns its use of its cores in the last second, thousandths of all that it may use.
    #[must_use]
    pub fn cpu_permille(&self) -> u32 {
        self.cpu_permille.load(Ordering::Relaxed)
    }

    /// Returns the delay with which the last tick's datagrams left it, µs.
    #[must_use]
    pub fn send_lag_us(&self) -> u32 {
        self.counters.send_lag.micros()
    }
}

/// Looks at this process once a second, on the current runtime, until the task is aborted.
#[must_use]
pub fn start(counters: Arc<TransportCounters>, reporter: Reporter) -> (Arc<ProcessGauge>, JoinHandle<()>) {
    let gauge = Arc::new(ProcessGauge {
        counters: Arc::clone(&counters),
        ..ProcessGauge::default()
    });
    // The overload ladder goes by what it sees.
    let task = vital::spawn("process gauge", watch(Arc::clone(&gauge), counters, reporter));
    (gauge, task)
}

async fn watch(gauge: Arc<ProcessGauge>, counters: Arc<TransportCounters>, reporter: Reporter) {
    // Respects affinity and quotas.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    looks.tick().await;
    let mut before = (Instant::now(), cpu_time());
    loop {
        looks.tick().await;
        let now = (Instant::now(), cpu_time());
        let (passed, used) = (now.0 - before.0, now.1.saturating_sub(before.1));
        before = now;
        let share = used.as_secs_f64() / (passed.as_secs_f64() * cores as f64);
        gauge.cpu_permille.store((share * 1e3) as u32, Ordering::Relaxed);
        reporter.tell(ShardEvent::Process(ProcessRun {
            cpu_ms: u64::try_from(now.1.as_millis()).unwrap_or(u64::MAX),
            cpu_share: share,
            cores,
            rss_bytes: rss_bytes(),
            connections: counters.connections.now(),
            half_open: counters.half_open.now(),
            counters: counts(&counters),
        }));
    }
}

/// Processor time of all threads so far, in user mode and in the kernel.
fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(used.tv_sec).unwrap_or_default(),
        u32::try_from(used.tv_nsec).unwrap_or_default(),
    )
}

/// Memory that the process has in use. `None` where the kernel does not say.
fn rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

fn counts(counters: &TransportCounters) -> std::collections::BTreeMap<String, u64> {
    [
        ("attempts", &counters.attempts),
        ("attempts_refused", &counters.attempts_refused),
        ("half_open_replaced", &counters.half_open_replaced),
        ("packets_over_rate", &counters.packets_over_rate),
        ("handshakes_failed", &counters.handshakes_failed),
        ("handshakes_late", &counters.handshakes_late),
        ("hellos", &counters.hellos),
        ("datagrams_in", &counters.datagrams_in),
        ("datagrams_over_rate", &counters.datagrams_over_rate),
        ("datagrams_inbox_full", &counters.datagrams_inbox_full),
        ("datagrams_out", &counters.datagrams_out),
        ("datagrams_congested", &counters.datagrams_congested),
        ("datagrams_gone", &counters.datagrams_gone),
        ("control_in", &counters.control_in),
        ("control_out", &counters.control_out),
    ]
    .map(|(name, counter)| (name.to_owned(), counter.count()))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some_of_the_machine() {
        let before = cpu_time();
        let mut sum = 0_u64;
        while cpu_time() <= before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(rss_bytes().is_some_and(|bytes| bytes > 1_000_000));
    }
}
