//! The inputs of a tick: everything that can change a zone's world, and nothing else.

use everhold_protocol::{Account, Epoch, Intent, SessionId, Tick};

/// BLAKE3 of a resume secret. The secret itself never enters the state, a record, or a checkpoint.
pub type SecretHash = [u8; 32];

/// Names the connection that asked, so that the reply finds it. Opaque to the zone; drawn from a process-wide counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachToken(pub u64);

/// One input. Inputs of a tick are applied in the order of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The first input of every ownership: sessions become away, ids move to this epoch's range.
    EpochStart {
        /// The new epoch.
        epoch: Epoch,
        /// The new owner.
        nonce: u64,
        /// The rules that it runs: a record under other rules is not replayed.
        rules_id: [u8; 32],
    },
    /// A login by ticket. An account that has a session here takes it over; the earlier connection is superseded.
    Join(Join),
    /// A session comes back with its secret.
    Resume(Resume),
    /// The connection that `token` attached is gone. Ignored if a later one has attached since.
    Detach {
        /// The session to detach.
        session: SessionId,
        /// The attach that ended.
        token: AttachToken,
    },
    /// The player ends the session over the connection that `token` attached: no secret of it is good any more, and
    /// only a ticket brings its character back. Ignored if a later one has attached since.
    Logout {
        /// The session to end.
        session: SessionId,
        /// The attach that ends.
        token: AttachToken,
    },
    /// A player's intent. Applied if `seq` follows the session's last; anything else is a duplicate or a gap and
    /// changes nothing.
    Intent {
        /// The player's session.
        session: SessionId,
        /// Place in the session's sequence.
        seq: u64,
        /// The player's request.
        intent: Intent,
    },
    /// A message in an intent's place that is no intent: it uses up its number, and its sender is told.
    Invalid {
        /// The session that sent it.
        session: SessionId,
        /// Place in the session's sequence.
        seq: u64,
    },
    /// The client has all events up to this one.
    EventAck {
        /// The player's session.
        session: SessionId,
        /// The last event it has.
        event_seq: u64,
    },
    /// This input (of this session, with this number) made the zone fail and is refused from now on.
    Quarantine {
        /// The player's session.
        session: SessionId,
        /// The input's number.
        seq: u64,
    },
}

/// A login by ticket, as its zone applies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// The account of the ticket.
    pub account: Account,
    /// The ticket's id, consumed by this input.
    pub ticket: [u8; 16],
    /// The tick from which the ticket's id may be forgotten (its expiry, reckoned generously).
    pub ticket_forget_tick: Tick,
    /// Hash of the secret that the reply will carry.
    pub secret: SecretHash,
    /// The connection that asks.
    pub token: AttachToken,
}

/// A resume by secret, as its zone applies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The session.
    pub session: SessionId,
    /// Hash of the secret that the client has shown.
    pub secret: SecretHash,
    /// Hash of the secret that replaces it.
    pub next_secret: SecretHash,
    /// The last event that the client has: the outbox forgets up to it, and the reply brings what follows.
    pub event_seq: u64,
    /// The connection that asks.
    pub token: AttachToken,
}
