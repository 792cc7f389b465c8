//! The interface of machine and driver: configuration, commands, notices. No behaviour is here.

use std::net::SocketAddr;
use std::time::Duration;

use crate::event::SeqEvent;
use crate::ids::{Epoch, SessionId, Tick, ZoneName};
use crate::message::{ClientMessage, OwnState, RefusalCode};
use crate::snapshot::SnapshotHeader;

/// Times, in milliseconds, each with its default.
///
/// The client waits, beside these:
///
/// - after a connection is opened, for `connect_ms_max`; then it is given up.
/// - after `Hello` with a ticket, as long as the connection lives: the answer is held back until the login is stored,
///   and the ticket may be spent.
/// - after `Hello` with a session's secret, for `connect_ms_max`; then the connection is given up.
/// - after `Wait` or `Queued`, as long as the connection lives. 2,000 ms after `Wait`, jittered by half, a second shard
///   is asked: the first may have died, too.
/// - after `Redirect`, for `connect_ms_max` for the named shard; then the others are asked again, those that redirected
///   included: the owner may have died in the meantime, and they say `Wait` as soon as they notice that its lease is
///   not renewed.
/// - after four redirects in a row, for `retry_ms`; then a new round begins: two shards each believe the other to be
///   the owner.
/// - after all shards were asked in vain, for `retry_ms`, doubled up to 2,000; then a new round begins.
/// - after `Overloaded`, for 10,000 ms, jittered by half; then a new round begins.
/// - after `Logout`, for `connect_ms_max`; then the connection is closed, and [`Notice::LogoutUnheard`] says that no
///   server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Time without a message from which the owner counts as silent: the client parks at another shard. False alarms
    /// double it for a while, up to 2,000. Default: 250.
    pub silence_ms: u64,
    /// Longest pause before it parks, drawn anew each time: clients that lost the same shard in the same tick shake
    /// hands one after the other, and after a stall that is over by then none does. A shard serves hundreds of
    /// handshakes in this time. Default: 100.
    pub park_spread_ms: u64,
    /// Time without an answer, jittered by half, after which it parks at a second shard. Default: 150.
    pub park_second_ms: u64,
    /// Least time between two input frames: a tick. New intents go with the next one. Default: 50, a tick at 20 Hz.
    pub frame_ms: u64,
    /// Frames after which an unconfirmed intent is repeated. A confirmation takes a tick or two, so that sooner would
    /// be too soon for most; an intent whose frame was lost is late by this much. Default: 2.
    pub repeat_frames: u32,
    /// Frames after which a player without new intents says again that it lives, and what it has received. 1: with
    /// every frame. Default: 4.
    pub rest_frames: u32,
    /// Time after which a connection that is not up, or not answered, is given up. Default: 3,000.
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

/// A connection's name between machine and driver. Never used twice by one machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// A command to the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a QUIC connection and its control stream, then call [`super::Client::handle_connected`] or
    /// [`super::Client::handle_disconnected`].
    Connect {
        /// Its name from now on.
        conn: ConnId,
        /// The shard's address.
        addr: SocketAddr,
    },
    /// Write a message to the control stream.
    SendControl {
        /// The connection.
        conn: ConnId,
        /// The message.
        message: ClientMessage,
    },
    /// Send a datagram.
    SendDatagram {
        /// The connection.
        conn: ConnId,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// Close the connection. The machine takes nothing more from it; no [`super::Client::handle_disconnected`] is
    /// needed. If it is gone already, there is nothing to do.
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
    pub from_epoch: Epoch,
    /// The new one.
    pub to_epoch: Epoch,
    /// The moment at which the last snapshot of the old owner was applied.
    pub last_snapshot_at: Duration,
    /// The moment at which the search for another shard began.
    pub silent_at: Duration,
    /// The moment at which the new owner's `Attached` came.
    pub attached_at: Duration,
}

/// A notice to the player or the tool behind the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A connection speaks for the session.
    Attached {
        /// The owner's epoch.
        epoch: Epoch,
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
        /// Ticks shown before that the new owner does not have: the server's number, or what the client saw if that is
        /// more.
        rewound_ticks: u32,
        /// The player's own state, whole.
        own: OwnState,
        /// The failover, if the epoch rose against an earlier attach of this machine.
        failover: Option<Failover>,
    },
    /// A snapshot was applied to the mirror.
    Snapshot {
        /// Its fixed part.
        header: SnapshotHeader,
        /// Number of entities that it shows.
        entities: usize,
    },
    /// A new event: in order, exactly once.
    Event(SeqEvent),
    /// Events are missing before this one: a fault of the server.
    EventGap {
        /// The next that was due.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// The zone has dropped events that this client never received: it was away for too long, or too much happened
    /// meanwhile. Their effects on the player are in the [`Notice::Attached`] before this notice; what they said of
    /// others is lost. It is no fault.
    EventsForgotten {
        /// The first of the dropped events.
        from: u64,
        /// The last of the dropped events.
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
        /// The event after which they differ.
        event_seq: u64,
    },
    /// An input was applied, and no failover takes it back; one notice per input, in order. What a client predicts, it
    /// compares with the `last_input_seq` of [`Notice::Snapshot`]: that may be ahead.
    Confirmed {
        /// The input's number.
        seq: u64,
    },
    /// No message came for `silence_ms`.
    Silent,
    /// The zone takes no more players right now; the connection waits in its queue. Repeated when the position has
    /// changed.
    Queued {
        /// The position in the queue: 1 is next.
        position: u32,
    },
    /// The session is asked for at another shard.
    Parked {
        /// The shard's address.
        addr: SocketAddr,
    },
    /// A newer connection took the session over; the machine has ended.
    Superseded,
    /// The machine has ended by [`super::Client::logout`], and no server has said that the log-out is stored: no
    /// connection spoke for the session, it was lost, or the answer did not come in time. The session's secrets may
    /// still be valid.
    LogoutUnheard,
    /// The server refused. If the code [is final](RefusalCode::is_final), the machine has ended; otherwise it tries
    /// again.
    Refused {
        /// The reason, for machines.
        code: RefusalCode,
        /// The reason, for people.
        detail: String,
    },
    /// The session's connection is gone, or one that was to become it.
    Disconnected {
        /// The reason, for people.
        detail: String,
    },
}

/// No intent can be taken now: never attached, logging out, or too many unconfirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no intent can be taken now")]
pub struct Busy;
