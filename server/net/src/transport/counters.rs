//! The counters of the transport: one atomic per reason, so that what clients do is seen in metrics and not in a flood
//! of log lines.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use everhold_protocol::RefusalCode;

/// A count that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub(crate) fn bump(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts `count` more.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the count so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A count that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicUsize);

impl Gauge {
    /// Returns the count now.
    #[must_use]
    pub fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The duration of something, the last time.
#[derive(Debug, Default)]
pub struct LastTime(AtomicU32);

impl LastTime {
    /// Returns the duration in microseconds.
    #[must_use]
    pub fn micros(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.0.store(micros, Ordering::Relaxed);
    }
}

/// Counts one in a gauge of [`TransportCounters`] until dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard {
    counters: std::sync::Arc<TransportCounters>,
    gauge: fn(&TransportCounters) -> &Gauge,
}

impl GaugeGuard {
    pub(crate) fn new(counters: &std::sync::Arc<TransportCounters>, gauge: fn(&TransportCounters) -> &Gauge) -> Self {
        gauge(counters).0.fetch_add(1, Ordering::Relaxed);
        Self {
            counters: counters.clone(),
            gauge,
        }
    }

    /// Counts one more, unless there are `max`.
    pub(crate) fn below(
        max: usize,
        counters: &std::sync::Arc<TransportCounters>,
        gauge: fn(&TransportCounters) -> &Gauge,
    ) -> Option<Self> {
        let one_more = |now| (now < max).then_some(now + 1);
        let taken = gauge(counters)
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Self {
            counters: counters.clone(),
            gauge,
        })
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        (self.gauge)(&self.counters).0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The counters of a transport, since it was bound.
#[derive(Debug, Default)]
pub struct TransportCounters {
    /// Connections now, those that are being turned away included.
    pub connections: Gauge,
    /// Of these, the ones that have not said a good `Hello` yet.
    pub half_open: Gauge,
    /// The ones that have.
    pub proven: Gauge,
    /// Connection attempts.
    pub attempts: Counter,
    /// Attempts that had to show that their address is their own.
    pub attempts_retried: Counter,
    /// Attempts refused without a word, because the server was full or stopping and many were half-open.
    pub attempts_refused: Counter,
    /// Attempts refused without a word, because their address asks too often or has all its connections.
    pub attempts_over_rate: Counter,
    /// Connections turned away after the handshake, because their address has as many as it may.
    pub connections_over_address: Counter,
    /// Connections that had to go before they said a good `Hello`, because many others came.
    pub half_open_replaced: Counter,
    /// Handshakes that failed: another ALPN or TLS version, or the peer went away.
    pub handshakes_failed: Counter,
    /// Handshakes that were not finished within the login deadline.
    pub handshakes_late: Counter,
    /// Good `Hello` messages.
    pub hellos: Counter,
    /// Datagrams received.
    pub datagrams_in: Counter,
    /// Of these, beyond the peer's rate.
    pub datagrams_over_rate: Counter,
    /// Of these, not bytes of this protocol.
    pub datagrams_malformed: Counter,
    /// Of these, before the connection was bound to a session, or after it was unbound.
    pub datagrams_unbound: Counter,
    /// Of these, of another epoch than the route's.
    pub datagrams_other_epoch: Counter,
    /// Of these, dropped because the zone's inbox was full.
    pub datagrams_inbox_full: Counter,
    /// Datagrams handed to QUIC.
    pub datagrams_out: Counter,
    /// Datagrams for which an older one, still unsent, was dropped.
    pub datagrams_congested: Counter,
    /// Datagrams that were not sent, because the connection is gone or they do not fit its path.
    pub datagrams_gone: Counter,
    /// Datagrams that were not sent, because a net thread is that many ticks behind.
    pub datagrams_overflow: Counter,
    /// The time that the last batch of datagrams took to leave, from when it was left for its thread.
    pub send_lag: LastTime,
    /// UDP packets received. This and the four after it are counted by net threads.
    pub packets_in: Counter,
    /// Their bytes, without IP and UDP headers.
    pub bytes_in: Counter,
    /// UDP packets sent.
    pub packets_out: Counter,
    /// Their bytes, without IP and UDP headers.
    pub bytes_out: Counter,
    /// UDP packets of a connection that sends more of them than it may: they were dropped unread.
    pub packets_over_rate: Counter,
    /// UDP packets that the kernel did not take.
    pub packets_unsent: Counter,
    /// Packets that came out of one net thread's socket and belong to another's connection.
    pub forwarded: Counter,
    /// Of such, those that were lost because the other has too many waiting.
    pub forward_overflow: Counter,
    /// Control messages received.
    pub control_in: Counter,
    /// Of these, beyond the peer's rate.
    pub control_over_rate: Counter,
    /// Control messages queued.
    pub control_out: Counter,
    /// Control messages for which there was no room, because the peer reads too slowly; its connection is closed.
    pub control_overflow: Counter,
    /// Connections that this side closed, by code.
    closed: [Counter; RefusalCode::ALL.len()],
}

impl TransportCounters {
    /// Returns the counter of connections that this side closed with `code`.
    #[must_use]
    pub fn closed(&self, code: RefusalCode) -> &Counter {
        &self.closed[code as usize]
    }
}
