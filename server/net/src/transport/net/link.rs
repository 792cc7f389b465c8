//! One connection: its QUIC state, how far it is, and how it ends. It touches no socket.
//!
//! ```text
//!             handshake        stream         good Hello        close, abort            acknowledged, or late
//! Handshaking ────────► Opening ────► Greeting ────────► Playing ────────► Parting ─────────────────────────► Over
//!      └──────────────────┴──── lost, or late ─┴──────────────┴───────────────┴────────────────────────────────┘
//! ```

mod control;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use everhold_core::ingress::Refusal;
use everhold_core::ingress::rate::{RateGuard, RateVerdict};
use everhold_core::limits::CLOSE_MS_MAX;
use everhold_protocol::RefusalCode;
use quinn_proto::{Connection, ConnectionHandle, Dir, Endpoint, Event, StreamEvent, StreamId, VarInt};

use super::pending::PendingEvents;
use crate::transport::ConnEvent;
use crate::transport::conn::{Carrier, Closing, Conn, Manner, Route, pass_on};
use crate::transport::intake::Intake;
use crate::transport::mailbox::{LinkKey, Mailbox};
use crate::transport::shared::{self, AddressPlace, Slots, TransportShared};

/// Control bytes that leave at once on any path. While more are on their way, a connection is served at each packet,
/// for acknowledgements let the rest out.
const TALK_BYTES: usize = 8 * 1024;
/// Time after its last control message until a connection counts as quiet.
const TALK: Duration = Duration::from_millis(100);

/// The context in which links are driven: the moment, and what they share.
pub(super) struct LinkContext<'a> {
    pub(super) now: Instant,
    pub(super) shared: &'a Arc<TransportShared>,
    pub(super) mailbox: &'a Arc<Mailbox>,
    pub(super) endpoint: &'a mut Endpoint,
}

/// The status of a link after it was driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkStatus {
    Lives,
    /// QUIC has forgotten it; its place is free.
    Drained,
}

/// The stage of a connection; see the diagram above.
#[derive(Debug)]
enum LinkStage {
    Handshaking,
    /// The client has not opened its control stream.
    Opening,
    Greeting,
    Playing,
    /// Until the last words are acknowledged, or this moment.
    Parting(Closing, Instant, Farewell),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// The messages that were queued before it are still being written.
    Unsaid,
    /// It is being written.
    Saying,
    /// The stream is finished.
    Said,
    /// There is none: the peer ends the connection by itself.
    Omitted,
}

/// As what a link is counted for its network, for [`crate::transport::half_open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// A connection that has not logged in.
    Stranger,
    /// A connection that has logged in.
    Player,
    /// A connection that ended before it logged in; QUIC keeps it for late packets.
    Nothing,
}

pub(super) struct Link {
    pub(super) key: LinkKey,
    pub(super) connection: Connection,
    /// Whether it is in the list of links that are served at once.
    pub(super) is_urgent: bool,
    /// Whether something was written and not sent yet.
    pub(super) has_to_send: bool,
    /// Whether it is in the list of links with events that are not sent yet.
    pub(super) is_stalled: bool,
    /// The address of its first packet, wherever it may have moved.
    pub(super) origin: IpAddr,
    /// As what it is counted in [`super::super::half_open`].
    pub(super) counted: Counted,
    stage: LinkStage,
    remote: SocketAddr,
    /// Whether its `Hello` was verified, and there was a place for it.
    is_proven: bool,
    login_deadline: Instant,
    /// The refusal that it was accepted for, if it is not let in.
    turn_away: Option<Refusal>,
    packets: RateGuard,
    pending: PendingEvents,
    conn: Option<Conn>,
    route: Option<Route>,
    intake: Intake,
    control: Option<StreamId>,
    is_readable: bool,
    /// The rest of the frame that is being written: the stream has not taken it.
    writing: Bytes,
    /// The time at which something was last written, and how many bytes since it was quiet.
    talked: Option<(Instant, usize)>,
}

impl Link {
    pub(super) fn new(
        key: LinkKey,
        connection: Connection,
        slots: Slots,
        turn_away: Option<RefusalCode>,
        now: Instant,
        shared: &TransportShared,
    ) -> Self {
        let config = &shared.config;
        let packets_per_s = config.packets_per_s;
        let since_start = now.duration_since(shared.started);
        Self {
            key,
            remote: connection.remote_address(),
            origin: connection.remote_address().ip(),
            connection,
            is_urgent: false,
            has_to_send: false,
            is_stalled: false,
            counted: Counted::Stranger,
            stage: LinkStage::Handshaking,
            is_proven: false,
            login_deadline: now + config.login_deadline,
            turn_away: turn_away.map(|code| Refusal::new(code, code.to_string())),
            packets: RateGuard::new(packets_per_s, packets_per_s, config.rate_excess_s, since_start),
            pending: PendingEvents {
                slots: Some(slots),
                ..PendingEvents::default()
            },
            conn: None,
            route: None,
            intake: Intake::new(),
            control: None,
            is_readable: false,
            writing: Bytes::new(),
            talked: None,
        }
    }

    /// Takes everything out of the connection that its state machine has to say, until it is quiet.
    pub(super) fn drive(&mut self, context: &mut LinkContext<'_>) -> LinkStatus {
        let handle = ConnectionHandle(self.key.slot as usize);
        while let Some(event) = self.connection.poll_endpoint_events() {
            let is_drained = event.is_drained();
            if let Some(answer) = context.endpoint.handle_event(handle, event) {
                self.connection.handle_event(answer);
            }
            if is_drained {
                // Its last event may still wait: a time-out drains at once.
                self.poll_events(context);
                self.end(context.shared);
                return LinkStatus::Drained;
            }
        }
        self.poll_events(context);
        if self.is_readable {
            self.read_control(context);
        }
        self.read_datagrams(context);
        LinkStatus::Lives
    }

    /// Does what the connection's handles have ordered.
    pub(super) fn answer(&mut self, context: &mut LinkContext<'_>) {
        let Some(conn) = &self.conn else { return };
        let orders = conn.take_orders();
        if let Some(route) = orders.rebound {
            self.route = route;
        }
        if let Some(closing) = orders.closing
            && !matches!(self.stage, LinkStage::Over)
        {
            self.route = None;
            if closing.manner == Manner::AtOnce || self.control.is_none() {
                return self.hang_up(&closing, context);
            }
            let until = context.now + Duration::from_millis(CLOSE_MS_MAX);
            let farewell = match closing.manner {
                Manner::Expected => Farewell::Omitted,
                Manner::LastWords | Manner::AtOnce => Farewell::Unsaid,
            };
            self.stage = LinkStage::Parting(closing, until, farewell);
        }
        self.write_control(context);
    }

    /// Ends the stage whose deadline is over.
    pub(super) fn check_deadline(&mut self, context: &mut LinkContext<'_>) {
        if self.deadline().is_none_or(|due| due > context.now) {
            return;
        }
        match (&self.stage, &self.conn) {
            (LinkStage::Handshaking, _) => {
                context.shared.counters.handshakes_late.bump();
                self.connection.close(context.now, VarInt::from_u32(0), Bytes::new());
                self.end(context.shared);
            }
            (LinkStage::Opening, Some(conn)) => {
                let detail = "no control stream within the login deadline";
                let late = Refusal::new(RefusalCode::LoginTimeout, detail);
                let refusal = self.turn_away.take().unwrap_or(late);
                conn.abort(refusal.code, &refusal.detail);
            }
            (LinkStage::Greeting, Some(conn)) => {
                conn.close(RefusalCode::LoginTimeout, "no Hello within the login deadline");
            }
            (LinkStage::Parting(closing, ..), _) => {
                tracing::debug!(remote = %self.remote, "the peer did not take the last words");
                let closing = closing.clone();
                self.hang_up(&closing, context);
            }
            _ => {}
        }
    }

    /// Returns when it must be served, whatever its peer does.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            LinkStage::Handshaking | LinkStage::Opening | LinkStage::Greeting => Some(self.login_deadline),
            LinkStage::Parting(_, until, _) => Some(*until),
            LinkStage::Playing | LinkStage::Over => None,
        }
    }

    /// Whether what it has to send cannot wait for its next datagram.
    pub(super) fn is_hasty(&self, now: Instant) -> bool {
        match self.stage {
            LinkStage::Playing => self
                .talked
                .is_some_and(|(at, bytes)| bytes > TALK_BYTES && now.duration_since(at) < TALK),
            _ => true,
        }
    }

    /// Whether its player is logged in, and may be shown something.
    pub(super) fn is_playing(&self) -> bool {
        matches!(self.stage, LinkStage::Playing)
    }

    /// Whether the connection has ended, and is kept for late packets and for what its shard has not heard.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.stage, LinkStage::Over)
    }

    /// Whether its peer has proven to be a player.
    pub(super) const fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Judges a packet before anything is done with it. `false`: it is to be dropped.
    pub(super) fn rate_packet(&mut self, context: &mut LinkContext<'_>) -> bool {
        match (
            self.packets.judge(context.now.duration_since(context.shared.started)),
            &self.conn,
        ) {
            (RateVerdict::Take, _) => return true,
            (RateVerdict::Drop, _) => {}
            (RateVerdict::Close, Some(conn)) => conn.close(RefusalCode::RateExceeded, "too many packets for too long"),
            (RateVerdict::Close, None) => self.shut(RefusalCode::RateExceeded, context),
        }
        context.shared.counters.packets_over_rate.bump();
        false
    }

    /// Whether it has events that are not sent yet.
    pub(super) fn has_pending_events(&self) -> bool {
        !self.pending.events.is_empty()
    }

    /// Sends the events for which the shard has room. Returns whether some are left; if not, the link is to be driven,
    /// for it reads on.
    pub(super) fn send_pending(&mut self, shared: &TransportShared) -> bool {
        let is_left = self.pending.send(shared);
        if !is_left && matches!(self.stage, LinkStage::Over) {
            self.pending = PendingEvents::default();
        }
        is_left
    }

    /// Returns what outlives the connection when QUIC has forgotten it.
    pub(super) fn into_pending(self) -> PendingEvents {
        self.pending
    }

    /// Notes the address that a packet came from.
    pub(super) fn note_remote(&mut self, from: SocketAddr) {
        if from == self.remote {
            return;
        }
        // The packet may have been forged; QUIC knows whom it believes.
        self.remote = self.connection.remote_address();
        if let Some(conn) = &self.conn {
            conn.set_remote(self.remote);
        }
    }

    /// Closes the connection at once, whatever its stage.
    pub(super) fn shut(&mut self, code: RefusalCode, context: &mut LinkContext<'_>) {
        self.connection
            .close(context.now, VarInt::from_u32(code.code()), Bytes::new());
        self.end(context.shared);
    }

    fn poll_events(&mut self, context: &mut LinkContext<'_>) {
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => self.on_connected(context),
                Event::ConnectionLost { reason } => {
                    if matches!(self.stage, LinkStage::Handshaking) {
                        context.shared.counters.handshakes_failed.bump();
                        tracing::debug!(error = %reason, "a handshake failed");
                    }
                    self.end(context.shared);
                }
                Event::Stream(StreamEvent::Opened { dir: Dir::Bi }) => self.on_opened(),
                Event::Stream(StreamEvent::Readable { id }) if Some(id) == self.control => self.is_readable = true,
                Event::Stream(StreamEvent::Writable { .. }) => self.write_control(context),
                Event::Stream(StreamEvent::Finished { .. } | StreamEvent::Stopped { .. }) => self.on_heard(context),
                Event::Stream(_) | Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {}
            }
        }
    }

    fn on_connected(&mut self, context: &mut LinkContext<'_>) {
        // The handshake has proven the address. The place is kept to the connection's end, wherever its peer may move.
        let Some(place) = AddressPlace::take(context.shared, self.remote.ip()) else {
            context.shared.counters.connections_over_address.bump();
            let detail = Bytes::from_static(b"too many connections from this address");
            let code = RefusalCode::Full.code();
            self.connection.close(context.now, VarInt::from_u32(code), detail);
            return self.end(context.shared);
        };
        self.pending.place = Some(place);
        let carrier = Carrier::Net(Arc::clone(context.mailbox), self.key);
        let conn = Conn::new(carrier, self.remote, Arc::clone(&context.shared.counters));
        self.stage = LinkStage::Opening;
        if self.turn_away.is_none() {
            self.turn_away = shared::refuse_datagrams(self.connection.datagrams().max_size());
        }
        self.conn = Some(conn);
    }

    /// Reads the datagrams that have come. None is kept for later: a datagram pins the packet that it came in, however
    /// small it is itself.
    fn read_datagrams(&mut self, context: &LinkContext<'_>) {
        let is_heard = matches!(self.stage, LinkStage::Playing) && self.pending.events.is_empty();
        let Some(conn) = self.conn.as_ref().filter(|_| is_heard) else {
            while self.connection.datagrams().recv().is_some() {
                context.shared.counters.datagrams_unbound.bump();
            }
            return;
        };
        let now = context.now.duration_since(context.shared.started);
        let policy = context.shared.policy(now);
        while let Some(bytes) = self.connection.datagrams().recv() {
            match self.intake.datagram(&bytes, &policy) {
                Ok(Some(frame)) => pass_on(frame, self.route.as_ref(), conn.token(), policy.counters),
                Ok(None) => {}
                Err(refusal) => return conn.close(refusal.code, &refusal.detail),
            }
        }
    }

    fn hang_up(&mut self, closing: &Closing, context: &mut LinkContext<'_>) {
        let detail = Bytes::copy_from_slice(closing.detail.as_bytes());
        let code = VarInt::from_u32(closing.code.code());
        self.connection.close(context.now, code, detail);
        self.end(context.shared);
    }

    /// Marks the connection as over, for its handles and, if it had logged in, for its shard.
    fn end(&mut self, shared: &TransportShared) {
        let was = std::mem::replace(&mut self.stage, LinkStage::Over);
        if matches!(was, LinkStage::Over) {
            return;
        }
        self.route = None;
        if let Some(conn) = self.conn.take() {
            conn.set_ended();
            let session = conn.take_session();
            if self.intake.is_logged_in() {
                let token = conn.token();
                self.pending.events.push_back(ConnEvent::Closed { token, session });
            }
        }
        if !self.pending.send(shared) {
            self.pending = PendingEvents::default();
        }
    }
}
