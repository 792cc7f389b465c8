//! The inputs of a tick: everything that can change a zone's world, and nothing else.

use bytes::Bytes;
use everhold_protocol::{Account, Epoch, Intent, RefusalCode, SessionId, Tick};

use crate::ownership::DataStamp;

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
    /// A character that rested outside the zone comes back to it, away until somebody attaches. Ignored if the zone has
    /// it, or may have had it since its record was looked up.
    Lodge(Lodge),
    /// The character at rest is kept elsewhere as it is: the zone forgets it. Ignored if it has woken since, which its
    /// generation tells.
    Evict {
        /// Its account.
        account: Account,
        /// The generation at which it is kept.
        generation: u64,
    },
    /// The archive has a higher generation of a character that is here, by ticks that were undone: its own goes above
    /// that. Ignored if the account has no character here.
    Outrank {
        /// Its account.
        account: Account,
        /// The generation that the archive has.
        generation: u64,
    },
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
    /// The account's session is ended from outside: the connection that speaks for it is told this code, no secret of
    /// it is good any more, and its character goes to rest as after a lost connection. Ignored if the account has no
    /// character here.
    Dismiss {
        /// Its account.
        account: Account,
        /// The reason, which its client is told.
        code: RefusalCode,
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
    /// Whether a new character may be born.
    pub birth: Birth,
}

/// Whether a login makes a new character for an account that has none in the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// No: the zone is believed to have it. If it has not, the login is refused, and nothing is spent.
    Never,
    /// Yes: the account's record was looked up, and there is no character to bring. If the account may have been here
    /// since, the login is refused as with [`Birth::Never`].
    Allowed {
        /// The zone's tick at which the record was asked for.
        asked: DataStamp,
        /// The generation of the record, which that of the character follows; 0 if there is none.
        generation: u64,
    },
    /// Yes, in any case. Only records of layout 1 mean this: no character left its zone then.
    Always,
}

/// A character that comes back to its zone from rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lodge {
    /// The account.
    pub account: Account,
    /// The zone's tick at which the account's record was asked for.
    pub asked: DataStamp,
    /// The highest generation that any record of it has: that of the character goes above it.
    pub generation: u64,
    /// The character, as [`crate::zone::payload`] made it.
    pub payload: Bytes,
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
