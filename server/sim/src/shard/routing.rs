//! The router and the connections of a simulated shard: hellos are checked as in a shard, and what its routing and the
//! egress of its zones command becomes packets.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use everhold_core::cluster::routing::{
    AccountQuery, AccountReply, Attach, ConnStatus, LocalState, Moment, RoutingCommand, ZoneStatus,
};
use everhold_core::egress::{EgressCommand, PendingAttach};
use everhold_core::ingress::inbox::InboxEntry;
use everhold_core::ingress::{AttachToken, Input, NewsFilter, login};
use everhold_core::limits::LOGIN_ROUND_MS;
use everhold_core::load::{Caller, Rung};
use everhold_core::ownership::Tenure;
use everhold_protocol::client::ConnId;
use everhold_protocol::{Account, ClientMessage, Epoch, InputFrame, RefusalCode, ServerMessage, SessionId, ZoneName};

use super::SimShard;
use super::keeping::OWN_BOUND;
use super::zone::SimZone;
use crate::env::Env;
use crate::event::{ClientPacket, PlayerEvent, ShardInput, SimEvent};
use crate::links::{Party, UNIX_S};

/// A connection of a player.
pub(super) struct ServerConn {
    player: usize,
    conn: ConnId,
    has_said_hello: bool,
    route: Option<(SessionId, ZoneName, Epoch)>,
    has_ended: bool,
    news: NewsFilter,
    /// No control message arrives before this: a stream keeps its order.
    control_from: Duration,
}

/// The zones and connections of this process.
#[derive(Default)]
pub(super) struct SimLocal {
    pub(super) zones: BTreeMap<ZoneName, SimZone>,
    pub(super) conns: BTreeMap<AttachToken, ServerConn>,
    now: Duration,
}

impl SimLocal {
    pub(super) fn moment(&mut self, now: Duration) -> Moment<'_> {
        self.now = now;
        Moment {
            now,
            unix_s: UNIX_S + now.as_secs(),
            local: self,
        }
    }
}

impl LocalState for SimLocal {
    fn zone(&self, zone: &ZoneName) -> Option<ZoneStatus> {
        self.zones.get(zone).map(|hosted| ZoneStatus {
            hosted: Some(hosted.entry(self.now)),
            rung: Rung::default(),
            tick: hosted.tick(),
        })
    }

    fn caller(&self, zone: &ZoneName, account: Account, ticket: &[u8; 16]) -> Caller {
        let hosted = &self.zones[zone];
        hosted.residents.judge(account, ticket, hosted.tick())
    }

    fn has(&self, zone: &ZoneName, account: Account) -> bool {
        self.zones[zone].residents.has(account)
    }

    fn conn(&self, conn: AttachToken) -> ConnStatus {
        match self.conns.get(&conn) {
            Some(conn) if conn.has_ended => ConnStatus::Ended,
            Some(conn) if conn.route.is_some() => ConnStatus::Attached,
            Some(_) => ConnStatus::Unattached,
            None => ConnStatus::Ended,
        }
    }
}

impl SimShard {
    /// Whether this process has a player's connection.
    pub(crate) fn has_connection(&self, conn: (usize, ConnId)) -> bool {
        let mut conns = self.local.conns.values();
        conns.any(|known| (known.player, known.conn) == conn)
    }

    pub(super) fn handle_packet(&mut self, env: &mut Env, (player, conn): (usize, ConnId), packet: ClientPacket) {
        if let ClientPacket::Open = packet {
            self.open(env, player, conn);
            return;
        }
        let found = self
            .local
            .conns
            .iter()
            .find(|(_, known)| (known.player, known.conn) == (player, conn));
        let Some(token) = found.map(|(token, _)| *token) else {
            // A process that does not know the connection resets it.
            self.send_end(env, (player, conn), None, "reset");
            return;
        };
        match packet {
            ClientPacket::Open => {}
            ClientPacket::Close => self.handle_gone(env, token),
            ClientPacket::Control(message) => self.handle_control(env, token, message),
            ClientPacket::Datagram(bytes) => self.handle_datagram(env, token, &bytes),
        }
    }

    fn open(&mut self, env: &mut Env, player: usize, conn: ConnId) {
        self.next_token += 1;
        let connection = ServerConn {
            player,
            conn,
            has_said_hello: false,
            route: None,
            has_ended: false,
            news: NewsFilter::default(),
            control_from: Duration::ZERO,
        };
        self.local.conns.insert(AttachToken(self.next_token), connection);
        let (place, life) = (self.place, self.life);
        self.deliver(env, player, PlayerEvent::Connected(conn, place, life));
    }

    fn handle_control(&mut self, env: &mut Env, token: AttachToken, message: ClientMessage) {
        let Some(connection) = self.local.conns.get_mut(&token) else {
            return;
        };
        if connection.has_said_hello {
            if message == ClientMessage::Logout {
                self.routing.handle_logout(token);
                self.drive_routing(env);
            }
            return;
        }
        connection.has_said_hello = true;
        let unix_s = UNIX_S + env.now.as_secs();
        match login::check_hello(message, &[self.world.ticket_key], &self.resume_keys, unix_s) {
            Ok(login) => {
                let moment = self.local.moment(env.now);
                self.routing.handle_login(moment, token, login);
                self.drive_routing(env);
            }
            Err(refusal) => self.close(env, token, refusal.code, &refusal.detail),
        }
    }

    fn handle_datagram(&mut self, env: &mut Env, token: AttachToken, bytes: &Bytes) {
        let Some(connection) = self.local.conns.get_mut(&token) else {
            return;
        };
        let Ok(frame) = InputFrame::decode(bytes) else {
            env.services.breach(
                "a client's datagram decodes",
                format!("of player {}", connection.player),
            );
            return;
        };
        let Some((session, zone, epoch)) = connection.route.clone() else {
            return;
        };
        if frame.epoch == epoch
            && connection.news.is_news(&frame, env.now)
            && let Some(hosted) = self.local.zones.get_mut(&zone)
        {
            let _full = hosted.push(InboxEntry::Frame { session, token, frame });
        }
    }

    pub(super) fn handle_gone(&mut self, env: &mut Env, token: AttachToken) {
        self.routing.handle_gone(token);
        self.local.conns.remove(&token);
        self.drive_routing(env);
    }

    pub(super) fn ask_account(&mut self, env: &mut Env, (conn, account): (AttachToken, Account), query: AccountQuery) {
        let number = self.number();
        self.homes.insert(number, conn);
        let party = match &query {
            AccountQuery::Record | AccountQuery::SetHome(_) => Party::Store,
            AccountQuery::Archived | AccountQuery::Reserve { .. } => Party::Archive,
        };
        self.request(env, (party, Some(number)), move |services| {
            let reply = match &query {
                AccountQuery::Record => AccountReply::Record(services.store.record(account)),
                AccountQuery::SetHome(home) => {
                    let set = services.store.set_home(account, None, home);
                    let set = services.confirmed(set).map(AccountReply::HomeIs);
                    set.unwrap_or_else(|error| AccountReply::of_store_error(&error))
                }
                AccountQuery::Archived => AccountReply::Archived(services.archive.account(account).map(Box::new)),
                AccountQuery::Reserve { zone, generation } => {
                    services.reserve_account(account, *generation, zone.clone())
                }
            };
            ShardInput::Account(number, reply)
        });
        self.schedule(env, OWN_BOUND, ShardInput::Expired(number));
    }

    pub(super) fn handle_account(&mut self, env: &mut Env, number: u64, reply: AccountReply) {
        let Some(conn) = self.homes.remove(&number) else {
            return;
        };
        let moment = self.local.moment(env.now);
        self.routing.handle_account(moment, conn, reply);
        self.drive_routing(env);
    }

    pub(super) fn round(&mut self, env: &mut Env) {
        let moment = self.local.moment(env.now);
        self.routing.handle_pulse(moment);
        self.drive_routing(env);
        self.schedule(env, Duration::from_millis(LOGIN_ROUND_MS), ShardInput::Round);
    }

    /// Lets the routing do what is due.
    pub(super) fn drive_routing(&mut self, env: &mut Env) {
        loop {
            while let Some(command) = self.routing.poll_command() {
                self.carry_out_routing(env, command);
            }
            if !self.routing.is_due() {
                return;
            }
            let moment = self.local.moment(env.now);
            self.routing.handle_turn(moment);
        }
    }

    fn carry_out_routing(&mut self, env: &mut Env, command: RoutingCommand) {
        match command {
            RoutingCommand::AskAccount {
                conn,
                account,
                query,
                after,
            } => self.schedule(env, after, ShardInput::AskAccount(conn, account, query)),
            RoutingCommand::Attach(attach) => self.attach(env, &attach),
            RoutingCommand::Detach { conn, zone } => {
                if let Some(hosted) = self.local.zones.get_mut(&zone) {
                    hosted.egress.handle_gone(conn);
                    hosted.push_leaves();
                }
            }
            RoutingCommand::Logout { conn, zone } => match self.local.zones.get_mut(&zone) {
                Some(hosted) => {
                    hosted.egress.handle_log_out(conn);
                    hosted.push_leaves();
                }
                None => self.routing.handle_logout_failed(conn),
            },
            RoutingCommand::Dismiss { account, zone, code } => {
                if let Some(hosted) = self.local.zones.get_mut(&zone) {
                    // One that is full is told again.
                    let _taken = hosted.push(InboxEntry::Input(Input::Dismiss { account, code }));
                }
            }
            RoutingCommand::Reply { conn, message } => self.send(env, conn, message),
            RoutingCommand::Redirect { conn, message } => {
                self.send(env, conn, message);
                if let Some(connection) = self.local.conns.get_mut(&conn) {
                    connection.has_ended = true;
                }
            }
            RoutingCommand::Refuse { conn, refusal } => self.close(env, conn, refusal.code, &refusal.detail),
            RoutingCommand::NamePeers(peers) => self.peers = peers,
            RoutingCommand::ForgetZone(_) | RoutingCommand::Meter { .. } | RoutingCommand::ReportLookUp(_) => {}
        }
    }

    fn attach(&mut self, env: &mut Env, attach: &Attach) {
        let random = std::array::from_fn(|_| env.rng.draw() as u8);
        let secret = self.resume_keys.make(attach.account, random);
        let input = attach.input(*blake3::hash(&secret).as_bytes());
        let hosted = self.local.zones.get_mut(&attach.zone);
        let known = self.local.conns.contains_key(&attach.conn);
        let taken = hosted.filter(|_| known).is_some_and(|hosted| {
            let pending = PendingAttach::new(attach.conn, secret, attach.logs_out);
            let entry = pending.entry(input);
            hosted.egress.handle_asked(attach.conn, pending);
            let lodge = attach.lodge.clone().map(|lodge| InboxEntry::Input(Input::Lodge(lodge)));
            let taken = lodge.is_none_or(|lodge| hosted.push(lodge)) && hosted.push(entry);
            if !taken {
                hosted.egress.handle_gone(attach.conn);
            }
            taken
        });
        if !taken {
            self.routing.handle_attach_failed(attach.conn);
        }
    }

    /// Sends what the egress of a zone has to say.
    pub(super) fn drive_egress(&mut self, env: &mut Env, tenure: &Tenure) {
        loop {
            let Some(hosted) = self.local.zones.get_mut(&tenure.zone) else {
                return;
            };
            let Some(command) = hosted.egress.poll_command() else {
                hosted.push_leaves();
                return;
            };
            match command {
                EgressCommand::NoteResidences(tick, residences) => hosted.residents.handle_tick(tick, &residences),
                EgressCommand::Bind { conn, session, epoch } => {
                    if let Some(connection) = self.local.conns.get_mut(&conn) {
                        connection.route = Some((session, tenure.zone.clone(), epoch));
                    }
                }
                EgressCommand::Send { conn, message } => self.send(env, conn, message),
                EgressCommand::Close { conn, code, detail } => self.close(env, conn, code, detail),
            }
        }
    }

    /// Sends a message on the control stream.
    fn send(&mut self, env: &mut Env, token: AttachToken, message: ServerMessage) {
        let place = self.place;
        if let Some(connection) = self.local.conns.get_mut(&token).filter(|conn| !conn.has_ended) {
            let (player, conn) = (connection.player, connection.conn);
            let delay = env.delay(Party::Shard(place), Party::Player(player));
            connection.control_from = connection.control_from.max(env.now + delay);
            let at = connection.control_from;
            env.at(at, SimEvent::Player(player, PlayerEvent::Control(conn, message)));
        }
    }

    pub(super) fn send_datagram(&self, env: &mut Env, token: AttachToken, bytes: &[u8]) {
        let Some(connection) = self.local.conns.get(&token).filter(|conn| !conn.has_ended) else {
            return;
        };
        let (player, from) = (connection.player, Party::Shard(self.place));
        let to = Party::Player(player);
        if !env.links.is_open(from, to) || env.rng.below(1_000) < env.links.loss_permille {
            return;
        }
        let delay = env.delay(from, to);
        let datagram = PlayerEvent::Datagram(connection.conn, Bytes::copy_from_slice(bytes));
        env.after(delay, SimEvent::Player(player, datagram));
    }

    /// Closes a connection with a reason, after what was sent on it.
    fn close(&mut self, env: &mut Env, token: AttachToken, code: RefusalCode, detail: &str) {
        let Some(connection) = self.local.conns.get_mut(&token).filter(|conn| !conn.has_ended) else {
            return;
        };
        connection.has_ended = true;
        connection.route = None;
        let ended = (connection.player, connection.conn);
        let wait = connection.control_from.saturating_sub(env.now);
        self.send_end(env, ended, Some(code), detail);
        self.schedule(env, wait + Duration::from_millis(1), ShardInput::Gone(token));
    }

    fn send_end(&self, env: &mut Env, (player, conn): (usize, ConnId), code: Option<RefusalCode>, detail: &str) {
        let end = PlayerEvent::Disconnected(conn, code.map(|code| code as u64), detail.to_owned());
        self.deliver(env, player, end);
    }

    fn deliver(&self, env: &mut Env, player: usize, event: PlayerEvent) {
        let (from, to) = (Party::Shard(self.place), Party::Player(player));
        if env.links.is_open(from, to) {
            let delay = env.delay(from, to) + Duration::from_millis(10);
            env.after(delay, SimEvent::Player(player, event));
        }
    }
}
