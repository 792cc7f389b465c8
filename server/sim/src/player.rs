//! A simulated player: the real client machine, the connections that it opens, and a mind that walks, gives gold, and
//! talks. It checks what it is told; what is wrong is a breach.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use everhold_protocol::client::{Client, ClientConfig, Command as ClientCommand, ConnId, Notice};
use everhold_protocol::ticket::{self, TicketClaims};
use everhold_protocol::{
    Account, Credential, Epoch, Heading, Intent, Item, RefusalCode, ServerMessage, Tick, ZoneName,
};

use crate::env::Env;
use crate::event::{ClientPacket, PlayerEvent, ShardInput, SimEvent};
use crate::links::{Party, UNIX_S, address};

/// The longest silence of a connection before both sides give it up.
const IDLE: Duration = Duration::from_secs(10);
/// The validity of a ticket, seconds.
const TICKET_S: u64 = 60;

/// A connection as the client sees it.
struct ClientConn {
    shard: usize,
    life: Option<u64>,
    /// No control message arrives before this: a stream keeps its order.
    control_from: Duration,
    silent_since: Option<Duration>,
    /// Messages that were not read yet.
    incoming: VecDeque<ServerMessage>,
    /// Messages that a blocked link holds back.
    outgoing: VecDeque<ClientPacket>,
}

/// A simulated player.
pub struct SimPlayer {
    place: usize,
    account: Account,
    zone: ZoneName,
    key: SigningKey,
    shards: usize,
    client: Client,
    conns: BTreeMap<ConnId, ClientConn>,
    timeout_at: Option<Duration>,
    tickets: u32,
    /// The newest position that was shown, in the zone that it is in.
    shown: Option<(ZoneName, Epoch, Tick)>,
    in_zone: Option<ZoneName>,
    /// The losses of its zone before the epoch that it was last attached in.
    losses: u64,
    /// Whether it is attached in a zone that has begun again without something that it was told.
    is_told_of_loss: bool,
    /// Whether its purse may still be another than its events add up to, once: they are those of two histories.
    may_mismatch: bool,
    /// The moment of the last snapshot.
    pub heard_at: Option<Duration>,
    /// Whether the mind still acts.
    pub is_active: bool,
    /// A line of chat that makes a rule fail, to be said once.
    pub poison: Option<String>,
}

impl SimPlayer {
    /// A player that is about to log in.
    #[must_use]
    pub fn new(place: usize, zone: ZoneName, key: SigningKey, shards: usize, seed: u64) -> Self {
        let mut player = Self {
            place,
            account: Account(place as u64 + 1),
            zone,
            key,
            shards,
            client: Client::new(
                ClientConfig::default(),
                Credential::Ticket(Vec::new()),
                Vec::new(),
                seed,
            ),
            conns: BTreeMap::new(),
            timeout_at: None,
            tickets: 0,
            shown: None,
            in_zone: None,
            losses: 0,
            is_told_of_loss: false,
            may_mismatch: false,
            heard_at: None,
            is_active: true,
            poison: None,
        };
        player.log_in(Duration::ZERO, seed);
        player
    }

    /// Makes a machine with a fresh ticket.
    fn log_in(&mut self, now: Duration, seed: u64) {
        self.tickets += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.account.0.to_le_bytes());
        id[8..].copy_from_slice(&u64::from(self.tickets).to_le_bytes());
        let claims = TicketClaims {
            id,
            account: self.account,
            zone: self.zone.clone(),
            expires_unix_s: UNIX_S + now.as_secs() + TICKET_S,
        };
        let credential = Credential::Ticket(ticket::sign(&self.key, &claims));
        let addrs = (0..self.shards).map(address).collect();
        self.client = Client::new(ClientConfig::default(), credential, addrs, seed);
    }

    /// Returns the gold that it has, as it was told.
    #[must_use]
    pub fn gold(&self) -> u64 {
        self.client.mirror().own.gold
    }

    /// Returns the items that it has, as it was told.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.client.mirror().own.items
    }

    /// Whether a connection speaks for its session.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.client.is_attached()
    }

    /// Hears an event.
    pub fn handle(&mut self, env: &mut Env, mut event: PlayerEvent) {
        let now = env.now;
        if let PlayerEvent::Connected(conn, ..)
        | PlayerEvent::Disconnected(conn, ..)
        | PlayerEvent::Control(conn, _)
        | PlayerEvent::Again(conn)
        | PlayerEvent::SendAgain(conn)
        | PlayerEvent::Datagram(conn, _) = &mut event
        {
            let Some(own) = conn.0.checked_sub(self.first_conn()) else {
                // It is of a machine that was given up.
                return;
            };
            *conn = ConnId(own);
        }
        match event {
            PlayerEvent::Start => self.client.handle_start(now),
            PlayerEvent::Timeout => {
                self.timeout_at = None;
                self.client.handle_timeout(now);
            }
            PlayerEvent::Act => self.act(env),
            PlayerEvent::Connected(conn, shard, life) => {
                if let Some(connection) = self.conns.get_mut(&conn) {
                    (connection.shard, connection.life) = (shard, Some(life));
                    self.client.handle_connected(now, conn);
                }
            }
            PlayerEvent::Disconnected(conn, code, detail) => {
                if self.conns.remove(&conn).is_some() {
                    self.client.handle_disconnected(now, conn, code, &detail);
                }
            }
            PlayerEvent::Control(conn, message) => {
                if let Some(connection) = self.conns.get_mut(&conn) {
                    connection.incoming.push_back(message);
                }
                self.read_control(env, conn);
            }
            PlayerEvent::Again(conn) => self.read_control(env, conn),
            PlayerEvent::SendAgain(conn) => self.write_control(env, conn),
            PlayerEvent::Datagram(conn, bytes) => {
                if self.conns.contains_key(&conn) {
                    self.client.handle_datagram(now, conn, &bytes);
                }
            }
        }
        self.drive(env);
    }

    /// Returns what the number of this machine's first connection is to all others: no two machines of a player have a
    /// connection in common.
    const fn first_conn(&self) -> u32 {
        self.tickets << 16
    }

    /// Reads what has come on a control stream. A stream keeps its order, and sends again what a blocked link lost.
    fn read_control(&mut self, env: &mut Env, conn: ConnId) {
        while let Some(connection) = self.conns.get_mut(&conn) {
            let (from, to) = (Party::Shard(connection.shard), Party::Player(self.place));
            if !env.links.is_open(from, to) {
                let conn = ConnId(conn.0 + self.first_conn());
                let again = SimEvent::Player(self.place, PlayerEvent::Again(conn));
                env.after(Duration::from_millis(100), again);
                return;
            }
            let Some(message) = connection.incoming.pop_front() else {
                return;
            };
            self.client.handle_control(env.now, conn, message);
        }
    }

    /// Gives connections up that have been silent for too long. `has` says whether a shard, in this life of its, still
    /// has a connection: one that it closed is silent from then on, whether or not the player hears of that.
    pub fn look(&mut self, env: &mut Env, has: impl Fn(usize, u64, ConnId) -> bool) {
        let (now, me, first) = (env.now, Party::Player(self.place), self.first_conn());
        let mut over = Vec::new();
        for (id, connection) in &mut self.conns {
            let Some(life) = connection.life else { continue };
            let there = Party::Shard(connection.shard);
            let passes = env.links.is_open(there, me) && env.links.is_open(me, there);
            let is_there = passes && has(connection.shard, life, ConnId(id.0 + first));
            let since = *connection.silent_since.get_or_insert(now);
            if is_there {
                connection.silent_since = None;
            } else if now.saturating_sub(since) > IDLE {
                over.push(*id);
            }
        }
        for ConnId(conn) in over {
            env.took("a connection that fell silent for good");
            let conn = ConnId(conn + first);
            self.handle(env, PlayerEvent::Disconnected(conn, None, "idle".to_owned()));
        }
    }

    fn act(&mut self, env: &mut Env) {
        let wait = Duration::from_millis(100 + env.rng.below(300));
        if !self.is_active {
            return;
        }
        env.after(wait, SimEvent::Player(self.place, PlayerEvent::Act));
        if !self.client.is_attached() {
            return;
        }
        let others: Vec<_> = self.client.mirror().entities().map(|entity| entity.id).collect();
        let drawn = env.rng.below(10);
        let intent = if let Some(text) = self.poison.take() {
            Intent::Say(text)
        } else if drawn < 5 && !others.is_empty() {
            let to = others[env.rng.below(others.len() as u64) as usize];
            let amount = 1 + env.rng.below(5);
            match self.items().first() {
                Some(item) if amount == 5 => Intent::GiveItem { to, item: item.uid },
                _ => Intent::GiveGold { to, amount },
            }
        } else if drawn < 9 {
            let [dx, dy] = [(); 2].map(|()| i8::try_from(env.rng.below(181)).unwrap_or_default() - 90);
            Intent::Move(Heading::new(dx, dy).unwrap_or(Heading::STILL))
        } else {
            Intent::Say("hello".to_owned())
        };
        let _busy = self.client.push_intent(env.now, intent);
    }

    fn drive(&mut self, env: &mut Env) {
        while let Some(command) = self.client.poll_command() {
            self.carry_out(env, command);
        }
        while let Some(notice) = self.client.poll_notice() {
            self.note(env, notice);
        }
        self.is_told_of_loss = false;
        let at = self.client.poll_timeout();
        if let Some(at) = at
            && self.timeout_at.is_none_or(|known| at < known)
        {
            self.timeout_at = Some(at);
            env.at(at.max(env.now), SimEvent::Player(self.place, PlayerEvent::Timeout));
        }
    }

    fn carry_out(&mut self, env: &mut Env, command: ClientCommand) {
        match command {
            ClientCommand::Connect { conn, addr } => {
                let shard = usize::from(addr.port() - address(0).port());
                let connection = ClientConn {
                    shard,
                    life: None,
                    control_from: Duration::ZERO,
                    silent_since: None,
                    incoming: VecDeque::new(),
                    outgoing: VecDeque::new(),
                };
                self.conns.insert(conn, connection);
                self.send(env, conn, ClientPacket::Open);
            }
            ClientCommand::SendControl { conn, message } => self.send(env, conn, ClientPacket::Control(message)),
            ClientCommand::SendDatagram { conn, bytes } => self.send(env, conn, ClientPacket::Datagram(bytes.into())),
            ClientCommand::Close { conn, .. } => {
                self.send(env, conn, ClientPacket::Close);
                self.conns.remove(&conn);
            }
        }
    }

    /// Sends a packet to the life of the shard that the connection is with.
    fn send(&mut self, env: &mut Env, conn: ConnId, packet: ClientPacket) {
        let Some(connection) = self.conns.get_mut(&conn) else {
            return;
        };
        if !matches!(packet, ClientPacket::Datagram(_)) {
            connection.outgoing.push_back(packet);
            self.write_control(env, conn);
            return;
        }
        let (me, there) = (Party::Player(self.place), Party::Shard(connection.shard));
        let is_lost = env.rng.below(1_000) < env.links.loss_permille;
        if is_lost || !env.links.is_open(me, there) {
            return;
        }
        let at = env.now + env.delay(me, there);
        let (shard, life) = (connection.shard, connection.life);
        let packet = ShardInput::Packet(self.place, ConnId(conn.0 + self.first_conn()), packet);
        env.at(at, SimEvent::Packet(shard, life, packet));
    }

    /// Sends what waits to be sent on a control stream, in order. What a blocked link loses is sent again.
    fn write_control(&mut self, env: &mut Env, conn: ConnId) {
        let (me, first) = (Party::Player(self.place), self.first_conn());
        let Some(connection) = self.conns.get_mut(&conn) else {
            return;
        };
        let (shard, life) = (connection.shard, connection.life);
        if !env.links.is_open(me, Party::Shard(shard)) {
            env.took("a message that was sent again");
            let again = PlayerEvent::SendAgain(ConnId(conn.0 + first));
            env.after(Duration::from_millis(100), SimEvent::Player(self.place, again));
            return;
        }
        for packet in connection.outgoing.drain(..) {
            let at = env.now + env.delay(me, Party::Shard(shard));
            connection.control_from = at.max(connection.control_from);
            let packet = ShardInput::Packet(self.place, ConnId(conn.0 + first), packet);
            env.at(connection.control_from, SimEvent::Packet(shard, life, packet));
        }
    }

    fn note(&mut self, env: &mut Env, notice: Notice) {
        match notice {
            Notice::Attached {
                epoch,
                zone,
                resumed_tick,
                lost_inputs,
                rewound_ticks,
                failover,
                ..
            } => {
                let place = self.place;
                env.tell(|| format!("player {place} is attached in {zone} epoch {epoch} tick {resumed_tick}"));
                if failover.is_some() {
                    env.took("a player that failed over");
                }
                self.note_losses(env, &zone, epoch);
                self.check(env, lost_inputs == 0, "a confirmed input is kept", || {
                    format!("{lost_inputs} lost")
                });
                self.check(
                    env,
                    rewound_ticks == 0 || env.is_async,
                    "what was shown is kept",
                    || format!("{rewound_ticks} rewound"),
                );
                self.in_zone = Some(zone.clone());
                self.see(env, zone, epoch, resumed_tick);
            }
            Notice::Snapshot { header, .. } => {
                self.heard_at = Some(env.now);
                if let Some(zone) = self.in_zone.clone() {
                    self.see(env, zone, header.epoch, header.tick);
                }
            }
            Notice::EventGap { expected, got } => {
                self.check(env, false, "events come once and in order", || {
                    format!("{expected} was due, {got} came")
                });
            }
            Notice::EventRepeated { seq, same } => {
                self.check(env, same, "events come once and in order", || {
                    format!("{seq} came twice")
                });
            }
            Notice::ValueMismatch { tick, event_seq } => {
                let is_excused = std::mem::take(&mut self.may_mismatch);
                self.check(env, is_excused, "gold is what the events add up to", || {
                    format!("tick {tick}, event {event_seq}")
                });
            }
            Notice::Refused { code, .. } if code.is_final() => self.start_again(env, code),
            Notice::Superseded => self.start_again(env, RefusalCode::Superseded),
            _ => {}
        }
    }

    /// Returns the zone that it is in, or would log in to.
    pub fn zone(&self) -> &ZoneName {
        self.in_zone.as_ref().unwrap_or(&self.zone)
    }

    /// Epochs that a client sees in a zone only rise, and ticks within an epoch, too.
    fn see(&mut self, env: &mut Env, zone: ZoneName, epoch: Epoch, tick: Tick) {
        if let Some((seen_zone, seen_epoch, seen_tick)) = &self.shown
            && *seen_zone == zone
        {
            let (seen_epoch, seen_tick) = (*seen_epoch, *seen_tick);
            self.check(env, epoch >= seen_epoch, "epochs that a client sees only rise", || {
                format!("{zone}: {epoch} after {seen_epoch}")
            });
            let kept = tick >= seen_tick || epoch == seen_epoch;
            self.check(env, kept || env.is_async, "what was shown is kept", || {
                format!("{zone}: tick {tick} of epoch {epoch} after tick {seen_tick} of epoch {seen_epoch}")
            });
        }
        let newest = self.shown.take().filter(|(seen, ..)| *seen == zone);
        let tick = newest.map_or(tick, |(_, _, seen)| seen.max(tick));
        self.shown = Some((zone, epoch, tick));
    }

    /// Notes that it is attached in an epoch of a zone: what was lost before that epoch it is told to have lost, and
    /// nothing else.
    fn note_losses(&mut self, env: &mut Env, zone: &ZoneName, epoch: Epoch) {
        let losses = env.services.losses_before(zone, epoch);
        if losses > self.losses {
            env.took("a player that was told of a loss");
            self.losses = losses;
            self.shown = None;
            (self.is_told_of_loss, self.may_mismatch) = (true, true);
        }
    }

    fn check(&self, env: &mut Env, holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) {
        if !holds && !self.is_told_of_loss {
            let detail = format!("player {}: {}", self.place, detail());
            env.services.breach(invariant, detail);
        }
    }

    /// Logs in anew, with a fresh ticket, after this refusal.
    pub fn start_again(&mut self, env: &mut Env, code: RefusalCode) {
        let place = self.place;
        env.tell(|| format!("player {place} is refused: {code:?}"));
        env.took("a player that had to log in anew");
        self.conns.clear();
        self.timeout_at = None;
        let seed = env.rng.draw();
        self.log_in(env.now, seed);
        env.after(Duration::from_millis(500), SimEvent::Player(place, PlayerEvent::Start));
    }
}
