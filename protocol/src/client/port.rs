//! What the machine and its driver say to each other: configuration, commands, notices. No behaviour is here.

use std::net::SocketAddr;
use std::time::Duration;

use crate::event::SeqEvent;
use crate::ids::{SessionId, Tick, ZoneName};
use crate::message::{ClientMessage, OwnState, RefusalCode};
use crate::snapshot::SnapshotHeader;

/// Times, in milliseconds, each with its default.
///
/// What a client waits for, and how long, beside these:
///
/// | after | it waits | then |
/// |---|---|---|
/// | a connection is opened | `connect_ms_max` | it is given up |
/// | `Hello` with a ticket | as long as the connection lives: the answer is held back until the login is stored, and the ticket may be spent | |
/// | `Hello` with a session's secret | `connect_ms_max` | it is given up |
/// | `Wait`, `Queued` | as long as the connection lives | after `Wait` a second shard is asked 2,000 ms later, jittered by half: the first may have died, too |
/// | `Redirect` | `connect_ms_max` for the named shard | the others are asked again, those that redirected included: the owner may have died in the meantime, and they say `Wait` as soon as they notice that its lease is not renewed |
/// | four redirects in a row | `retry_ms` | a new round: two shards each believe the other to be the owner |
/// | all shards were asked in vain | `retry_ms`, doubled up to 2,000 | a new round |
/// | `Overloaded` | 10,000 ms, jittered by half | a new round |
/// | `Logout` | `connect_ms_max` | the connection is closed, and [`Notice::LogoutUnheard`] says that nobody has answered |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Nothing heard for so long is silence: the client parks at another shard. False alarms double it for a while, up to 2,000. Default: 250.
    pub silence_ms: u64,
    /// It parks after a pause of up to so long, drawn anew each time: those who lost the same shard in the same tick shake hands one
    /// after the other, and for a stall that is over by then nobody does. A shard serves hundreds of handshakes in this time. Default: 100.
    pub park_spread_ms: u64,
    /// After so long, jittered by half, without an answer it parks at a second one. Default: 150.
    pub park_second_ms: u64,
    /// At most one input frame per so long: a tick. New intents go with the next one. Default: 50, a tick at 20 Hz.
    pub frame_ms: u64,
    /// An intent that is not confirmed is repeated after so many frames. A confirmation takes a tick or two, so that sooner would be too
    /// soon for most; an intent whose frame was lost is late by this much. Default: 2.
    pub repeat_frames: u32,
    /// A player who wants nothing new says again after so many frames that it lives, and what it has received. 1: with every frame.
    /// Default: 4.
    pub rest_frames: u32,
    /// A connection that is not up, or not answered, after so long is given up. Default: 3,000.
    pub connect_ms_max: u64,
    /// Pause after every address was tried in vain; doubles up to 2,000, jittered by half. Default: 250.
    pub retry_ms: u64,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            silence_ms: 250,
            park_spread_ms: 100,
            park_second_ms: 150,
            frame_ms: 50,
            repeat_frames: 2,
            rest_frames: 4,
            connect_ms_max: 3_000,
            retry_ms: 250,
        }
    }
}

/// A connection, as machine and driver name it. Never used twice by one machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a QUIC connection and its control stream, then call [`super::Client::handle_connected`] or [`super::Client::handle_disconnected`].
    Connect {
        /// Its name from now on.
        conn: ConnId,
        /// Where to.
        addr: SocketAddr,
    },
    /// Write a message to the control stream.
    SendControl {
        /// Where.
        conn: ConnId,
        /// What.
        message: ClientMessage,
    },
    /// Send a datagram.
    SendDatagram {
        /// Where.
        conn: ConnId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Close the connection. The machine takes nothing more from it; no [`super::Client::handle_disconnected`] is needed. It may be
    /// gone already: then there is nothing to do.
    Close {
        /// The connection.
        conn: ConnId,
        /// The application close code.
        code: RefusalCode,
    },
}

/// A session that moved to an owner of a higher epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failover {
    /// The earlier epoch.
    pub from_epoch: u32,
    /// The new one.
    pub to_epoch: u32,
    /// When the last snapshot of the old owner was applied.
    pub last_snapshot_at: Duration,
    /// When the machine began to look elsewhere.
    pub silent_at: Duration,
    /// When the new owner's `Attached` came.
    pub attached_at: Duration,
}

/// What happened, for whoever plays or judges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A connection speaks for the session.
    Attached {
        /// The owner's epoch.
        epoch: u32,
        /// The zone.
        zone: ZoneName,
        /// The session.
        session: SessionId,
        /// Ticks per second.
        tick_hz: u16,
        /// The tick of the attach.
        resumed_tick: Tick,
        /// The last input applied.
        last_input_seq: u64,
        /// Inputs confirmed before that the new owner does not know: must be 0.
        lost_inputs: u64,
        /// Ticks shown before that the new owner does not have: the server's number, or what the client saw if that is more.
        rewound_ticks: u32,
        /// Everything the player is and has.
        own: OwnState,
        /// Set when the epoch rose against an earlier attach of this machine.
        failover: Option<Failover>,
    },
    /// Applied to the mirror.
    Snapshot {
        /// Its fixed part.
        header: SnapshotHeader,
        /// How many entities it shows.
        entities: usize,
    },
    /// New, in order, exactly once.
    Event(SeqEvent),
    /// Events are missing before this one: a fault of the server.
    EventGap {
        /// The next that was due.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The zone has forgotten events that this client never heard: it was away for too long, or too much happened meanwhile. What came of
    /// them is in the [`Notice::Attached`] before this notice; what they said of others is lost. It is no fault.
    EventsForgotten {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// An event came again other than right after an attach: a fault of the server.
    EventRepeated {
        /// The event's number.
        seq: u64,
        /// Whether it said the same as before.
        same: bool,
    },
    /// Purse and inventory as the events tell them differ from what the server says they are after the same event.
    ValueMismatch {
        /// The tick of the snapshot or attach.
        tick: Tick,
        /// After which event.
        event_seq: u64,
    },
    /// An input was applied; one notice per input, in order.
    Confirmed {
        /// The input's number.
        seq: u64,
    },
    /// Nothing was heard for `silence_ms`.
    Silent,
    /// The zone takes no more players right now; the connection waits in its queue. Told again when the place has changed.
    Queued {
        /// The place in the queue: 1 is next.
        position: u32,
    },
    /// The session is asked for at another shard.
    Parked {
        /// The shard's address.
        addr: SocketAddr,
    },
    /// A newer connection took the session over; the machine has ended.
    Superseded,
    /// The machine has ended by [`super::Client::logout`], and no server has said that the log-out is stored: no connection spoke for the
    /// session, it was lost, or the answer did not come in time. The session's secrets may still be good.
    LogoutUnheard,
    /// The server said no. If the code [is final](RefusalCode::is_final), the machine has ended; otherwise it tries again.
    Refused {
        /// Why, for machines.
        code: RefusalCode,
        /// Why, for people.
        detail: String,
    },
    /// The session's connection is gone, or one that was to become it.
    Disconnected {
        /// Why, for people.
        detail: String,
    },
}

/// No intent can be taken now: never attached, logging out, or too many unconfirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no intent can be taken now")]
pub struct Busy;
