//! A server whose zone echoes, and players to talk to it.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use everhold_core::ingress::credential::SECRET_RANDOM_BYTES;
use everhold_core::ingress::{AttachToken, InboxEntry, Login};
use everhold_net::keys::{self, Keys};
use everhold_net::transport::{
    Conn, ConnEvent, DatagramBatch, Route, Transport, TransportConfig, TransportCounters, TransportError,
};
use everhold_protocol::limits::CONTROL_BYTES_MAX;
use everhold_protocol::message::{FrameDecoder, encode_frame};
use everhold_protocol::ticket::{self, TicketClaims};
use everhold_protocol::{
    Account, ClientMessage, Credential, Epoch, Heading, InputFrame, Intent, PROTOCOL_VERSION, RefusalCode, SeqIntent,
    ServerMessage, SessionId, Tick,
};
use quinn::{ConnectionError, Endpoint, RecvStream, SendStream};
use tokio::sync::mpsc;

/// The transport that a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    NetThreads,
    Reference,
}

thread_local! {
    /// Each test has a thread of its own.
    static KIND: Cell<Option<Kind>> = const { Cell::new(None) };
}

impl Kind {
    /// Runs a test on this transport.
    pub(crate) async fn run(self, test: impl Future<Output = ()>) {
        KIND.set(Some(self));
        test.await;
    }

    /// Binds the transport that the running test is to have.
    pub(crate) fn bind(
        config: TransportConfig,
        keys: &Keys,
        events: mpsc::Sender<ConnEvent>,
    ) -> Result<Transport, TransportError> {
        match KIND.get().expect("the test is listed in `on_both!`") {
            Self::NetThreads => Transport::bind(config, keys, events),
            Self::Reference => Transport::bind_reference(config, keys, events),
        }
    }
}

/// Makes a test of each function, on net threads: the reference transport has no such thing.
macro_rules! on_net_threads {
    ($($test:ident),* $(,)?) => {
        mod on_net_threads_alone {
            use $crate::transport::harness::Kind;
            $(#[tokio::test] async fn $test() { Kind::NetThreads.run(super::$test()).await })*
        }
    };
}

/// Makes two tests of each function: one on net threads, one on the reference.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod on_net_threads {
            use $crate::transport::harness::Kind;
            $(#[tokio::test] async fn $test() { Kind::NetThreads.run(super::$test()).await })*
        }
        mod on_reference {
            use $crate::transport::harness::Kind;
            $(#[tokio::test] async fn $test() { Kind::Reference.run(super::$test()).await })*
        }
    };
}

/// The epoch that the echoing zone runs under.
pub(crate) const EPOCH: u32 = 7;

/// Nothing here takes so long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must happen.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("this must happen, and did not")
}

/// Waits until a count says what it must.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let poll = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(poll).await;
}

/// The session that the echoing zone gives to a connection.
pub(crate) const fn session_of(token: AttachToken) -> SessionId {
    SessionId::new(EPOCH, token.0 as u32)
}

type Conns = Arc<Mutex<HashMap<AttachToken, Conn>>>;

/// A transport, and a zone that sends every frame's first number back to its sender.
pub(crate) struct Server {
    pub(crate) transport: Transport,
    pub(crate) counters: Arc<TransportCounters>,
    pub(crate) keys: Arc<Keys>,
    /// Events of the transport, after the router has seen them.
    pub(crate) told: mpsc::UnboundedReceiver<Told>,
    _dir: tempfile::TempDir,
}

/// An event of the transport.
#[derive(Debug)]
pub(crate) enum Told {
    Hello(Conn, Login),
    Logout(Conn),
    Closed(AttachToken, Option<SessionId>),
}

pub(crate) fn config() -> TransportConfig {
    TransportConfig {
        socket_buffer_bytes: 128 * 1024,
        ..TransportConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), 20)
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: TransportConfig) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let keys = Arc::new(Keys::load_or_create(dir.path()).expect("keys are made"));
        let (events_tx, events_rx) = mpsc::channel(64);
        let transport = Kind::bind(config, &keys, events_tx).expect("loopback can be bound");
        let (told_tx, told) = mpsc::unbounded_channel();
        let (inbox_tx, inbox_rx) = crossbeam::channel::bounded(1_024);
        let conns = Conns::default();
        tokio::spawn(route(events_rx, inbox_tx, conns.clone(), told_tx));
        // It ends when the router and every connection have let go of the inbox.
        std::thread::spawn(move || echo(&inbox_rx, &conns));
        Self {
            counters: transport.counters(),
            transport,
            keys,
            told,
            _dir: dir,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.transport.local_addr()
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        self.keys.ticket_signing_key().expect("development keys can sign")
    }

    pub(crate) fn client_config(&self) -> quinn::ClientConfig {
        keys::client_config(self.keys.certificates()).expect("the certificate can be trusted")
    }

    /// A connection that has said nothing yet.
    pub(crate) async fn dial(&self) -> Result<Dialed, ConnectionError> {
        self.dial_with(self.client_config()).await
    }

    pub(crate) async fn dial_with(&self, config: quinn::ClientConfig) -> Result<Dialed, ConnectionError> {
        Dialed::dial(self.addr(), config).await
    }

    /// A connection whose control stream begins with these bytes.
    pub(crate) async fn dial_and_write(&self, bytes: &[u8]) -> Player {
        let dialed = self.dial().await.expect("the handshake succeeds");
        Player::open(dialed, bytes).await
    }

    pub(crate) async fn dial_and_say(&self, message: &ClientMessage) -> Player {
        self.dial_and_write(&encode_frame(message).expect("it fits")).await
    }

    /// A player that is logged in and bound to the echoing zone.
    pub(crate) async fn player(&self) -> Player {
        let mut player = self.dial_and_say(&self.hello()).await;
        assert_eq!(player.hear().await, Some(ServerMessage::Wait), "the router's greeting");
        player
    }

    /// A player that shows a secret which a shard of this world gave to it.
    pub(crate) async fn returning_player(&self) -> Player {
        let zone = claims(0).zone;
        let resume_keys = self.keys.resume_keys();
        let secret = resume_keys.make(Account(13), [1; SECRET_RANDOM_BYTES]);
        let credential = Credential::Resume {
            zone,
            session: SessionId::new(EPOCH, 13),
            secret,
            epoch: Epoch(EPOCH),
            event_seq: 0,
        };
        let mut player = self.dial_and_say(&hello_with(credential)).await;
        assert_eq!(player.hear().await, Some(ServerMessage::Wait), "the router's greeting");
        player
    }

    /// A player that is here, and well, before something hostile comes.
    pub(crate) async fn bystander(&self) -> Player {
        let mut bystander = self.player().await;
        bystander.exchange().await;
        bystander
    }

    /// A good first message.
    pub(crate) fn hello(&self) -> ClientMessage {
        hello(ticket::sign(self.signing_key(), &claims(30)))
    }

    /// The next thing that the transport told.
    pub(crate) async fn next_told(&mut self) -> Told {
        soon(self.told.recv()).await.expect("the router lives")
    }

    /// The next `Hello` that the transport told.
    pub(crate) async fn next_conn(&mut self) -> Conn {
        loop {
            if let Told::Hello(conn, _) = self.next_told().await {
                return conn;
            }
        }
    }
}

pub(crate) fn hello(ticket: Vec<u8>) -> ClientMessage {
    hello_with(Credential::Ticket(ticket))
}

pub(crate) const fn hello_with(credential: Credential) -> ClientMessage {
    ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        credential,
    }
}

/// Claims of a ticket that expires so many seconds from now.
pub(crate) fn claims(expires_in_s: i64) -> TicketClaims {
    let now_unix_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_secs();
    TicketClaims {
        id: [3; 16],
        account: Account(12),
        zone: "north".parse().expect("a zone name"),
        expires_unix_s: now_unix_s.saturating_add_signed(expires_in_s),
    }
}

/// A good input frame with one intent of this number.
pub(crate) fn frame_bytes(epoch: u32, seq: u64) -> Bytes {
    let intents = vec![SeqIntent {
        seq,
        intent: Intent::Move(Heading::STILL),
    }];
    let mut bytes = Vec::new();
    let frame = InputFrame {
        epoch: Epoch(epoch),
        snapshot_tick: Tick(1),
        event_ack: 0,
        intents,
    };
    frame.encode(&mut bytes);
    bytes.into()
}

/// Binds everybody who says a good `Hello`, tells them so, and passes on what it was told.
async fn route(
    mut events: mpsc::Receiver<ConnEvent>,
    inbox: crossbeam::channel::Sender<InboxEntry>,
    conns: Conns,
    told: mpsc::UnboundedSender<Told>,
) {
    while let Some(event) = events.recv().await {
        let seen = match event {
            ConnEvent::Hello { conn, login } => {
                conns.lock().expect("no panic").insert(conn.token(), conn.clone());
                conn.bind(Route {
                    session: session_of(conn.token()),
                    epoch: Epoch(EPOCH),
                    inbox: inbox.clone(),
                });
                conn.send_control(&ServerMessage::Wait);
                Told::Hello(conn, login)
            }
            ConnEvent::Logout { conn } => Told::Logout(conn),
            ConnEvent::Closed { token, session } => {
                conns.lock().expect("no panic").remove(&token);
                Told::Closed(token, session)
            }
        };
        // A test that has seen enough does not listen any more.
        let _enough = told.send(seen);
    }
}

fn echo(inbox: &crossbeam::channel::Receiver<InboxEntry>, conns: &Conns) {
    while let Ok(InboxEntry::Frame { session, token, frame }) = inbox.recv() {
        assert_eq!(session, session_of(token));
        let conn = conns.lock().expect("no panic").get(&token).cloned();
        if let (Some(conn), Some(first)) = (conn, frame.intents.first()) {
            send(&conn, Bytes::copy_from_slice(&first.seq.to_le_bytes()));
        }
    }
}

/// Sends one datagram.
pub(crate) fn send(conn: &Conn, bytes: Bytes) {
    let range = 0..bytes.len() as u32;
    let mut batch = DatagramBatch::new(bytes, 1);
    batch.push(conn, range);
    batch.send();
}

/// A connection that the client opened.
pub(crate) struct Dialed {
    pub(crate) quic: quinn::Connection,
    pub(crate) endpoint: Endpoint,
}

impl Dialed {
    /// Connects to `addr`.
    pub(crate) async fn dial(addr: SocketAddr, config: quinn::ClientConfig) -> Result<Self, ConnectionError> {
        let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback can be bound");
        let connecting = endpoint.connect_with(config, addr, "everhold").expect("a good address");
        let quic = soon(connecting).await?;
        Ok(Self { quic, endpoint })
    }

    /// Sends one input frame with this number.
    pub(crate) fn send_frame(&self, epoch: u32, seq: u64) {
        self.quic
            .send_datagram(frame_bytes(epoch, seq))
            .expect("the connection lives");
    }

    /// The code with which the server closed the connection.
    pub(crate) async fn close_code(&self) -> RefusalCode {
        match soon(self.quic.closed()).await {
            ConnectionError::ApplicationClosed(close) => u32::try_from(close.error_code.into_inner())
                .ok()
                .and_then(RefusalCode::from_code)
                .expect("a code of this protocol"),
            other => panic!("closed without a code: {other}"),
        }
    }
}

/// A client with a control stream.
pub(crate) struct Player {
    pub(crate) dialed: Dialed,
    pub(crate) send: SendStream,
    recv: RecvStream,
    decoder: FrameDecoder,
    seq: u64,
}

impl Player {
    pub(crate) async fn open(dialed: Dialed, first_bytes: &[u8]) -> Self {
        let (send, recv) = soon(dialed.quic.open_bi()).await.expect("a stream can be opened");
        let mut player = Self {
            dialed,
            send,
            recv,
            decoder: FrameDecoder::new(CONTROL_BYTES_MAX),
            seq: 0,
        };
        player.write(first_bytes).await;
        player
    }

    /// Writes as much as the server lets it: it may say no before it has read all.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _refused = soon(self.send.write_all(bytes)).await;
    }

    pub(crate) async fn say(&mut self, message: &ClientMessage) {
        self.write(&encode_frame(message).expect("it fits")).await;
    }

    /// The next control message; `None` when there are no more.
    pub(crate) async fn hear(&mut self) -> Option<ServerMessage> {
        loop {
            if let Some(message) = self.decoder.next().expect("the server frames well") {
                return Some(message);
            }
            let chunk = soon(self.recv.read_chunk(CONTROL_BYTES_MAX, true)).await.ok()??;
            self.decoder.push(&chunk.bytes);
        }
    }

    /// Asserts that the server says no with this code, in a message and in the close, and returns the message's detail.
    pub(crate) async fn hear_refusal(&mut self, expected: RefusalCode) -> String {
        let detail = loop {
            match self.hear().await {
                Some(ServerMessage::Refused { code, detail }) => {
                    assert_eq!(code, expected, "{detail}");
                    break detail;
                }
                Some(ServerMessage::Wait) => {}
                other => panic!("expected to be refused with {expected:?}, heard {other:?}"),
            }
        };
        assert_eq!(self.dialed.close_code().await, expected);
        detail
    }

    /// Sends a frame until its echo comes: datagrams go both ways.
    pub(crate) async fn exchange(&mut self) {
        self.seq += 1;
        let expected = self.seq.to_le_bytes();
        let exchange = async {
            loop {
                self.dialed.send_frame(EPOCH, self.seq);
                let echo = tokio::time::timeout(Duration::from_millis(200), self.dialed.quic.read_datagram()).await;
                match echo {
                    Ok(Ok(bytes)) if bytes[..] == expected => return,
                    Ok(Err(e)) => panic!("the connection is gone: {e}"),
                    // Lost on the way, or the echo of an earlier one.
                    Ok(Ok(_)) | Err(_) => {}
                }
            }
        };
        soon(exchange).await;
    }
}
