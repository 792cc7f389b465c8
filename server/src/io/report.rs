//! What a shard tells whoever started it: one JSON object a line, on standard output. `everhold demo` reads it, and so can a script.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use everhold_protocol::{Tick, ZoneName};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// One line. Moments are milliseconds of `CLOCK_BOOTTIME`, which all processes of a host share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ShardEvent {
    /// Players may connect.
    Serving {
        /// Where.
        addr: SocketAddr,
        /// The process.
        nonce: u64,
    },
    /// A zone is owned and restored; its first tick follows.
    Adopted {
        /// Which.
        zone: ZoneName,
        /// Under which epoch.
        epoch: u32,
        /// The last tick of the history that it took over.
        last_tick: Tick,
        /// When the authority granted it.
        granted_at_ms: f64,
        /// From the grant to the first tick.
        adopt_ms: f64,
        /// Records replayed on top of the checkpoint.
        replayed_ticks: u64,
        /// Digests compared on the way.
        checked_digests: u64,
        /// Whether all of them were equal.
        digest_equal: bool,
    },
    /// How a zone has run under this epoch so far; once a second.
    Stats(ZoneRun),
    /// The zone is over here: somebody else holds it, or the lease is gone.
    Ended {
        /// Which.
        zone: ZoneName,
        /// Under which epoch.
        epoch: u32,
        /// Why.
        reason: String,
        /// The last tick whose output left this process.
        released_tick: Tick,
    },
    /// The process stops in good order.
    Stopped,
}

/// A zone's run under one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZoneRun {
    /// Which.
    pub zone: ZoneName,
    /// Under which epoch.
    pub epoch: u32,
    /// Ticks stepped.
    pub ticks: u64,
    /// The newest tick.
    pub tick: Tick,
    /// The newest tick whose output may leave.
    pub released_tick: Tick,
    /// Since the first tick.
    pub seconds: f64,
    /// Attached sessions.
    pub players: u32,
    /// Work of a tick (without waiting for the next): `(µs, how often)`.
    pub tick_us: Vec<(u64, u64)>,
    /// From a record's append to its acknowledgement: `(µs, how often)`.
    pub append_us: Vec<(u64, u64)>,
}

/// A histogram's recorded buckets, for [`ZoneRun`].
#[must_use]
pub fn buckets(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram
        .iter_recorded()
        .map(|v| (v.value_iterated_to(), v.count_at_value()))
        .collect()
}

/// Where the lines go. Cheap to clone.
#[derive(Clone)]
pub struct Reporter(Option<Arc<Mutex<dyn Write + Send>>>);

impl Reporter {
    /// Says nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self(None)
    }

    /// Writes to `out`.
    pub fn to(out: impl Write + Send + 'static) -> Self {
        Self(Some(Arc::new(Mutex::new(out))))
    }

    /// Writes one line. A reader that is gone is no reason for a shard to stop, so a failed write is only logged.
    pub fn tell(&self, event: &ShardEvent) {
        let Some(out) = &self.0 else { return };
        let mut line = serde_json::to_vec(event).expect("a shard event has no map with non-string keys");
        line.push(b'\n');
        let mut out = out.lock().expect("no writer panics while it holds the lock");
        if let Err(error) = out.write_all(&line).and_then(|()| out.flush()) {
            tracing::debug!(%error, "nobody reads this shard's report");
        }
    }
}
