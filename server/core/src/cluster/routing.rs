//! Routing decides where each connection goes: into a zone of this process, into its login queue, to another shard, or
//! nowhere until a shard serves the zone. It decides nothing about ownership, opens no socket, asks no store, and reads
//! no clock.
//!
//! ```text
//!              ticket                              secret
//!                │ AskAccount, handle_account        │
//!                ▼                                   ▼
//!   no zone ◄── place: what the directory and this process know of the zone ──► Wait: again after each change
//!   has its      │ here                       │ elsewhere
//!   session      ▼                            ▼
//!           Admission: Attach,             Redirect
//!           Queued, or Refuse
//! ```
//!
//! A connection whose character the zone does not have is admitted all the same, and its account is looked up then: the
//! character is brought to the zone with it (`arrivals`).
//!
//! It knows a connection by its id. What happened comes in by `handle_*`, with the [`Moment`] at which it happened;
//! what is to be done goes out by [`Routing::poll_command`], which is to be called until it returns none.

mod accounts;
mod admission;
mod arrivals;
mod banned;
mod command;
mod homes;
mod local;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use everhold_protocol::limits::TICKET_SKEW_S;
use everhold_protocol::ticket::TicketClaims;
use everhold_protocol::{RefusalCode, ServerMessage, ZoneName};

pub(crate) use banned::BANNED_DETAIL;
pub use command::{AccountQuery, AccountReply, Attach, AttachRequest, QueueMeter, RoutingCommand};
pub use local::{ConnStatus, LocalState, Moment, ZoneStatus};

use self::accounts::Accounts;
use self::admission::LocalZone;
use self::command::Commands;
use self::homes::{LookUpStep, LookUps};
use self::waiting::{EntryClaim, WaitingConn, WaitingList};
use super::directory::{Directory, Placement, RouteRequest};
use crate::ingress::{AttachToken, Login, ResumeClaim};
use crate::limits::PLACEMENTS_PER_TURN;
use crate::ownership::{LeaseView, ShardView, Tenure};

/// The settings of a shard's routing.
#[derive(Clone, Copy, Debug)]
pub struct RoutingConfig {
    /// Ticks per second.
    pub tick_hz: u16,
    /// Players of a zone above which newcomers wait.
    pub players_max: u32,
    /// Whether the world has an archive, in which characters may rest.
    pub has_archive: bool,
}

/// The connections of a shard that are not attached yet, and what is known of the zones that they want.
#[derive(Debug)]
pub struct Routing {
    config: RoutingConfig,
    directory: Directory,
    /// The shards that were named to the clients last.
    peers: Vec<std::net::SocketAddr>,
    zones: BTreeMap<ZoneName, LocalZone>,
    waiting: WaitingList,
    accounts: Accounts,
    look_ups: LookUps,
    /// Connections that were let into a zone, and whose character is being looked up.
    arriving: BTreeMap<AttachToken, WaitingConn>,
    /// Connections that were let into a zone.
    placed: BTreeMap<AttachToken, ZoneName>,
    /// Connections that were sent into a zone and whose players have ended their session: the zone closes them.
    leaving: BTreeSet<AttachToken>,
    closed: bool,
    commands: Commands,
}

impl Routing {
    /// A shard's routing, without any zone of its own. `directory` is what it knows of the cluster.
    #[must_use]
    pub fn new(config: RoutingConfig, directory: Directory) -> Self {
        Self {
            config,
            directory,
            peers: Vec::new(),
            zones: BTreeMap::new(),
            waiting: WaitingList::default(),
            accounts: Accounts::default(),
            look_ups: LookUps::new(config.has_archive),
            arriving: BTreeMap::new(),
            placed: BTreeMap::new(),
            leaving: BTreeSet::new(),
            closed: false,
            commands: Commands::default(),
        }
    }

    /// The next thing to do. Call it after every `handle_*` until there is none.
    pub fn poll_command(&mut self) -> Option<RoutingCommand> {
        self.commands.poll()
    }

    /// Takes in a connection that has said a good hello.
    pub fn handle_login(&mut self, at: Moment<'_>, conn: AttachToken, login: Login) {
        if self.closed {
            self.commands
                .refuse(conn, RefusalCode::Stopping, "the server is stopping");
            return;
        }
        match login {
            Login::Ticket(claims) => self.seek_home(at, conn, claims),
            Login::Resume(claim) => self.seek_session(at, conn, claim),
        }
    }

    /// Notes that the player of a connection ends its session. The zone closes the connection when that is stored: at
    /// once or, if the connection still waits, when it is attached.
    pub fn handle_logout(&mut self, conn: AttachToken) {
        let waiting = match self.waiting.get_mut(conn) {
            Some(waiting) => Some(waiting),
            None => self.arriving.get_mut(&conn),
        };
        if let Some(waiting) = waiting {
            waiting.logs_out = true;
            return;
        }
        if self.leaving.contains(&conn) {
            return;
        }
        match self.take_out(conn) {
            Some(zone) => {
                self.leaving.insert(conn);
                self.commands.push(RoutingCommand::Logout { conn, zone });
            }
            None => self.refuse_logout(conn),
        }
    }

    /// Notes that the zone of a [`RoutingCommand::Logout`] is over, and heard nothing of it.
    pub fn handle_logout_failed(&mut self, conn: AttachToken) {
        self.leaving.remove(&conn);
        self.refuse_logout(conn);
    }

    /// Notes that a connection is over. Nothing is said of it any more.
    pub fn handle_gone(&mut self, conn: AttachToken) {
        self.leaving.remove(&conn);
        self.accounts.leave(conn);
        self.give_up(conn);
        self.look_ups.forget(conn);
        if self.arriving.remove(&conn).is_some() {
            self.take_out(conn);
        }
        if let Some(zone) = self.take_out(conn) {
            self.commands.push(RoutingCommand::Detach { conn, zone });
        }
        self.commands.forget(conn);
    }

    /// Takes the answer to a [`RoutingCommand::AskAccount`].
    pub fn handle_account(&mut self, at: Moment<'_>, conn: AttachToken, reply: AccountReply) {
        match self.look_ups.handle_reply(conn, reply) {
            Some(LookUpStep::Ask(command)) => self.commands.push(command),
            Some(LookUpStep::Known(zone)) if self.arriving.contains_key(&conn) => self.send_on(at, conn, zone),
            Some(LookUpStep::Known(zone)) => {
                self.waiting.settle(conn, zone);
                self.place(at, conn);
            }
            Some(LookUpStep::Bring(asked, arrival)) => self.bring(at, conn, asked, arrival),
            Some(LookUpStep::Failed(why)) => {
                self.commands.push(RoutingCommand::ReportLookUp(why));
                self.refuse_arrival(conn);
                let detail = "the account cannot be looked up; try again";
                self.refuse(conn, RefusalCode::Internal, detail);
            }
            None => {}
        }
    }

    /// Takes what the authority shows: leases as far as they could be read, and shards if they could be.
    pub fn handle_views(&mut self, at: Moment<'_>, leases: &[LeaseView], shards: Option<&[ShardView]>) {
        self.directory.handle_views(at.now, leases, shards);
        let peers = self.directory.peers();
        if peers != self.peers {
            self.peers.clone_from(&peers);
            self.commands.push(RoutingCommand::NamePeers(peers));
        }
        self.waiting.note_change();
    }

    /// Notes that a zone runs here.
    pub fn handle_zone_up(&mut self, tenure: Tenure) {
        let Tenure { zone, grant } = tenure;
        self.zones.entry(zone).or_insert_with(|| LocalZone::new(grant)).grant = grant;
        self.waiting.note_change();
    }

    /// Notes that a zone is over here. The clients that wait for it wait for its next owner; the zone has closed those
    /// that it served. An end of an earlier grant than the one that it runs under now says nothing.
    pub fn handle_zone_ended(&mut self, tenure: &Tenure) {
        let Tenure { zone, grant } = tenure;
        if self.zones.get(zone).is_some_and(|local| local.grant == *grant) {
            self.zones.remove(zone);
            self.placed.retain(|_, placed| placed != zone);
            self.take_back_arrivals(zone);
            self.waiting.forget_queue(zone);
            self.commands.push(RoutingCommand::ForgetZone(zone.clone()));
        }
        self.waiting.note_change();
    }

    /// Lets no newcomer in any more: the process is stopping.
    pub fn handle_close(&mut self) {
        self.closed = true;
        for local in self.zones.values_mut() {
            local.queue = crate::load::LoginQueue::default();
        }
        let arriving = std::mem::take(&mut self.arriving).into_values();
        for waiting in self.waiting.drain().chain(arriving) {
            let detail = "the server is stopping; another will answer";
            self.commands.refuse(waiting.conn, RefusalCode::Stopping, detail);
        }
        self.waiting.note_change();
    }

    /// Admits from the login queues, and closes newcomers whose ticket has run out: call it every
    /// [`LOGIN_ROUND_MS`](crate::limits::LOGIN_ROUND_MS).
    ///
    /// An unused ticket is good for a minute and no longer. Those that queue, or did, were heard in time, and returning
    /// players wait as long as it takes.
    pub fn handle_pulse(&mut self, at: Moment<'_>) {
        self.admit_queued(at);
        for waiting in self.waiting.take_expired(tickets_over_before(at.unix_s)) {
            let detail = "the ticket has expired before anybody served the zone: log in again";
            self.commands.refuse(waiting.conn, RefusalCode::TicketExpired, detail);
        }
    }

    /// Whether connections that wait are to be looked at again: call [`Routing::handle_turn`] soon.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.waiting.is_due()
    }

    /// Looks again at some of those that wait: with thousands of them, no other connection is to wait for all of it.
    pub fn handle_turn(&mut self, at: Moment<'_>) {
        let (zones, directory) = (&self.zones, &self.directory);
        let is_served = |zone: &ZoneName| zones.contains_key(zone) || directory.is_served(at.now, zone);
        for conn in self.waiting.take_due(PLACEMENTS_PER_TURN, is_served) {
            self.place(at, conn);
        }
    }

    /// Notes that a zone took no [`RoutingCommand::Attach`] of this connection: its inbox is full.
    pub fn handle_attach_failed(&mut self, conn: AttachToken) {
        if !self.leaving.remove(&conn) {
            self.take_out(conn);
        }
        let detail = "the zone takes no more inputs; try again";
        self.commands.refuse(conn, RefusalCode::Full, detail);
    }

    /// Seeks the zone that a secret's bearer names: its session was there last. The zone compares the secret.
    fn seek_session(&mut self, at: Moment<'_>, conn: AttachToken, claim: ResumeClaim) {
        let (account, secret) = (claim.account, claim.secret);
        if !self.accounts.come_back(at, account, conn, secret, &mut self.commands) {
            let detail = "as many connections of this account as may wait here do so already; try again later";
            self.commands.refuse(conn, RefusalCode::Full, detail);
            return;
        }
        let request = RouteRequest::Resume {
            epoch: claim.epoch,
            since: at.now,
        };
        let zone = claim.zone.clone();
        self.waiting
            .insert(WaitingConn::new(conn, zone, request, EntryClaim::Resume(claim)));
        self.place(at, conn);
    }

    /// Begins to look up the home of a ticket's account, unless a zone of this process has its character. The ticket
    /// says where a *new* character is born; one that lives somewhere is sent there.
    fn seek_home(&mut self, at: Moment<'_>, conn: AttachToken, claims: TicketClaims) {
        let (account, zone) = (claims.account, claims.zone.clone());
        let placement = self.directory.place(at.now, &zone, None, RouteRequest::New);
        if placement == Placement::ZoneUnknown {
            self.commands
                .refuse(conn, RefusalCode::ZoneUnknown, "this world has no such zone");
            return;
        }
        if self.succeed(at, conn, &claims) {
            return;
        }
        self.accounts.log_in(at, account, conn, &mut self.commands);
        let is_here = |zone: &&ZoneName| at.local.zone(zone).is_some() && at.local.has(zone, account);
        if let Some(zone) = self.zones.keys().find(is_here).cloned() {
            let claim = EntryClaim::Join(claims);
            self.waiting
                .insert(WaitingConn::new(conn, zone, RouteRequest::New, claim));
            self.place(at, conn);
            return;
        }
        self.commands
            .push(self.look_ups.begin_place(conn, account, zone.clone()));
        let claim = EntryClaim::Homing(claims);
        self.waiting
            .insert(WaitingConn::new(conn, zone, RouteRequest::New, claim));
    }

    /// Brings a waiting connection where it belongs, if that is known now.
    fn place(&mut self, at: Moment<'_>, conn: AttachToken) {
        let Some(waiting) = self.waiting.get(conn) else {
            return;
        };
        if waiting.queues() || matches!(waiting.claim, EntryClaim::Homing(_)) {
            return;
        }
        let local = self.zones.get(&waiting.zone).and_then(|_| at.local.zone(&waiting.zone));
        let here = local.and_then(|status| status.hosted);
        match self.directory.place(at.now, &waiting.zone, here, waiting.request) {
            Placement::Wait => self.tell_to_wait(conn),
            Placement::Here => self.request_entry(at, conn),
            Placement::There { .. } if waiting.is_expired(tickets_over_before(at.unix_s)) => {
                // It kept its place here for as long as it could; the zone's owner would say the same.
                let detail = "another shard serves the zone now, and the ticket has expired meanwhile: log in again";
                self.refuse(conn, RefusalCode::TicketExpired, detail);
            }
            Placement::There { addr, epoch } => {
                if let Some(WaitingConn { zone, .. }) = self.waiting.remove(conn) {
                    self.commands
                        .redirect(conn, ServerMessage::Redirect { addr, zone, epoch });
                }
            }
            Placement::SessionUnknown => {
                let detail = "this world is older than the session, and has none such: log in again";
                self.refuse(conn, RefusalCode::SessionUnknown, detail);
            }
            Placement::ZoneUnknown => self.refuse(conn, RefusalCode::ZoneUnknown, "this world has no such zone"),
        }
    }

    fn tell_to_wait(&mut self, conn: AttachToken) {
        if let Some(waiting) = self.waiting.get_mut(conn)
            && !std::mem::replace(&mut waiting.told_to_wait, true)
        {
            self.commands.reply(conn, ServerMessage::Wait);
        }
    }

    /// Refuses a connection, if it still waits.
    fn refuse(&mut self, conn: AttachToken, code: RefusalCode, detail: &str) {
        if self.waiting.remove(conn).is_some() {
            self.commands.refuse(conn, code, detail);
        }
    }

    fn refuse_logout(&mut self, conn: AttachToken) {
        let detail = "the zone is no longer served here: the log-out is not done";
        self.commands.refuse(conn, RefusalCode::Stopping, detail);
    }
}

/// The second before which a ticket must have ended to be good nowhere any more, whatever the clocks of hosts are.
const fn tickets_over_before(unix_s: u64) -> u64 {
    unix_s.saturating_sub(TICKET_SKEW_S)
}

#[cfg(test)]
mod tests;
