//! The line by which the handles of a connection reach it in the reference transport. It carries nothing by itself.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::transport::counters::TransportCounters;

/// A connection of the reference transport, as its handles and its tasks share it.
#[derive(Debug)]
pub(in crate::transport) struct Line {
    pub(super) quic: quinn::Connection,
    /// Wakes the writer.
    pub(super) waker: Notify,
}

impl Line {
    /// Wakes the writer: something was left in the connection's outbox.
    pub(in crate::transport) fn wake(&self) {
        self.waker.notify_one();
    }

    /// Returns the peer's address now.
    pub(in crate::transport) fn remote(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// Queues a datagram; one that does not get through, for one because the connection is closing, is counted.
    pub(in crate::transport) fn send_datagram(&self, bytes: Bytes, is_closing: bool, counters: &TransportCounters) {
        let is_roomy = self.quic.datagram_send_buffer_space() >= bytes.len();
        if is_closing || self.quic.send_datagram(bytes).is_err() {
            return counters.datagrams_gone.bump();
        }
        counters.datagrams_out.bump();
        if !is_roomy {
            counters.datagrams_congested.bump();
        }
    }
}
