//! The outputs of a step. The gate holds them until the tick's record is acknowledged.

use everhold_protocol::{Account, EntityId, OwnState, RefusalCode, SeqEvent, SessionId, Tick};

use crate::ingress::AttachToken;

/// The zone's part of an [`Attached`](everhold_protocol::Attached): a session as it is after the tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The session.
    pub session: SessionId,
    /// The last input applied.
    pub last_input_seq: u64,
    /// The last event of the session, those below included.
    pub event_seq: u64,
    /// The last event that the session has forgotten.
    pub events_forgotten: u64,
    /// Everything the player is and has, after the tick's inputs.
    pub own: OwnState,
    /// The events that the client does not have, oldest first.
    pub missed: Vec<SeqEvent>,
}

/// The answer to a `Join` or `Resume`, or the end of an attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The connection speaks for the session.
    Attached(Welcome),
    /// The request is refused for this reason, and the connection speaks for no session.
    Refused(RefusalCode),
    /// The session was logged out of; the connection is to be closed.
    LoggedOut(SessionId),
    /// The session was ended from outside, for this reason; the connection is to be closed.
    Dismissed(SessionId, RefusalCode),
    /// A newer connection speaks for the session; this one is to be closed.
    Superseded(SessionId),
}

/// A change in who has a place in the zone, by which newcomers are admitted. A character at rest has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Residence {
    /// The account's character is in the world, attached or away.
    Taken(Account),
    /// It went to rest, or came back to the zone and rests there still.
    Left(Account),
    /// It rests outside the zone from now on, which forgets it.
    Evicted(Account),
    /// A ticket was used for a login; the zone remembers it until this tick.
    TicketSpent([u8; 16], Tick),
}

/// A move of value between two accounts, or between an account and the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueMove {
    /// The kind of value: an index into those that the game declares.
    pub value: u32,
    /// The thing, if it is one with a number.
    pub thing: Option<EntityId>,
    /// The amount, in the value's own unit; 1 for a thing.
    pub amount: u64,
    /// The giver. `None`: the world, where it came into being.
    pub from: Option<Account>,
    /// The taker. `None`: the world, where it ended.
    pub to: Option<Account>,
    /// The intent that caused it: a session, and the place in its sequence. `None`: no player's.
    pub command: Option<(SessionId, u64)>,
}

/// The outputs of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// The tick that was stepped.
    pub tick: Tick,
    /// Answers to connections, in order of the inputs that asked.
    pub replies: Vec<(AttachToken, Reply)>,
    /// Events of attached sessions, in order of session and `seq`. Events of away sessions only enter their outbox.
    pub events: Vec<(SessionId, SeqEvent)>,
    /// Characters that came in or went to rest, and tickets that were used, in the order of it.
    pub residences: Vec<Residence>,
    /// Moves of value, in the order in which they were told.
    pub moves: Vec<ValueMove>,
}
