//! The egress of a hosted zone: it knows which connection speaks for which session, and says who is to be told what of
//! the outputs that the gate has released. It sends nothing and reads no clock.
//!
//! ```text
//!  Join or Resume on its way ──► pending ──Attached──► attached ──Superseded, LoggedOut, Dismissed──► closed
//!                                   │ Refused, Superseded    │ connection gone
//!                                   └──► closed              └──► leave: a `Detach` for the inbox
//! ```
//!
//! `C` is the driver's handle on a connection.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use everhold_protocol::hash::BuildIdHasher;
use everhold_protocol::limits::SECRET_BYTES;
use everhold_protocol::{Attached, Epoch, RefusalCode, ServerMessage, SessionId, Tick, ZoneName};

use crate::durability::gate::Released;
use crate::ingress::inbox::{Asked, InboxEntry};
use crate::ingress::{AttachToken, Input};
use crate::zone::{Outputs, Reply, Residence, Welcome};

/// A connection whose `Join` or `Resume` is on its way through the zone.
#[derive(Debug)]
pub struct PendingAttach<C> {
    /// The connection.
    pub conn: C,
    /// The secret that the reply carries, whose hash is in the input.
    secret: [u8; SECRET_BYTES],
    /// Whether the player has ended the session already.
    logs_out: bool,
    asked: Asked,
}

impl<C> PendingAttach<C> {
    /// An attach whose reply will carry `secret`. `logs_out`: the player has ended the session already, and is logged
    /// out as soon as it is attached.
    #[must_use]
    pub fn new(conn: C, secret: [u8; SECRET_BYTES], logs_out: bool) -> Self {
        let asked = Asked::default();
        Self {
            conn,
            secret,
            logs_out,
            asked,
        }
    }

    /// Returns the entry that takes the attach's input through the inbox.
    #[must_use]
    pub fn entry(&self, input: Input) -> InboxEntry {
        let asked = self.asked.clone();
        InboxEntry::Attach { input, asked }
    }
}

/// A command to the driver of an egress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressCommand<C> {
    /// Note who came into the zone or left it in this tick, for those who admit newcomers.
    NoteResidences(Tick, Vec<Residence>),
    /// Let the frames of the connection reach the zone, as those of this session.
    Bind {
        /// The connection.
        conn: C,
        /// The session.
        session: SessionId,
        /// The epoch that its frames must name.
        epoch: Epoch,
    },
    /// Send a message, after all that were sent on this connection before.
    Send {
        /// The connection.
        conn: C,
        /// The message.
        message: ServerMessage,
    },
    /// Let no more frames of the connection reach the zone, and close it.
    Close {
        /// The connection.
        conn: C,
        /// The reason, on which clients act.
        code: RefusalCode,
        /// The reason in words.
        detail: &'static str,
    },
}

/// The connections of one zone under one epoch.
#[derive(Debug)]
pub struct Egress<C> {
    zone: ZoneName,
    tick_hz: u16,
    pending: BTreeMap<AttachToken, PendingAttach<C>>,
    /// Looked up for every datagram.
    attached: HashMap<SessionId, C, BuildIdHasher>,
    sessions: BTreeMap<AttachToken, SessionId>,
    /// Ticks that an earlier owner may have told of and this one does not have.
    rewound_ticks: u32,
    /// The sessions of earlier epochs that were told so: a session hears it once.
    told_rewound: HashSet<SessionId, BuildIdHasher>,
    /// The other shards, as the players were last told.
    peers: Vec<SocketAddr>,
    /// The `Detach`es and `Logout`s that the inbox has not taken yet.
    leaves: VecDeque<Input>,
    /// Bounded: what one call adds, and the driver drains it before the next.
    commands: VecDeque<EgressCommand<C>>,
}

impl<C: Clone> Egress<C> {
    /// The egress of a zone that has no connections yet.
    #[must_use]
    pub fn new(zone: ZoneName, tick_hz: u16) -> Self {
        Self {
            zone,
            tick_hz,
            pending: BTreeMap::new(),
            attached: HashMap::default(),
            sessions: BTreeMap::new(),
            rewound_ticks: 0,
            told_rewound: HashSet::default(),
            peers: Vec::new(),
            leaves: VecDeque::new(),
            commands: VecDeque::new(),
        }
    }

    /// The same for a zone that has lost this many ticks of which an earlier owner may have told.
    #[must_use]
    pub fn rewound(mut self, ticks: u64) -> Self {
        self.rewound_ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        self
    }

    /// Returns the next thing to do.
    pub fn poll_command(&mut self) -> Option<EgressCommand<C>> {
        self.commands.pop_front()
    }

    /// Returns the input that the zone's inbox is to take next. When it has, call [`Egress::handle_leave_taken`].
    #[must_use]
    pub fn poll_leave(&self) -> Option<&Input> {
        self.leaves.front()
    }

    /// Notes that the inbox took what [`Egress::poll_leave`] gave.
    pub fn handle_leave_taken(&mut self) {
        self.leaves.pop_front();
    }

    /// Notes that the answer to a connection's attach will come.
    pub fn handle_asked(&mut self, token: AttachToken, pending: PendingAttach<C>) {
        self.pending.insert(token, pending);
    }

    /// Notes that a connection is gone: the zone must hear of it, now if it is attached, else when it would be. An
    /// attach that has not begun yet is withdrawn: it would use its ticket or secret up in vain.
    pub fn handle_gone(&mut self, token: AttachToken) {
        if let Some(session) = self.sessions.remove(&token) {
            self.attached.remove(&session);
            self.leaves.push_back(Input::Detach { session, token });
        }
        if let Some(pending) = self.pending.remove(&token) {
            pending.asked.withdraw();
        }
    }

    /// Notes that the player of a connection ends its session. The connection stays until the zone has answered.
    pub fn handle_log_out(&mut self, token: AttachToken) {
        if let Some(&session) = self.sessions.get(&token) {
            self.leaves.push_back(Input::Logout { session, token });
        } else if let Some(pending) = self.pending.get_mut(&token) {
            pending.logs_out = true;
        }
    }

    /// Takes the replies and events of a tick that the gate has released, replies first: a client hears `Attached`
    /// before anything of the session. `peers` names the other shards to a client that attaches.
    pub fn handle_told(&mut self, released: Released<Outputs>, peers: impl Fn() -> Vec<SocketAddr>) {
        let (epoch, tick) = (released.epoch(), released.tick());
        let Outputs {
            replies,
            events,
            residences,
            ..
        } = released.into_inner();
        if !residences.is_empty() {
            self.commands.push_back(EgressCommand::NoteResidences(tick, residences));
        }
        for (token, reply) in replies {
            match reply {
                Reply::Attached(welcome) => self.welcome(token, (epoch, tick), welcome, &peers),
                Reply::Refused(code) => {
                    if let Some(pending) = self.pending.remove(&token) {
                        self.close(pending.conn, code);
                    }
                }
                Reply::Superseded(session) => self.dismiss(session, token, RefusalCode::Superseded),
                Reply::LoggedOut(session) => self.dismiss(session, token, RefusalCode::Bye),
                Reply::Dismissed(session, code) => self.dismiss(session, token, code),
            }
        }
        for (session, event) in events {
            if let Some(conn) = self.attached.get(&session).cloned() {
                self.send(conn, ServerMessage::Event(event));
            }
        }
    }

    /// Tells the players of other shards that have come or gone. Shards die one after the other: a player who only knew
    /// those that lived when it attached would in the end have none left to ask.
    pub fn handle_peers(&mut self, peers: Vec<SocketAddr>) {
        if peers == self.peers {
            return;
        }
        for session in self.sessions.values() {
            if let Some(conn) = self.attached.get(session).cloned() {
                let message = ServerMessage::Peers(peers.clone());
                self.commands.push_back(EgressCommand::Send { conn, message });
            }
        }
        self.peers = peers;
    }

    /// Closes every connection, for the zone is over here: clients look elsewhere at once. A close says nothing of the
    /// world, so even a process that has lost its right to speak may send it; a client whose answer is still held
    /// would otherwise wait for it in vain.
    pub fn handle_end(&mut self) {
        self.leaves.clear();
        let sessions = std::mem::take(&mut self.sessions);
        let attached = sessions.values().filter_map(|session| self.attached.remove(session));
        let pending = std::mem::take(&mut self.pending);
        let all: Vec<C> = attached
            .chain(pending.into_values().map(|pending| pending.conn))
            .collect();
        for conn in all {
            self.close(conn, RefusalCode::Stopping);
        }
    }

    /// Returns the connection that speaks for a session, to which its snapshots go.
    #[must_use]
    #[inline]
    pub fn conn(&self, session: SessionId) -> Option<&C> {
        self.attached.get(&session)
    }

    fn welcome(
        &mut self,
        token: AttachToken,
        (epoch, resumed_tick): (Epoch, Tick),
        welcome: Welcome,
        peers: &impl Fn() -> Vec<SocketAddr>,
    ) {
        let session = welcome.session;
        let Some(PendingAttach {
            conn, secret, logs_out, ..
        }) = self.pending.remove(&token)
        else {
            // It went away while its input was on its way; the session that it woke must not stay awake.
            self.leaves.push_back(Input::Detach { session, token });
            return;
        };
        if logs_out {
            self.leaves.push_back(Input::Logout { session, token });
        }
        self.commands.push_back(EgressCommand::Bind {
            conn: conn.clone(),
            session,
            epoch,
        });
        let attached = Attached {
            epoch,
            zone: self.zone.clone(),
            session,
            secret,
            tick_hz: self.tick_hz,
            resumed_tick,
            last_input_seq: welcome.last_input_seq,
            event_seq: welcome.event_seq,
            events_forgotten: welcome.events_forgotten,
            rewound_ticks: self.rewound_of(session, epoch),
            own: welcome.own,
            peers: peers(),
        };
        self.send(conn.clone(), ServerMessage::Attached(attached));
        for event in welcome.missed {
            self.send(conn.clone(), ServerMessage::Event(event));
        }
        self.sessions.insert(token, session);
        self.attached.insert(session, conn);
    }

    /// Returns how many ticks a session that attaches has to be told of as lost: it is older than this epoch, and was
    /// not told yet.
    fn rewound_of(&mut self, session: SessionId, epoch: Epoch) -> u32 {
        let concerns = self.rewound_ticks > 0 && session.range() < epoch.0;
        if concerns && self.told_rewound.insert(session) {
            self.rewound_ticks
        } else {
            0
        }
    }

    /// Ends the connection's right to speak for the session. It may not have heard of that right: of two attaches in
    /// one tick the zone answers the first with its end alone.
    fn dismiss(&mut self, session: SessionId, token: AttachToken, code: RefusalCode) {
        if self.sessions.remove(&token).is_some()
            && let Some(conn) = self.attached.remove(&session)
        {
            self.close(conn, code);
        } else if let Some(pending) = self.pending.remove(&token) {
            self.close(pending.conn, code);
        }
    }

    fn send(&mut self, conn: C, message: ServerMessage) {
        self.commands.push_back(EgressCommand::Send { conn, message });
    }

    fn close(&mut self, conn: C, code: RefusalCode) {
        let detail = refusal_text(code);
        self.commands.push_back(EgressCommand::Close { conn, code, detail });
    }
}

fn refusal_text(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::Bye => "logged out",
        RefusalCode::TicketUsed => "the ticket was used before",
        RefusalCode::SessionUnknown => "no such session, or not its secret: log in again",
        RefusalCode::Superseded => "a newer connection speaks for the session",
        RefusalCode::Full => "the zone is full",
        RefusalCode::Banned => "the account is banned",
        RefusalCode::Stopping => "the zone is no longer served here; another shard will answer",
        _ => "refused by the zone",
    }
}

#[cfg(test)]
mod tests;
