//! Writes the report of a shard for the process that started it: one JSON object a line, on standard output. `everhold
//! demo` reads it, and so can a script.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, bounded};
use everhold_core::outage::{Lasted, Outage};
use everhold_core::report::ShardEvent;
use hdrhistogram::Histogram;

/// A histogram's recorded buckets, for [`everhold_core::report::ZoneRun`].
#[must_use]
pub fn buckets(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram
        .iter_recorded()
        .map(|v| (v.value_iterated_to(), v.count_at_value()))
        .collect()
}

/// Lines that wait for a slow reader. Beyond it runs are left out, for the next one says more.
const LINES_MAX: usize = 1_024;

/// At its end a shard waits this long for its last lines to be read.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The way to the report. Cheap to clone. A thread of its own writes the lines, so that a reader that stops reading
/// holds nothing up.
#[derive(Clone)]
pub struct Reporter(Option<Lines>);

#[derive(Clone)]
struct Lines {
    queue: Sender<ReportLine>,
    unread: Arc<Mutex<Outage>>,
}

enum ReportLine {
    Event(Box<ShardEvent>),
    Flush(Sender<()>),
}

impl Reporter {
    /// Says nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self(None)
    }

    /// Writes to `out`, on a thread that it starts.
    pub fn to(mut out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (lines, queue) = bounded(LINES_MAX);
        std::thread::Builder::new().name("report".to_owned()).spawn(move || {
            for line in queue {
                match line {
                    ReportLine::Event(event) => write_line(&mut out, &event),
                    // Whoever asked may have stopped waiting.
                    ReportLine::Flush(done) => drop(done.send(())),
                }
            }
        })?;
        let unread = Arc::default();
        Ok(Self(Some(Lines { queue: lines, unread })))
    }

    /// Queues one line; never waits.
    pub fn tell(&self, event: ShardEvent) {
        let Some(lines) = &self.0 else { return };
        let queued = lines.queue.try_send(ReportLine::Event(Box::new(event))).is_ok();
        let mut unread = lines.unread.lock().unwrap_or_else(PoisonError::into_inner);
        if queued {
            if let Some(Lasted { ms, failures }) = unread.end(Instant::now()) {
                tracing::warn!(ms, left_out = failures, "this shard's report is read again");
            }
        } else if let Some(Lasted { ms, failures }) = unread.note(Instant::now()) {
            tracing::warn!(
                ms,
                left_out = failures,
                "nobody reads this shard's report: lines are left out"
            );
        }
    }

    /// Waits, not for long, until everything told before is written.
    pub fn flush(&self) {
        let Some(lines) = &self.0 else { return };
        let deadline = Instant::now() + FLUSH_MAX;
        let (done, written) = bounded(1);
        if lines.queue.send_deadline(ReportLine::Flush(done), deadline).is_ok() {
            let _too_slow = written.recv_deadline(deadline);
        }
    }
}

/// A reader that is gone is no reason for a shard to stop, so a failed write is only logged.
fn write_line(out: &mut impl Write, event: &ShardEvent) {
    let mut line = serde_json::to_vec(event).expect("a shard event has no map with non-string keys");
    line.push(b'\n');
    if let Err(error) = out.write_all(&line).and_then(|()| out.flush()) {
        tracing::debug!(%error, "nobody reads this shard's report");
    }
}
