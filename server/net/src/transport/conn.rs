//! A handle of one connection, for the shard and its zones. It queues and never waits; the carrier of the connection
//! does the sending.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use crossbeam::channel::{Sender, TrySendError};
use everhold_core::ingress::{AttachToken, InboxEntry};
use everhold_core::limits::{CONTROL_QUEUE_BYTES_MAX, CONTROL_QUEUE_MESSAGES_MAX};
use everhold_protocol::message::encode_frame;
use everhold_protocol::{Epoch, ReceivedFrame, RefusalCode, ServerMessage, SessionId};

use super::counters::TransportCounters;
use super::mailbox::{LinkKey, Mailbox};

/// The next token. Tokens are unique in this process, whatever the number of transports.
static TOKEN_NEXT: AtomicU64 = AtomicU64::new(1);

/// The destination of a connection's datagrams.
#[derive(Clone, Debug)]
pub struct Route {
    /// The session that the connection speaks for.
    pub session: SessionId,
    /// The owner's epoch; frames of any other are dropped.
    pub epoch: Epoch,
    /// The zone's inbox. A full one drops the frame; the client repeats it.
    pub inbox: Sender<InboxEntry>,
}

/// An order to end a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    pub(super) code: RefusalCode,
    pub(super) detail: String,
    pub(super) manner: Manner,
}

/// The moment at which the connection closes, and whether a last message precedes that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// After what is queued, and a last message with the reason.
    LastWords,
    /// Now: the peer would not read it.
    AtOnce,
    /// After what is queued, by the peer itself; it is closed if it stays.
    Expected,
}

impl Closing {
    /// Returns the last message, framed; empty if there is none.
    pub(super) fn farewell(&self) -> Bytes {
        let message = match (self.manner, self.code) {
            (Manner::AtOnce | Manner::Expected, _) | (_, RefusalCode::Bye) => None,
            (_, RefusalCode::Superseded) => Some(ServerMessage::Superseded),
            (_, code) => Some(ServerMessage::Refused {
                code,
                detail: self.detail.clone(),
            }),
        };
        let frame = message.and_then(|message| encode_frame(&message).ok());
        frame.unwrap_or_default().into()
    }
}

/// A cheap handle of one connection. It outlives all its handles: it stays until one closes it or its peer leaves.
#[derive(Clone, Debug)]
pub struct Conn {
    shared: Arc<SharedConn>,
    pub(super) carrier: Carrier,
}

/// The carrier of a connection.
#[derive(Clone, Debug)]
pub(super) enum Carrier {
    /// A net thread, by its mailbox; the connection has this key there.
    Net(Arc<Mailbox>, LinkKey),
    /// Tasks of the reference transport.
    #[cfg(feature = "testing")]
    Reference(Arc<super::reference::line::Line>),
}

#[derive(Debug)]
struct SharedConn {
    token: AttachToken,
    remote: Mutex<SocketAddr>,
    ended: AtomicBool,
    outbox: Mutex<Outbox>,
    counters: Arc<TransportCounters>,
}

/// Messages and orders of the handles, for the carrier.
#[derive(Debug, Default)]
struct Outbox {
    frames: VecDeque<Bytes>,
    /// Bytes in `frames`.
    bytes: usize,
    closing: Option<Closing>,
    route: Option<Route>,
    /// Whether the route is another than the carrier knows.
    rebound: bool,
    /// Whether the carrier was told that there is something, and has not taken it yet.
    is_ready: bool,
}

/// Orders to a carrier, besides the frames.
#[derive(Debug)]
pub(super) struct Orders {
    /// Set if the route has changed.
    pub(super) rebound: Option<Option<Route>>,
    pub(super) closing: Option<Closing>,
}

impl Conn {
    pub(super) fn new(carrier: Carrier, remote: SocketAddr, counters: Arc<TransportCounters>) -> Self {
        let shared = SharedConn {
            token: AttachToken(TOKEN_NEXT.fetch_add(1, Ordering::Relaxed)),
            remote: Mutex::new(remote),
            ended: AtomicBool::new(false),
            outbox: Mutex::default(),
            counters,
        };
        Self {
            shared: Arc::new(shared),
            carrier,
        }
    }

    /// Returns the name of this connection in inputs and replies; unique in this process.
    #[must_use]
    pub fn token(&self) -> AttachToken {
        self.shared.token
    }

    /// Returns the peer's address. It changes when the peer moves to another network.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        #[cfg(feature = "testing")]
        if let Carrier::Reference(line) = &self.carrier {
            return line.remote();
        }
        *self.shared.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a control message. `false` if it is not: the connection is closing, or its peer reads so slowly that
    /// there is no room. Then it is counted, and the connection is closed at once with [`RefusalCode::RateExceeded`]: a
    /// stream with a hole is worse than none.
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
        if self.order(|outbox| outbox.push(frame)) {
            self.shared.counters.control_out.bump();
            return true;
        }
        if !self.ended() {
            self.shared.counters.control_overflow.bump();
            self.abort(RefusalCode::RateExceeded, "control messages are read too slowly");
        }
        false
    }

    /// Sends decoded input frames to this route from now on.
    pub fn bind(&self, route: Route) {
        self.order(|outbox| outbox.set_route(Some(route)));
    }

    /// Drops and counts input frames from now on.
    pub fn unbind(&self) {
        self.order(|outbox| outbox.set_route(None));
    }

    /// Ends the connection, after what is queued and a last message with the reason: `Superseded` for that code, none
    /// for `Bye`, `Refused` for every other. A peer that does not acknowledge it in
    /// [`everhold_core::limits::CLOSE_MS_MAX`] is closed regardless. The first reason given is the one that counts. The
    /// peer's datagrams are dropped from now on.
    pub fn close(&self, code: RefusalCode, detail: &str) {
        self.end(code, detail, Manner::LastWords);
    }

    /// Sends a message after which there is nothing more to say here. The peer, which knows where to go, closes the
    /// connection; if it stays, it is closed after [`everhold_core::limits::CLOSE_MS_MAX`].
    pub fn send_away(&self, message: &ServerMessage) {
        if self.send_control(message) {
            self.end(RefusalCode::Bye, "served elsewhere", Manner::Expected);
        }
    }

    /// Ends the connection at once, without a last message: for a peer that would not read it.
    pub(super) fn abort(&self, code: RefusalCode, detail: &str) {
        self.end(code, detail, Manner::AtOnce);
    }

    /// Marks the connection as over; its handles answer `false` from now on.
    pub(super) fn set_ended(&self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }

    /// Whether a handle has ended it, or it is over.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// Notes the peer's new address.
    pub(super) fn set_remote(&self, remote: SocketAddr) {
        *self.shared.remote.lock().unwrap_or_else(PoisonError::into_inner) = remote;
    }

    /// Takes the next frame to send, in order.
    pub(super) fn next_frame(&self) -> Option<Bytes> {
        let mut outbox = self.outbox();
        let frame = outbox.frames.pop_front()?;
        outbox.bytes -= frame.len();
        Some(frame)
    }

    /// Takes what the handles want since the last time. They tell the carrier again if there is more.
    pub(super) fn take_orders(&self) -> Orders {
        let mut outbox = self.outbox();
        outbox.is_ready = false;
        let rebound = std::mem::take(&mut outbox.rebound);
        Orders {
            rebound: rebound.then(|| outbox.route.clone()),
            closing: outbox.closing.take(),
        }
    }

    /// Whether the connection is bound to a session.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.outbox().route.is_some()
    }

    /// Returns the route.
    #[cfg(feature = "testing")]
    pub(super) fn route(&self) -> Option<Route> {
        self.outbox().route.clone()
    }

    /// Removes the route. Returns the session that the connection was bound to.
    pub(super) fn take_session(&self) -> Option<SessionId> {
        self.outbox().route.take().map(|route| route.session)
    }

    #[cfg(feature = "testing")]
    pub(super) fn counters(&self) -> &TransportCounters {
        &self.shared.counters
    }

    fn end(&self, code: RefusalCode, detail: &str, manner: Manner) {
        if self.shared.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        self.shared.counters.closed(code).bump();
        tracing::debug!(remote = %self.remote(), ?code, detail, "closing a connection");
        let detail = detail.to_owned();
        self.order(|outbox| outbox.closing = Some(Closing { code, detail, manner }));
    }

    /// Leaves something in the outbox, and tells the carrier unless it was told already.
    fn order<T>(&self, leave: impl FnOnce(&mut Outbox) -> T) -> T {
        let mut outbox = self.outbox();
        let left = leave(&mut outbox);
        let was_ready = std::mem::replace(&mut outbox.is_ready, true);
        drop(outbox);
        if !was_ready {
            match &self.carrier {
                Carrier::Net(mailbox, key) => mailbox.mark_ready(*key),
                #[cfg(feature = "testing")]
                Carrier::Reference(line) => line.wake(),
            }
        }
        left
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // Every change of it is whole before anything can panic.
        self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    /// Queues a frame. `false`: there is no room.
    fn push(&mut self, frame: Bytes) -> bool {
        let bytes = self.bytes + frame.len();
        let fits = bytes <= CONTROL_QUEUE_BYTES_MAX && self.frames.len() < CONTROL_QUEUE_MESSAGES_MAX;
        if fits {
            self.bytes = bytes;
            self.frames.push_back(frame);
        }
        fits
    }

    fn set_route(&mut self, route: Option<Route>) {
        self.route = route;
        self.rebound = true;
    }
}

/// Puts a frame into its zone's inbox, or counts why not.
pub(super) fn pass_on(frame: ReceivedFrame, route: Option<&Route>, token: AttachToken, counters: &TransportCounters) {
    let Some(route) = route else {
        return counters.datagrams_unbound.bump();
    };
    if frame.epoch != route.epoch {
        return counters.datagrams_other_epoch.bump();
    }
    let session = route.session;
    match route.inbox.try_send(InboxEntry::Frame { session, token, frame }) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => counters.datagrams_inbox_full.bump(),
        // The zone is gone; the shard will bind anew or close.
        Err(TrySendError::Disconnected(_)) => counters.datagrams_unbound.bump(),
    }
}
