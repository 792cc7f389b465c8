//! The client's half of a session as a state machine. It opens no socket and reads no clock.
//!
//! The driver owns sockets and time. It calls `handle_*` with what happened and when (`now`: a time since any fixed
//! origin), then carries out [`Client::poll_command`] and reads [`Client::poll_notice`], both until `None`, and calls
//! [`Client::handle_timeout`] at [`Client::poll_timeout`]. Every call adds a bounded number of commands and notices.
//!
//! ```text
//!              Attached                    silent, lost, or Redirect
//!  searching ────────────► attached ────────────────────────────────────► searching, and attached unless lost
//!   (login)                   ▲  ▲       old one speaks again                 │   │
//!                             │  └────────────────────────────────────────────┘   │
//!                             └───────────────────────────────────────────────────┘
//!                                        Attached under this epoch or a higher one
//! ```
//!
//! A final refusal, a foreign connection that takes the session over, and a log-out end the machine from anywhere.
//!
//! Three rules keep a player's session whole while shards die and wake up:
//!
//! - *Epochs of a zone only rise.* An owner with a lower epoch than the highest that attached the session in this zone
//!   is a zombie and is ignored. Epochs of two zones do not compare: a session that is sent to another zone goes on
//!   under that one's.
//! - *The old connection is kept until a new one is attached.* Silence may be the network's; then the owner speaks
//!   again and the parked connections are closed. An `Attached` of the same epoch is the same owner answering on
//!   another path: it has already dropped the old one, so the client follows.
//! - *Numbers go on.* Inputs are repeated until a snapshot or an attach covers them, and kept until that is confirmed,
//!   so that the next owner gets what the last one took with it. Events are taken once and in order, and purse and
//!   inventory are checked against the owner's digest whenever both have seen the same events.

mod epochs;
mod events;
mod mirror;
mod patience;
mod pending;
mod port;
mod search;
mod session;
mod surroundings;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::intent::Intent;
use crate::message::{ClientMessage, Credential, RefusalCode, ServerMessage};
use crate::rng::SplitMix64;

pub use mirror::Mirror;
pub use port::{Busy, ClientConfig, Command, ConnId, Failover, Notice};

use epochs::Epochs;
use patience::Patience;
use pending::Pending;
use search::{Cause, Search};
use session::{Active, ResumableSession};

/// The client's machine.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    /// The credential of the first `Hello`.
    credential: Credential,
    addrs: Vec<SocketAddr>,
    rng: SplitMix64,
    next_conn: u32,
    patience: Patience,
    /// The connection that speaks for the session.
    active: Option<Active>,
    /// The search for another connection.
    search: Option<Search>,
    /// The session that the next `Hello` resumes, once there is one.
    standing: Option<ResumableSession>,
    epochs: Epochs,
    /// Shards to ask, as the last attach named them.
    peers: Vec<SocketAddr>,
    pending: Pending,
    mirror: Mirror,
    /// Speed of game time at the owner, 255ths. An owner that slows down ticks less often, so inputs are sent less
    /// often, too, and its silence is noticed later.
    speed: u8,
    /// The moment until which a `Superseded` may be caused by a connection that this machine has closed.
    rival_until: Option<Duration>,
    /// The latest moment of the end, while the machine logs out and waits for the server's confirmation.
    leave_at: Option<Duration>,
    finished: bool,
    malformed_datagrams: u64,
    commands: VecDeque<Command>,
    notices: VecDeque<Notice>,
}

impl Client {
    /// Returns a machine that has not started. `addrs` are tried in turn; `seed` jitters its pauses.
    ///
    /// With [`Credential::Resume`] it takes a session up again whose secret the caller has kept.
    #[must_use]
    pub fn new(config: ClientConfig, credential: Credential, addrs: Vec<SocketAddr>, seed: u64) -> Self {
        let mut mirror = Mirror::default();
        let mut standing = None;
        let mut epochs = Epochs::default();
        if let Credential::Resume {
            zone,
            session,
            secret,
            epoch,
            event_seq,
        } = &credential
        {
            mirror.expect_session(*session, *epoch, *event_seq);
            epochs.note(zone, *epoch);
            standing = Some(ResumableSession::saved(zone.clone(), *session, *secret));
        }
        Self {
            patience: Patience::new(config.silence_ms),
            config,
            credential,
            addrs,
            rng: SplitMix64::new(seed),
            next_conn: 0,
            active: None,
            search: None,
            standing,
            epochs,
            peers: Vec::new(),
            pending: Pending::default(),
            mirror,
            speed: u8::MAX,
            rival_until: None,
            leave_at: None,
            finished: false,
            malformed_datagrams: 0,
            commands: VecDeque::new(),
            notices: VecDeque::new(),
        }
    }

    /// Begins: connects to the first address. Called once.
    pub fn handle_start(&mut self, now: Duration) {
        if self.finished || self.active.is_some() {
            return;
        }
        self.search(now, Cause::Login);
        self.advance_search(now);
    }

    /// Sends `Hello`: QUIC is up and the control stream is open.
    pub fn handle_connected(&mut self, now: Duration, conn: ConnId) {
        self.greet(now, conn);
    }

    /// Handles a connection that could not be made, failed, or was closed by the peer; `code` is the peer's application
    /// close code, if that is what ended it. Not needed after [`Command::Close`].
    pub fn handle_disconnected(&mut self, now: Duration, conn: ConnId, code: Option<u64>, detail: &str) {
        let code = code
            .and_then(|code| u32::try_from(code).ok())
            .and_then(RefusalCode::from_code);
        match code {
            // The log-out is stored.
            Some(RefusalCode::Bye) if self.is_active(conn) && self.leave_at.is_some() => self.end(),
            // The refusal message may have been lost with the stream.
            Some(code) if code != RefusalCode::Bye && self.is_known(conn) => {
                self.refused(now, conn, code, detail.to_owned());
            }
            _ => self.lost(now, conn, detail),
        }
    }

    /// Takes a control message.
    pub fn handle_control(&mut self, now: Duration, conn: ConnId, message: ServerMessage) {
        if self.is_known(conn) {
            self.heard(now, conn);
            self.take_control(now, conn, message);
        }
    }

    /// Takes a datagram. Only those of the connection that speaks for the session are read; those that have overtaken
    /// their `Attached` are read after it.
    pub fn handle_datagram(&mut self, now: Duration, conn: ConnId, bytes: &[u8]) {
        if self.is_active(conn) {
            self.heard(now, conn);
            self.take_datagram(now, bytes);
        } else {
            self.keep_early(conn, bytes);
        }
    }

    /// Does what is due at the time that [`Client::poll_timeout`] named. Earlier calls do nothing.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.leave_at.is_some_and(|at| at <= now) {
            self.end_unheard();
        }
        if self.silence_at().is_some_and(|at| at <= now) {
            self.fall_silent(now);
        }
        self.search_timeout(now);
        if self.active.is_some_and(|active| active.frame_at <= now) {
            self.take_turn(now);
        }
    }

    /// Returns when to call [`Client::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let frame = self.active.map(|active| active.frame_at);
        let search = self.search.as_ref().and_then(Search::timeout);
        [frame, search, self.silence_at(), self.leave_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns the next command.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Returns the next notice.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Takes an intent and returns its sequence number. It goes with the next frame, so that intents of one tick share
    /// it.
    ///
    /// Intents are also taken while the session is between two owners.
    ///
    /// # Errors
    /// [`Busy`] before the first attach, after a log-out or the machine's end, and while
    /// [`UNCONFIRMED_INTENTS_MAX`](crate::limits::UNCONFIRMED_INTENTS_MAX) wait for confirmation.
    ///
    /// # Panics
    /// If the intent does not pass [`Intent::check`]: the server would refuse it, with
    /// [`RejectReason::Invalid`](crate::event::RejectReason).
    pub fn push_intent(&mut self, _now: Duration, intent: Intent) -> Result<u64, Busy> {
        if let Err(error) = intent.check() {
            panic!("an intent that no server takes: {error}");
        }
        let attached_once = self.standing.as_ref().is_some_and(|standing| standing.attached);
        if !attached_once || self.finished || self.leave_at.is_some() {
            return Err(Busy);
        }
        self.pending.push(intent).ok_or(Busy)
    }

    /// Returns the world as this client knows it.
    #[must_use]
    pub const fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Ends the session by the player's wish. Intents that are not confirmed by now may not be done. The machine ends
    /// when the server has closed the connection, or has not done so in time. Unless the server says that the log-out
    /// is stored, the machine gives a [`Notice::LogoutUnheard`]: at once if no connection speaks for the session now.
    pub fn logout(&mut self, now: Duration) {
        if self.finished || self.leave_at.is_some() {
            return;
        }
        let Some(active) = self.active else {
            self.end_unheard();
            return;
        };
        self.end_search(now);
        self.leave_at = Some(now + ms(self.config.connect_ms_max));
        self.commands.push_back(Command::SendControl {
            conn: active.conn,
            message: ClientMessage::Logout,
        });
    }

    /// Returns the speed of game time at the owner, 255ths: a player's timed actions are to be this much slower.
    #[must_use]
    pub const fn speed(&self) -> u8 {
        self.speed
    }

    /// Whether a connection speaks for the session now, silent or not.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.active.is_some()
    }

    /// Whether the machine has ended: it does nothing more.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Returns the number of datagrams from the session's owner that were no snapshots. The network changes none
    /// unnoticed, so each is a server's fault.
    #[must_use]
    pub const fn malformed_datagrams(&self) -> u64 {
        self.malformed_datagrams
    }

    fn is_known(&self, conn: ConnId) -> bool {
        self.is_active(conn) || self.is_candidate(conn)
    }

    /// Notes that the active connection is not silent.
    fn heard(&mut self, now: Duration, conn: ConnId) {
        if let Some(active) = &mut self.active
            && active.conn == conn
        {
            if active.silent {
                self.patience.handle_false_alarm(now);
            } else {
                self.patience.handle_heard(now);
            }
            (active.heard_at, active.silent) = (now, false);
        }
    }

    /// Returns when the active connection's silence will be noticed.
    fn silence_at(&self) -> Option<Duration> {
        let active = self.active.filter(|active| !active.silent && self.leave_at.is_none())?;
        Some(active.heard_at + self.in_game_time(self.patience.silence()))
    }

    /// Returns the real duration of a time that the owner counts in ticks.
    fn in_game_time(&self, time: Duration) -> Duration {
        time * 255 / u32::from(self.speed)
    }

    fn close(&mut self, conn: ConnId, code: RefusalCode) {
        self.commands.push_back(Command::Close { conn, code });
    }

    /// Closes everything for good, after a wish to log out that no server has confirmed.
    fn end_unheard(&mut self) {
        self.notices.push_back(Notice::LogoutUnheard);
        self.end();
    }

    /// Closes everything for good.
    fn end(&mut self) {
        self.end_search(Duration::ZERO);
        if let Some(active) = self.active.take() {
            self.close(active.conn, RefusalCode::Bye);
        }
        (self.leave_at, self.finished) = (None, true);
    }
}

/// Returns milliseconds as a duration.
const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
