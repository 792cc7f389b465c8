//! A handle of one connection, for whoever serves its player. It queues and never waits; the connection's own tasks do the sending.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use crossbeam::channel::Sender;
use everhold_protocol::message::encode_frame;
use everhold_protocol::{RefusalCode, ServerMessage, SessionId};
use quinn::VarInt;
use tokio::sync::{mpsc, watch};

use super::counters::TransportCounters;
use crate::ingress::{AttachToken, InboxEntry};
use crate::limits::{CONTROL_QUEUE_BYTES_MAX, CONTROL_QUEUE_MESSAGES_MAX};

/// Tokens are unique in this process, whatever the number of transports.
static TOKEN_NEXT: AtomicU64 = AtomicU64::new(1);

/// Where the datagrams of a connection go.
#[derive(Clone, Debug)]
pub struct Route {
    /// The session that the connection speaks for.
    pub session: SessionId,
    /// The owner's epoch; frames of any other are dropped.
    pub epoch: u32,
    /// The zone's inbox. A full one drops the frame; the client repeats it.
    pub inbox: Sender<InboxEntry>,
}

/// How a connection is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    pub(super) code: RefusalCode,
    pub(super) detail: String,
}

/// A cheap handle of one connection. All handles may go; the connection stays until somebody closes it or its peer leaves.
#[derive(Clone, Debug)]
pub struct Conn(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    token: AttachToken,
    quic: quinn::Connection,
    control: mpsc::Sender<Bytes>,
    /// Bytes in `control`.
    control_bytes: AtomicUsize,
    closing: watch::Sender<Option<Closing>>,
    route: Mutex<Option<Route>>,
    ended: AtomicBool,
    counters: Arc<TransportCounters>,
}

/// What the writer task takes from a [`Conn`].
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) control: mpsc::Receiver<Bytes>,
    pub(super) closing: watch::Receiver<Option<Closing>>,
}

impl Conn {
    pub(super) fn new(quic: quinn::Connection, counters: Arc<TransportCounters>) -> (Self, Outgoing) {
        let (control_tx, control_rx) = mpsc::channel(CONTROL_QUEUE_MESSAGES_MAX);
        let (closing_tx, closing_rx) = watch::channel(None);
        let shared = Shared {
            token: AttachToken(TOKEN_NEXT.fetch_add(1, Ordering::Relaxed)),
            quic,
            control: control_tx,
            control_bytes: AtomicUsize::new(0),
            closing: closing_tx,
            route: Mutex::new(None),
            ended: AtomicBool::new(false),
            counters,
        };
        (
            Self(Arc::new(shared)),
            Outgoing {
                control: control_rx,
                closing: closing_rx,
            },
        )
    }

    /// Names this connection in inputs and replies; unique in this process.
    #[must_use]
    pub fn token(&self) -> AttachToken {
        self.0.token
    }

    /// The peer's address now. It changes when the peer moves to another network.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.0.quic.remote_address()
    }

    /// Queues a datagram. `false`, and counted, if one was lost: the oldest unsent one if the path is congested (this one is queued,
    /// for a newer snapshot supersedes an older one), or this one if the connection is gone or the datagram does not fit its path.
    pub fn send_datagram(&self, bytes: Bytes) -> bool {
        let counters = &self.0.counters;
        let roomy = self.0.quic.datagram_send_buffer_space() >= bytes.len();
        if self.ended() || self.0.quic.send_datagram(bytes).is_err() {
            counters.datagrams_gone.bump();
            return false;
        }
        counters.datagrams_out.bump();
        if !roomy {
            counters.datagrams_congested.bump();
        }
        roomy
    }

    /// Queues a control message. `false` if it is not: the connection is closing, or its peer reads so slowly that there is no room. Then
    /// it is counted, and the connection is closed at once with [`RefusalCode::RateExceeded`]: a stream with a hole is worse than none.
    pub fn send_control(&self, message: &ServerMessage) -> bool {
        if self.ended() {
            return false;
        }
        let frame = match encode_frame(message) {
            Ok(frame) => Bytes::from(frame),
            Err(e) => {
                tracing::error!(error = %e, "a control message of this server cannot be sent");
                self.abort(RefusalCode::Internal, "a message to this client cannot be sent");
                return false;
            }
        };
        let len = frame.len();
        let queued = self.0.control_bytes.fetch_add(len, Ordering::Relaxed) + len;
        if queued <= CONTROL_QUEUE_BYTES_MAX && self.0.control.try_send(frame).is_ok() {
            self.0.counters.control_out.bump();
            return true;
        }
        if !self.ended() {
            self.0.counters.control_overflow.bump();
            self.abort(RefusalCode::RateExceeded, "control messages are read too slowly");
        }
        false
    }

    /// From now on, decoded input frames go to this route.
    pub fn bind(&self, route: Route) {
        *self.route_slot() = Some(route);
    }

    /// Input frames go nowhere again, and are counted.
    pub fn unbind(&self) {
        *self.route_slot() = None;
    }

    /// Ends the connection, after what is queued and a last message with the reason: `Superseded` for that code, none for `Bye`,
    /// `Refused` for every other. A peer that does not acknowledge it in [`crate::limits::CLOSE_MS_MAX`] is closed regardless.
    /// The first reason given is the one that counts. The peer's datagrams are dropped from now on.
    pub fn close(&self, code: RefusalCode, detail: &str) {
        if self.end(code, detail) {
            self.0.closing.send_replace(Some(Closing {
                code,
                detail: detail.to_owned(),
            }));
        }
    }

    /// Ends the connection at once, without a last message: for a peer that would not read it.
    pub(super) fn abort(&self, code: RefusalCode, detail: &str) {
        if self.end(code, detail) {
            self.0.quic.close(VarInt::from_u32(code.code()), detail.as_bytes());
        }
    }

    /// The connection is over; its handles say `false` from now on.
    pub(super) fn set_ended(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has ended it, or it is over.
    pub(super) fn ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// A frame of the queue is on its way.
    pub(super) fn note_dequeued(&self, bytes: usize) {
        self.0.control_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn quic(&self) -> &quinn::Connection {
        &self.0.quic
    }

    pub(super) fn counters(&self) -> &TransportCounters {
        &self.0.counters
    }

    pub(super) fn route_slot(&self) -> MutexGuard<'_, Option<Route>> {
        // A route is replaced whole, so a panic while it was held cannot have left half of one.
        self.0.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `true` for whoever is first.
    fn end(&self, code: RefusalCode, detail: &str) -> bool {
        let first = !self.0.ended.swap(true, Ordering::Relaxed);
        if first {
            self.0.counters.closed(code).bump();
            tracing::debug!(remote = %self.remote(), ?code, detail, "closing a connection");
        }
        first
    }
}
