//! Egress: what the gate has released goes to the connections it is for. Nothing else in a host talks to players.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crossbeam::channel::{Sender, TrySendError};
use everhold_core::durability::gate::Released;
use everhold_core::ingress::inbox::{Asked, InboxEntry};
use everhold_core::ingress::{AttachToken, Input};
use everhold_core::load::Residents;
use everhold_core::replication::Datagrams;
use everhold_core::zone::{Outputs, Reply};
use everhold_net::transport::{Conn, DatagramBatch, Route};
use everhold_protocol::hash::BuildIdHasher;
use everhold_protocol::{Epoch, OwnState, RefusalCode, SeqEvent, ServerMessage, SessionId, Tick, ZoneName};

/// A connection whose `Join` or `Resume` is on its way through the zone.
pub struct PendingAttach {
    /// The connection that asked.
    pub(super) conn: Conn,
    /// The secret that the reply carries; its hash is in the input.
    secret: [u8; 32],
    /// Its player has ended the session already.
    logs_out: bool,
    asked: Asked,
}

impl PendingAttach {
    /// `logs_out`: its player has ended the session already, and is logged out as soon as it is attached.
    #[must_use]
    pub fn new(conn: Conn, secret: [u8; 32], logs_out: bool) -> Self {
        let asked = Asked::default();
        Self {
            conn,
            secret,
            logs_out,
            asked,
        }
    }

    /// Returns the entry for the zone's inbox.
    pub(super) fn entry(&self, input: Input) -> InboxEntry {
        let asked = self.asked.clone();
        InboxEntry::Attach { input, asked }
    }
}

/// The zone's connections.
pub(super) struct Egress {
    zone: ZoneName,
    tick_hz: u16,
    entries: Sender<InboxEntry>,
    residents: Arc<Mutex<Residents>>,
    pending: HashMap<AttachToken, PendingAttach>,
    /// Looked up for every datagram.
    attached: HashMap<SessionId, Conn, BuildIdHasher>,
    sessions: HashMap<AttachToken, SessionId>,
    /// The other shards, as the players were last told.
    peers: Vec<SocketAddr>,
    /// The `Detach`es and `Logout`s that the inbox has not taken yet.
    leaving: Vec<Input>,
}

impl Egress {
    /// `entries` is where the frames of attached connections go; `residents` is kept up to date with what is released.
    pub(super) fn new(
        zone: ZoneName,
        tick_hz: u16,
        entries: Sender<InboxEntry>,
        residents: Arc<Mutex<Residents>>,
    ) -> Self {
        Self {
            zone,
            tick_hz,
            entries,
            residents,
            pending: HashMap::new(),
            attached: HashMap::default(),
            sessions: HashMap::new(),
            peers: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// A reply to this connection will come.
    pub(super) fn expect(&mut self, token: AttachToken, pending: PendingAttach) {
        self.pending.insert(token, pending);
    }

    /// The connection is gone: the zone must hear of it, now if it is attached, else when it would be. What it asked
    /// for is not done if it was not yet begun: that would use its ticket or secret up, and no client would have the
    /// answer.
    pub(super) fn forget(&mut self, token: AttachToken) {
        if let Some(session) = self.sessions.remove(&token) {
            self.attached.remove(&session);
            self.leaving.push(Input::Detach { session, token });
        }
        if let Some(pending) = self.pending.remove(&token) {
            pending.asked.withdraw();
        }
        self.send_leaves();
    }

    /// The player of the connection ends its session. The connection stays until the zone has answered.
    pub(super) fn log_out(&mut self, token: AttachToken) {
        if let Some(&session) = self.sessions.get(&token) {
            self.leaving.push(Input::Logout { session, token });
        } else if let Some(pending) = self.pending.get_mut(&token) {
            pending.logs_out = true;
        }
        self.send_leaves();
    }

    /// Sends what replies and events the gate has released, replies first: a client hears `Attached` before anything of
    /// the session.
    pub(super) fn tell(&mut self, released: Released<Outputs>, peers: &dyn Fn() -> Vec<SocketAddr>) {
        let (epoch, tick) = (released.epoch(), released.tick());
        let outputs = released.into_inner();
        if !outputs.residences.is_empty() {
            let mut residents = self.residents.lock().expect("no holder of the residents panics");
            residents.handle_tick(tick, &outputs.residences);
        }
        for (token, reply) in outputs.replies {
            match reply {
                Reply::Attached {
                    session,
                    last_input_seq,
                    event_seq,
                    events_forgotten,
                    own,
                    missed,
                } => {
                    let welcome = Welcome {
                        epoch,
                        tick,
                        session,
                        last_input_seq,
                        event_seq,
                        events_forgotten,
                        own,
                        missed,
                    };
                    self.welcome(token, welcome, peers);
                }
                Reply::Refused(code) => {
                    if let Some(pending) = self.pending.remove(&token) {
                        pending.conn.close(code, refusal_text(code));
                    }
                }
                Reply::Superseded(session) => self.dismiss(session, token, RefusalCode::Superseded),
                Reply::LoggedOut(session) => self.dismiss(session, token, RefusalCode::Bye),
            }
        }
        for (session, event) in outputs.events {
            if let Some(conn) = self.attached.get(&session) {
                conn.send_control(&ServerMessage::Event(event));
            }
        }
        self.send_leaves();
    }

    /// Tells the players of other shards that have come or gone. Shards die one after the other: a player who only knew
    /// those that lived when it attached would in the end have none left to ask.
    pub(super) fn tell_peers(&mut self, peers: Vec<SocketAddr>) {
        if peers == self.peers {
            return;
        }
        for conn in self.attached.values() {
            conn.send_control(&ServerMessage::Peers(peers.clone()));
        }
        self.peers = peers;
    }

    /// Sends released snapshots. A datagram that a congested connection drops is superseded by the next.
    pub(super) fn show(&mut self, released: Released<Datagrams>) {
        let datagrams = released.into_inner();
        let mut batch = DatagramBatch::new(datagrams.bytes().clone(), datagrams.len());
        for (session, range) in datagrams.ranges() {
            if let Some(conn) = self.attached.get(&session) {
                batch.push(conn, range);
            }
        }
        batch.send();
    }

    /// Closes every connection, so that clients look elsewhere at once. A close says nothing of the world, so even a
    /// process that has lost its right to speak may send it; a client whose answer is still held would otherwise wait
    /// for it in vain.
    pub(super) fn end(&mut self) {
        let attached = self.attached.drain().map(|(_, conn)| conn);
        let pending = self.pending.drain().map(|(_, pending)| pending.conn);
        for conn in attached.chain(pending) {
            conn.unbind();
            conn.close(RefusalCode::Stopping, refusal_text(RefusalCode::Stopping));
        }
        self.sessions.clear();
    }

    fn welcome(&mut self, token: AttachToken, welcome: Welcome, peers: &dyn Fn() -> Vec<SocketAddr>) {
        let session = welcome.session;
        let Some(PendingAttach {
            conn, secret, logs_out, ..
        }) = self.pending.remove(&token)
        else {
            // It went away while its input was on its way; the session that it woke must not stay awake.
            self.leaving.push(Input::Detach { session, token });
            return;
        };
        if logs_out {
            self.leaving.push(Input::Logout { session, token });
        }
        conn.bind(Route {
            session,
            epoch: welcome.epoch,
            inbox: self.entries.clone(),
        });
        conn.send_control(&ServerMessage::Attached {
            epoch: welcome.epoch,
            zone: self.zone.clone(),
            session,
            secret,
            tick_hz: self.tick_hz,
            resumed_tick: welcome.tick,
            last_input_seq: welcome.last_input_seq,
            event_seq: welcome.event_seq,
            events_forgotten: welcome.events_forgotten,
            rewound_ticks: 0,
            own: welcome.own,
            peers: peers(),
        });
        for event in welcome.missed {
            conn.send_control(&ServerMessage::Event(event));
        }
        self.sessions.insert(token, session);
        self.attached.insert(session, conn);
    }

    /// The zone lets the connection speak for the session no more.
    fn dismiss(&mut self, session: SessionId, token: AttachToken, code: RefusalCode) {
        if self.sessions.remove(&token).is_none() {
            return;
        }
        if let Some(old) = self.attached.remove(&session) {
            old.unbind();
            old.close(code, refusal_text(code));
        }
    }

    /// Hands what waits to the inbox, as far as that has room; the rest waits for the next call.
    fn send_leaves(&mut self) {
        let entries = &self.entries;
        self.leaving.retain(|input| {
            let entry = InboxEntry::Input(input.clone());
            matches!(entries.try_send(entry), Err(TrySendError::Full(_)))
        });
    }
}

struct Welcome {
    epoch: Epoch,
    tick: Tick,
    session: SessionId,
    last_input_seq: u64,
    event_seq: u64,
    events_forgotten: u64,
    own: OwnState,
    missed: Vec<SeqEvent>,
}

fn refusal_text(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::Bye => "logged out",
        RefusalCode::TicketUsed => "the ticket was used before",
        RefusalCode::SessionUnknown => "no such session, or not its secret: log in again",
        RefusalCode::Superseded => "a newer connection speaks for the session",
        RefusalCode::Full => "the zone is full",
        RefusalCode::Stopping => "the zone is no longer served here; another shard will answer",
        _ => "refused by the zone",
    }
}
