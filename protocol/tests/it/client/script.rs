//! The script: a client, a clock, and the server's messages.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use everhold_protocol::client::{Client, ClientConfig, Command, ConnId, Notice};
use everhold_protocol::{
    Attached, ClientMessage, Credential, EntityId, Epoch, Event, GoldCause, InputFrame, Item, OwnState, RefusalCode,
    SeqEvent, ServerMessage, Snapshot, SnapshotHeader, Tick, value_digest,
};

pub(super) const SESSION: EntityId = EntityId::new(1, 7);

/// Returns the address of shard number `n`.
pub(super) fn addr(n: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7_000 + n))
}

/// Returns the item that the player starts with.
pub(super) fn sword() -> Item {
    Item {
        uid: EntityId::new(1, 8),
        kind: 3,
    }
}

/// Returns the state that the player starts with.
pub(super) fn own() -> OwnState {
    OwnState {
        x: 10,
        y: 20,
        hp: 100,
        gold: 50,
        items: vec![sword()],
    }
}

/// An `Attached` of which a test changes some fields.
#[derive(Clone, Debug)]
pub(super) struct Attach {
    pub(super) epoch: Epoch,
    pub(super) zone: &'static str,
    pub(super) tick: Tick,
    pub(super) last_input_seq: u64,
    pub(super) event_seq: u64,
    pub(super) events_forgotten: u64,
    pub(super) secret: u8,
    pub(super) own: OwnState,
    pub(super) peers: Vec<SocketAddr>,
}

impl Attach {
    pub(super) fn epoch(epoch: u32) -> Self {
        Self {
            epoch: Epoch(epoch),
            zone: "meadow",
            tick: Tick(100 * u64::from(epoch)),
            last_input_seq: 0,
            event_seq: 0,
            events_forgotten: 0,
            secret: epoch as u8,
            own: own(),
            peers: vec![addr(2), addr(3)],
        }
    }

    pub(super) fn message(self) -> ServerMessage {
        ServerMessage::Attached(Attached {
            epoch: self.epoch,
            zone: self.zone.parse().unwrap(),
            session: SESSION,
            secret: [self.secret; 32],
            tick_hz: 20,
            resumed_tick: self.tick,
            last_input_seq: self.last_input_seq,
            event_seq: self.event_seq,
            events_forgotten: self.events_forgotten,
            rewound_ticks: 0,
            own: self.own,
            peers: self.peers,
        })
    }
}

/// Returns the header of a snapshot of the start, before any event.
pub(super) fn header(epoch: u32, tick: Tick) -> SnapshotHeader {
    let OwnState { gold, items, .. } = own();
    SnapshotHeader {
        epoch: Epoch(epoch),
        tick,
        unconfirmed_ticks: 0,
        dilation: 255,
        last_input_seq: 0,
        event_seq: 0,
        x: 11,
        y: 21,
        hp: 99,
        value_digest: value_digest(gold, &items),
    }
}

pub(super) fn gold(seq: u64, total: u64) -> SeqEvent {
    SeqEvent {
        seq,
        tick: Tick(100),
        event: Event::Gold {
            total,
            delta: 1,
            cause: GoldCause::Loot,
        },
    }
}

pub(super) fn redirect(n: u16, epoch: u32) -> ServerMessage {
    redirect_to("meadow", n, epoch)
}

pub(super) fn redirect_to(zone: &str, n: u16, epoch: u32) -> ServerMessage {
    ServerMessage::Redirect {
        addr: addr(n),
        zone: zone.parse().unwrap(),
        epoch: Epoch(epoch),
    }
}

pub(super) fn refused(code: RefusalCode) -> ServerMessage {
    ServerMessage::Refused {
        code,
        detail: String::new(),
    }
}

/// A client and its output so far.
pub(super) struct Script {
    pub(super) client: Client,
    pub(super) now: Duration,
    connects: VecDeque<(ConnId, SocketAddr)>,
    pub(super) sent: VecDeque<(ConnId, ClientMessage)>,
    pub(super) frames: VecDeque<(ConnId, InputFrame)>,
    pub(super) closed: Vec<ConnId>,
    pub(super) notices: Vec<Notice>,
}

impl Script {
    /// Starts a client with a ticket that knows shards 1, 2 and 3.
    pub(super) fn start() -> Self {
        Self::seeded(1)
    }

    pub(super) fn seeded(seed: u64) -> Self {
        Self::start_with(Credential::Ticket(vec![1, 2, 3]), vec![addr(1), addr(2), addr(3)], seed)
    }

    pub(super) fn start_with(credential: Credential, addrs: Vec<SocketAddr>, seed: u64) -> Self {
        Self::start_spread(0, credential, addrs, seed)
    }

    /// Starts a client that spreads its parking. All others here do not, so that they park in the moment in which they
    /// notice a silence.
    fn start_spread(park_spread_ms: u64, credential: Credential, addrs: Vec<SocketAddr>, seed: u64) -> Self {
        let config = ClientConfig {
            park_spread_ms,
            ..ClientConfig::default()
        };
        let client = Client::new(config, credential, addrs, seed);
        let now = Duration::from_secs(1);
        let (connects, sent, frames) = Default::default();
        let mut script = Self {
            client,
            now,
            connects,
            sent,
            frames,
            closed: Vec::new(),
            notices: Vec::new(),
        };
        script.client.handle_start(now);
        script.collect();
        script
    }

    /// Returns a client that shard 1 has attached under epoch 1, with nothing of it left to read.
    pub(super) fn attached() -> (Self, ConnId) {
        Self::start().attach()
    }

    /// Returns the same of a client that spreads its parking.
    pub(super) fn attached_spread(park_spread_ms: u64, seed: u64) -> (Self, ConnId) {
        let addrs = vec![addr(1), addr(2), addr(3)];
        Self::start_spread(park_spread_ms, Credential::Ticket(vec![1, 2, 3]), addrs, seed).attach()
    }

    fn attach(mut self) -> (Self, ConnId) {
        let conn = self.greeted_at(1);
        self.control(conn, Attach::epoch(1).message());
        self.notices.clear();
        (self, conn)
    }

    /// Returns a client whose owner has fallen silent, and the first two shards at which it parked.
    pub(super) fn parked() -> (Self, ConnId, [(ConnId, SocketAddr); 2]) {
        let (mut script, old) = Self::attached();
        script.advance(250);
        let first = script.connect();
        script.advance(225);
        let second = script.connect();
        for (conn, _) in [first, second] {
            script.connected(conn);
        }
        script.notices.clear();
        (script, old, [first, second])
    }

    fn collect(&mut self) {
        while let Some(command) = self.client.poll_command() {
            match command {
                Command::Connect { conn, addr } => self.connects.push_back((conn, addr)),
                Command::SendControl { conn, message } => self.sent.push_back((conn, message)),
                Command::SendDatagram { conn, bytes } => {
                    self.frames
                        .push_back((conn, InputFrame::decode(&bytes).unwrap().checked().unwrap()));
                }
                Command::Close { conn, .. } => {
                    self.connects.retain(|&(other, _)| other != conn);
                    self.closed.push(conn);
                }
            }
        }
        self.notices.extend(std::iter::from_fn(|| self.client.poll_notice()));
    }

    /// Lets time pass, with every timer served when it is due.
    pub(super) fn advance(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while let Some(at) = self.client.poll_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.client.handle_timeout(self.now);
            self.collect();
            assert!(
                self.client.poll_timeout().is_none_or(|next| next > self.now),
                "a timer is due again at once"
            );
        }
        self.now = until;
    }

    /// Lets time pass without a timer served, then serves them all at once.
    pub(super) fn oversleep(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.client.handle_timeout(self.now);
        self.collect();
    }

    /// Returns the next connection that the client opens.
    #[track_caller]
    pub(super) fn connect(&mut self) -> (ConnId, SocketAddr) {
        self.connects.pop_front().expect("the client wants no connection")
    }

    pub(super) fn wants_no_connection(&self) -> bool {
        self.connects.is_empty()
    }

    pub(super) fn connected(&mut self, conn: ConnId) {
        self.client.handle_connected(self.now, conn);
        self.collect();
    }

    /// Returns the next connection, which must be to shard `n`, after it is up and has sent `Hello`.
    #[track_caller]
    pub(super) fn greeted_at(&mut self, n: u16) -> ConnId {
        let (conn, to) = self.connect();
        assert_eq!(to, addr(n));
        self.connected(conn);
        conn
    }

    pub(super) fn disconnected(&mut self, conn: ConnId, code: Option<RefusalCode>) {
        let code = code.map(|code| u64::from(code.code()));
        self.client.handle_disconnected(self.now, conn, code, "gone");
        self.collect();
    }

    pub(super) fn control(&mut self, conn: ConnId, message: ServerMessage) {
        self.client.handle_control(self.now, conn, message);
        self.collect();
    }

    pub(super) fn event(&mut self, conn: ConnId, event: SeqEvent) {
        self.control(conn, ServerMessage::Event(event));
    }

    pub(super) fn snapshot(&mut self, conn: ConnId, header: SnapshotHeader) {
        let mut bytes = Vec::new();
        Snapshot {
            header,
            id_range: 0,
            updates: Vec::new(),
        }
        .encode(&mut bytes);
        self.client.handle_datagram(self.now, conn, &bytes);
        self.collect();
    }

    pub(super) fn logout(&mut self) {
        self.client.logout(self.now);
        self.collect();
    }

    /// Returns the notices since the last call.
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Returns the credential of the last `Hello` on this connection.
    #[track_caller]
    pub(super) fn hello(&self, conn: ConnId) -> Credential {
        let sent = self.sent.iter().rev().find_map(|(to, message)| match message {
            ClientMessage::Hello { credential, .. } if *to == conn => Some(credential.clone()),
            _ => None,
        });
        sent.expect("no hello was said there")
    }

    /// Returns the frames since the last call.
    pub(super) fn take_frames(&mut self) -> Vec<InputFrame> {
        self.frames.drain(..).map(|(_, frame)| frame).collect()
    }
}
