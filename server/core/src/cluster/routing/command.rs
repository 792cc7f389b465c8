//! The commands of routing. The driver carries each out as it stands, in order, and decides nothing more.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use everhold_protocol::{Account, RefusalCode, ServerMessage, SessionId, Tick, ZoneName};

use super::local::{ConnStatus, Moment};
use crate::cluster::{AccountRecord, Home};
use crate::durability::archive::{ArchiveError, ArchivedAccount};
use crate::durability::store::StoreError;
use crate::ingress::refusal::Refusal;
use crate::ingress::{AttachToken, Birth, Input, Join, Lodge, Resume, SecretHash};

/// One thing to do.
#[derive(Debug)]
pub enum RoutingCommand {
    /// Asks store or archive about an account. Answer with [`Routing::handle_account`](super::Routing::handle_account).
    AskAccount {
        /// The connection that waits for it.
        conn: AttachToken,
        /// The account.
        account: Account,
        /// The question.
        query: AccountQuery,
        /// Time to let pass before it is asked.
        after: Duration,
    },
    /// Sends a connection's join or resume into a zone of this process. If the zone takes no more inputs, say so with
    /// [`Routing::handle_attach_failed`](super::Routing::handle_attach_failed).
    Attach(Attach),
    /// Tells a zone that a connection which was sent into it is gone.
    Detach {
        /// The connection.
        conn: AttachToken,
        /// The zone.
        zone: ZoneName,
    },
    /// Tells a zone that the player of a connection ends its session. If the zone is over, say so with
    /// [`Routing::handle_logout_failed`](super::Routing::handle_logout_failed).
    Logout {
        /// The connection.
        conn: AttachToken,
        /// The zone.
        zone: ZoneName,
    },
    /// Tells a zone that an account's session is ended from outside. It may be told again.
    Dismiss {
        /// The account.
        account: Account,
        /// The zone that has a connection of it.
        zone: ZoneName,
        /// The reason, which the client is told.
        code: RefusalCode,
    },
    /// Sends a message; the connection waits on.
    Reply {
        /// The connection.
        conn: AttachToken,
        /// The message.
        message: ServerMessage,
    },
    /// Sends a message after which the client goes elsewhere and closes the connection itself.
    Redirect {
        /// The connection.
        conn: AttachToken,
        /// The message.
        message: ServerMessage,
    },
    /// Closes a connection and says why.
    Refuse {
        /// The connection.
        conn: AttachToken,
        /// The reason.
        refusal: Refusal,
    },
    /// Lets go of a zone that is no longer hosted here.
    ForgetZone(ZoneName),
    /// Shows what became of a zone's login queue.
    Meter {
        /// The zone.
        zone: ZoneName,
        /// The figure to show.
        meter: QueueMeter,
    },
    /// Names these shards, from now on, to the clients of this one.
    NamePeers(Vec<SocketAddr>),
    /// Logs that a client is refused because its account cannot be looked up, for this reason.
    ReportLookUp(String),
}

/// A question about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountQuery {
    /// The store's record: [`HomeStore::record`](crate::cluster::HomeStore::record). Answered with
    /// [`AccountReply::Record`].
    Record,
    /// The archive's row: [`Archive::account`](crate::durability::archive::Archive::account). Answered with
    /// [`AccountReply::Archived`].
    Archived,
    /// Put a row into the archive that stands for a character which will be born:
    /// [`Archive::put_account`](crate::durability::archive::Archive::put_account). Answered with
    /// [`AccountReply::Reserved`] or [`AccountReply::Taken`].
    Reserve {
        /// The zone of its birth.
        zone: ZoneName,
        /// The generation of the row.
        generation: u64,
    },
    /// Set the home unless there is one: [`HomeStore::set_home`](crate::cluster::HomeStore::set_home). Answered with
    /// [`AccountReply::HomeIs`].
    SetHome(Home),
}

/// The answer to a question about an account.
#[derive(Clone, Debug, PartialEq)]
pub enum AccountReply {
    /// The store's record.
    Record(Option<AccountRecord>),
    /// The archive's row.
    Archived(Option<Box<ArchivedAccount>>),
    /// The account is reserved in the archive.
    Reserved,
    /// It is not: the archive has something of it.
    Taken,
    /// The home was set, if there was none before.
    HomeIs(Option<Home>),
    /// No answer, for this reason: it is to be asked again.
    Unknown(String),
    /// The record or row cannot be read, for this reason.
    Unreadable(String),
}

impl AccountReply {
    /// Makes the reply of a store that did not do what it was asked to.
    #[must_use]
    pub fn of_store_error(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unknown(error.to_string()),
            _ => Self::Unreadable(error.to_string()),
        }
    }

    /// Makes the reply of an archive that did not do what it was asked to.
    #[must_use]
    pub fn of_archive_error(error: &ArchiveError) -> Self {
        match error {
            ArchiveError::Unavailable(_) => Self::Unknown(error.to_string()),
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

/// A figure of a login queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueMeter {
    /// One more newcomer has to wait.
    Queued,
    /// One more newcomer is refused.
    Refused,
    /// Newcomers that wait now.
    Length(u32),
}

/// A join or a resume on its way into a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The connection that asks.
    pub conn: AttachToken,
    /// The zone.
    pub zone: ZoneName,
    /// The account, for which the next resume secret is made.
    pub account: Account,
    /// The kind of attach, with its proof.
    pub request: AttachRequest,
    /// Whether the player has ended the session already: it is logged out as soon as it is attached.
    pub logs_out: bool,
    /// The character, if it comes back from rest: to be applied before the request.
    pub lodge: Option<Lodge>,
}

/// A request to attach: everything of its input but the hash of the secret that the answer will carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachRequest {
    /// A log-in by ticket.
    Join {
        /// The ticket's id.
        ticket: [u8; 16],
        /// The tick from which the zone may forget the ticket's id.
        ticket_forget_tick: Tick,
        /// Whether a new character may be born.
        birth: Birth,
    },
    /// A resume by secret.
    Resume {
        /// The session.
        session: SessionId,
        /// Hash of the secret that the client has shown.
        secret: SecretHash,
        /// The last event that the client has.
        event_seq: u64,
    },
}

impl Attach {
    /// The zone's input. `next_secret` is the hash of the secret that the answer will carry.
    #[must_use]
    pub const fn input(&self, next_secret: SecretHash) -> Input {
        match self.request {
            AttachRequest::Join {
                ticket,
                ticket_forget_tick,
                birth,
            } => Input::Join(Join {
                account: self.account,
                ticket,
                ticket_forget_tick,
                secret: next_secret,
                token: self.conn,
                birth,
            }),
            AttachRequest::Resume {
                session,
                secret,
                event_seq,
            } => Input::Resume(Resume {
                session,
                secret,
                next_secret,
                event_seq,
                token: self.conn,
            }),
        }
    }
}

/// The commands that were not polled yet, and the connections that they end.
#[derive(Debug, Default)]
pub(super) struct Commands {
    queue: VecDeque<RoutingCommand>,
    /// Connections that routing has ended and that are not gone yet.
    ending: BTreeSet<AttachToken>,
}

impl Commands {
    /// The next command, in the order of the decisions.
    pub(super) fn poll(&mut self) -> Option<RoutingCommand> {
        self.queue.pop_front()
    }

    pub(super) fn push(&mut self, command: RoutingCommand) {
        self.queue.push_back(command);
    }

    pub(super) fn reply(&mut self, conn: AttachToken, message: ServerMessage) {
        self.push(RoutingCommand::Reply { conn, message });
    }

    pub(super) fn redirect(&mut self, conn: AttachToken, message: ServerMessage) {
        self.ending.insert(conn);
        self.push(RoutingCommand::Redirect { conn, message });
    }

    pub(super) fn refuse(&mut self, conn: AttachToken, code: RefusalCode, detail: &str) {
        self.ending.insert(conn);
        let refusal = Refusal::new(code, detail);
        self.push(RoutingCommand::Refuse { conn, refusal });
    }

    pub(super) fn meter(&mut self, zone: &ZoneName, meter: QueueMeter) {
        let zone = zone.clone();
        self.push(RoutingCommand::Meter { zone, meter });
    }

    /// Whether a connection has ended, or is about to by a command that may not have been carried out yet.
    pub(super) fn has_ended(&self, at: Moment<'_>, conn: AttachToken) -> bool {
        self.ending.contains(&conn) || at.local.conn(conn) == ConnStatus::Ended
    }

    /// Whether routing has ended a connection that is not gone yet.
    pub(super) fn is_ending(&self, conn: AttachToken) -> bool {
        self.ending.contains(&conn)
    }

    /// Forgets a connection that is gone.
    pub(super) fn forget(&mut self, conn: AttachToken) {
        self.ending.remove(&conn);
    }
}
