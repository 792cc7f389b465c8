//! Control messages: they must arrive, in order, on the one bidirectional stream of a connection.
//!
//! Framing ([`encode_frame`], [`FrameDecoder`]) is in `message/frame.rs`; it reads no stream itself.

mod frame;
mod hello;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use frame::{FrameDecoder, FrameError, encode_frame};
pub use hello::hello_version;

use crate::event::SeqEvent;
use crate::ids::{Epoch, Item, SessionId, Tick, ZoneName};
use crate::limits::SECRET_BYTES;

/// A client's proof of its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credential {
    /// A signed login ticket ([`crate::ticket`]), valid for one login.
    Ticket(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A session that this client had before, here or on another shard.
    Resume {
        /// The session's zone.
        zone: ZoneName,
        /// The session's id.
        session: SessionId,
        /// The secret of the last `Attached`, in whatever zone; valid once. If the answer is lost, the same secret is
        /// accepted again, a few times, until a frame of the client shows that an answer has come. Of the secrets in
        /// several such answers each is valid until one is used. A login by ticket, a log-out, and an hour out of sight
        /// (`resume_window_ms` of the world file) end all secrets of the session.
        secret: [u8; SECRET_BYTES],
        /// The highest epoch of this zone that the client has seen; 0 if none. Epochs of two zones do not compare. An
        /// owner of a lower one does not answer for the session: it says [`ServerMessage::Wait`], and after two lease
        /// times, if no owner of a higher epoch has come forward, [`RefusalCode::SessionUnknown`]. Then the world was
        /// restored to an earlier state, or begun anew.
        epoch: Epoch,
        /// The last event that this client has: those after it follow [`ServerMessage::Attached`]. After a login by
        /// ticket it is that `Attached`'s `events_forgotten` until an event was received.
        event_seq: u64,
    },
}

/// A message from client to server.
///
/// A client that has nothing more to say may end its half of the control stream after any whole message, with `Hello`
/// already: it is served on, and leaves by closing the connection. A stream that is reset, or ends within a message,
/// ends the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientMessage {
    /// The first message of every connection, complete within [`LOGIN_MS_MAX`](crate::limits::LOGIN_MS_MAX) of its
    /// first packet, and of at most [`HELLO_BYTES_MAX`](crate::limits::HELLO_BYTES_MAX).
    Hello {
        /// [`crate::PROTOCOL_VERSION`]. Every version begins its `Hello` so: see [`hello_version`].
        protocol: u16,
        /// The client's credential.
        credential: Credential,
    },
    /// The session ends by the player's wish. The server closes the connection with [`RefusalCode::Bye`] when that is
    /// stored: from then on no secret of the session is valid, and a ticket brings the character back. A connection
    /// that waits is attached first. Any other end of the connection, and a redirect, leave open whether it was done.
    ///
    /// The character stays in sight, and can be fought, for the `linger_ms` of the world file (30 s in the default
    /// world), as after a lost connection: a log-out is no way out of a fight. Then it goes to rest where it stands. (A
    /// connection that falls silent counts as lost after its idle time-out, 10 s.)
    Logout,
}

/// A player's own exact state, whole. Snapshots repeat its parts without value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnState {
    /// East, cm.
    pub x: i32,
    /// North, cm.
    pub y: i32,
    /// Hit points; zero is dead.
    pub hp: u16,
    /// The purse.
    pub gold: u64,
    /// The inventory, in order of uid.
    pub items: Vec<Item>,
}

/// A session as its zone has it, told to the connection that speaks for it from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The owner's epoch; the client ignores lower ones from now on.
    pub epoch: Epoch,
    /// The zone.
    pub zone: ZoneName,
    /// The session, which is also the player's entity.
    pub session: SessionId,
    /// The secret for the next resume. The first frame that the client sends under this attach ends every earlier
    /// one.
    pub secret: [u8; SECRET_BYTES],
    /// Ticks per second.
    pub tick_hz: u16,
    /// The tick at which the session attached: the client sets its tick clock by it. The first snapshot is of this
    /// very tick, and is the one that shows everything in sight. It mostly arrives before this message, since
    /// datagrams wait for no stream: see [`crate::snapshot`].
    pub resumed_tick: Tick,
    /// The last input that the zone has applied: counting goes on from here.
    pub last_input_seq: u64,
    /// The last event of the session; those after the client's own last one follow as [`ServerMessage::Event`].
    pub event_seq: u64,
    /// The last event that the zone has dropped, which it does with acknowledged ones, with the oldest of more than
    /// 256, and with all of a character that has gone out of sight. A client that has not received them never will:
    /// their effects are in `own`, and the next that follows is the one after it.
    pub events_forgotten: u64,
    /// Ticks that the previous owner had shown and this one does not have. Zero unless the durability level is
    /// `async`.
    pub rewound_ticks: u32,
    /// The player's own state.
    pub own: OwnState,
    /// Other shards to ask when this one falls silent.
    pub peers: Vec<SocketAddr>,
}

/// A message from server to client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerMessage {
    /// The connection now speaks for the session. Sent when the attach's record is acknowledged, never before.
    Attached(Attached),
    /// The zone is served elsewhere: connect there, and show the same credential. A ticket is not spent by it. It names
    /// the owner whose lease was renewed last, and none whose lease was given up or not renewed for five eighths of its
    /// time; still that owner may have died just now. Nothing more is said on this connection, so a client that cannot
    /// reach the named shard asks here again, or another shard, over a new one.
    Redirect {
        /// The owner's address.
        addr: SocketAddr,
        /// The zone.
        zone: ZoneName,
        /// The owner's epoch.
        epoch: Epoch,
    },
    /// No shard is known to serve the zone right now, or not yet under the epoch that the client has seen. The
    /// connection stays open, and `Redirect`, `Attached`, `Queued`, `Refused` or another `Wait` follows. An adoption
    /// takes some hundred milliseconds, or a lease time and a little if the owner's end must be waited for: a second
    /// shard is worth asking after two seconds.
    Wait,
    /// A newer connection speaks for the session; or this one is not attached yet, and a newer one shows a ticket of
    /// the account, or the same secret.
    Superseded,
    /// One reliable event.
    Event(SeqEvent),
    /// The server refuses; the connection is closed with the same code.
    Refused {
        /// The reason, for machines.
        code: RefusalCode,
        /// The reason, for people.
        detail: String,
    },
    /// Shards have come or gone since `Attached`: these are the others to ask when this one falls silent.
    Peers(Vec<SocketAddr>),
    /// The zone takes no more players right now. The connection stays open and keeps its place; it moves up, and
    /// `Attached` follows. An account has one place: its next login, with this ticket or a fresh one, takes it over,
    /// and the earlier one is told `Superseded`. A client that resumes a session, or logs in while its character is in
    /// the world, does not wait.
    Queued {
        /// The position in the queue: 1 is next.
        position: u32,
    },
}

/// The reason of a server's refusal. The number is also the QUIC application close code.
///
/// After a *final* code, trying again with the same credential would be answered the same, here and at every other
/// shard ([`RefusalCode::is_final`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u32)]
pub enum RefusalCode {
    /// The client's wish, or a stop in good order. Not final: unless the client has logged out, it resumes.
    Bye = 0,
    /// Another protocol version. Final: this client cannot play here.
    Version = 1,
    /// Not a message of this protocol, or not one that may come now. Final: the client errs.
    Malformed = 2,
    /// Larger than its limit. Final: the client errs.
    TooLarge = 3,
    /// The ticket's signature is not the login service's. Final: log in with another ticket.
    TicketInvalid = 4,
    /// The ticket is past its time. Final: log in with a fresh ticket.
    TicketExpired = 5,
    /// The ticket was used before. Final: log in with a fresh ticket. If it was this client's own login whose answer
    /// was lost, that leads to the same session.
    TicketUsed = 6,
    /// The ticket, or the session, names a zone that this world does not have. Final.
    ZoneUnknown = 7,
    /// No such session, not a secret that is valid for it, or the world is older than the session. Final: log in with a
    /// ticket.
    SessionUnknown = 8,
    /// A newer connection speaks for the session, or for the account that was about to log in. Final: two clients that
    /// come back by themselves would throw each other out for ever.
    Superseded = 9,
    /// No `Hello` came within [`LOGIN_MS_MAX`](crate::limits::LOGIN_MS_MAX). Not final: try again.
    LoginTimeout = 10,
    /// More than this peer may send ([`crate::limits`]). Not final: try again after a pause, and send less.
    RateExceeded = 11,
    /// No room. Not final: try another shard, then this one after a pause.
    Full = 12,
    /// The server is stopping, or serves the zone no longer. Not final: another shard answers at once, or says `Wait`.
    Stopping = 13,
    /// The server failed in a way that is not the client's fault. Not final: try another shard.
    Internal = 14,
    /// So many players, and so many that wait, that there is no place in the queue either. Not final: try again, but
    /// not within ten seconds, and not at another shard, which would only send the client back.
    Overloaded = 15,
    /// The account is banned. Final: until the ban ends or is lifted, every credential of the account is answered so.
    Banned = 16,
}

impl RefusalCode {
    /// Every code, in order of its number.
    pub const ALL: [Self; 17] = [
        Self::Bye,
        Self::Version,
        Self::Malformed,
        Self::TooLarge,
        Self::TicketInvalid,
        Self::TicketExpired,
        Self::TicketUsed,
        Self::ZoneUnknown,
        Self::SessionUnknown,
        Self::Superseded,
        Self::LoginTimeout,
        Self::RateExceeded,
        Self::Full,
        Self::Stopping,
        Self::Internal,
        Self::Overloaded,
        Self::Banned,
    ];

    /// Returns the number, which is also the QUIC application close code.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// Returns the code of this number.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }

    /// Whether trying again, here or at another shard, would be answered the same.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Version
            | Self::Malformed
            | Self::TooLarge
            | Self::TicketInvalid
            | Self::TicketExpired
            | Self::TicketUsed
            | Self::ZoneUnknown
            | Self::SessionUnknown
            | Self::Superseded
            | Self::Banned => true,
            Self::Bye
            | Self::LoginTimeout
            | Self::RateExceeded
            | Self::Full
            | Self::Stopping
            | Self::Internal
            | Self::Overloaded => false,
        }
    }
}

impl std::fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bye => "goodbye",
            Self::Version => "the server speaks another protocol version",
            Self::Malformed => "the message is not one of this protocol, or may not come now",
            Self::TooLarge => "the message is too large",
            Self::TicketInvalid => "the login ticket is not valid",
            Self::TicketExpired => "the login ticket has expired",
            Self::TicketUsed => "the login ticket was used before",
            Self::ZoneUnknown => "there is no such zone in this world",
            Self::SessionUnknown => "there is no such session; log in again",
            Self::Superseded => "a newer connection took the session over",
            Self::LoginTimeout => "nothing was said within the login deadline",
            Self::RateExceeded => "too much was sent",
            Self::Full => "the server is full",
            Self::Stopping => "the server is stopping",
            Self::Internal => "the server failed",
            Self::Overloaded => "the server has more to do than it can",
            Self::Banned => "the account is banned",
        })
    }
}
