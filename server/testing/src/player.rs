//! One player for tests: the real client machine over real QUIC, with everything that reached it written down.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use everhold_net::keys::{self, Keys};
use everhold_os::clock;
use everhold_protocol::client::{Client, ClientConfig, Command, ConnId, Notice};
use everhold_protocol::limits::{CONTROL_BYTES_MAX, TICKET_LIFETIME_S_MAX};
use everhold_protocol::message::{FrameDecoder, encode_frame};
use everhold_protocol::ticket::{TicketClaims, sign};
use everhold_protocol::{
    Account, Attached, Credential, Epoch, Intent, OwnState, ServerMessage, Snapshot, Tick, ZoneName,
};
use tokio::sync::{mpsc, watch};

/// Bound on every wait in a test: far above anything that a working system needs, on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A snapshot that arrived, whether or not the machine took notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The moment of arrival.
    pub at: Instant,
    /// The server that sent it.
    pub from: SocketAddr,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its tick.
    pub tick: Tick,
}

/// The fate of a connection that the machine wants to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldConnections {
    /// Close it.
    Close,
    /// Leave it open, so that a test hears what a superseded owner still sends.
    KeepListening,
}

/// A player that runs on a task of its own.
pub struct Player {
    orders: mpsc::UnboundedSender<PlayerOrder>,
    notices: mpsc::UnboundedReceiver<Notice>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    own: Arc<Mutex<OwnState>>,
    peers: watch::Receiver<Vec<SocketAddr>>,
}

enum PlayerOrder {
    Push(Intent),
    Logout,
    LoseConnections,
}

enum ConnReport {
    Connected(ConnId, quinn::Connection, mpsc::UnboundedSender<Vec<u8>>),
    Control(ConnId, ServerMessage),
    Datagram(ConnId, Bytes),
    Closed(ConnId, Option<u64>, String),
}

/// Makes a ticket for `account`, signed with the development key, good for a minute.
///
/// # Panics
/// Without the private half of the key, or randomness.
#[must_use]
pub fn ticket(keys: &Keys, account: u64, zone: &ZoneName) -> Vec<u8> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("randomness");
    let claims = TicketClaims {
        id,
        account: Account(account),
        zone: zone.clone(),
        expires_unix_s: clock::unix_s() + TICKET_LIFETIME_S_MAX,
    };
    sign(
        keys.ticket_signing_key().expect("development keys have both halves"),
        &claims,
    )
}

impl Player {
    /// Starts a player that logs in as `account` at one of `addrs`. Call it inside a runtime.
    #[must_use]
    pub fn login(keys: &Keys, addrs: Vec<SocketAddr>, account: u64, zone: &ZoneName, old: OldConnections) -> Self {
        Self::start(
            keys,
            addrs,
            Credential::Ticket(ticket(keys, account, zone)),
            account,
            old,
        )
    }

    /// Starts a player with this credential.
    ///
    /// # Panics
    /// If no UDP port can be had.
    #[must_use]
    pub fn start(keys: &Keys, addrs: Vec<SocketAddr>, credential: Credential, seed: u64, old: OldConnections) -> Self {
        let any: IpAddr = match addrs.first() {
            Some(SocketAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        Self::start_from(any, keys, addrs, (credential, seed), old)
    }

    /// Starts a player whose packets come from `from`.
    ///
    /// # Panics
    /// If no UDP port can be had there.
    #[must_use]
    pub fn start_from(
        from: IpAddr,
        keys: &Keys,
        addrs: Vec<SocketAddr>,
        (credential, seed): (Credential, u64),
        old: OldConnections,
    ) -> Self {
        let mut endpoint = quinn::Endpoint::client(SocketAddr::new(from, 0)).expect("a UDP port");
        endpoint.set_default_client_config(
            keys::client_config(keys.certificates()).expect("a certificate that was just made"),
        );
        let (orders, ordered) = mpsc::unbounded_channel();
        let (noticed, notices) = mpsc::unbounded_channel();
        let (net, net_events) = mpsc::unbounded_channel();
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::new(Mutex::new(OwnState::default()));
        let (told_of, peers) = watch::channel(Vec::new());
        let driver = Driver {
            machine: Client::new(ClientConfig::default(), credential, addrs, seed),
            endpoint,
            old,
            net,
            conns: HashMap::new(),
            addrs: HashMap::new(),
            noticed,
            arrivals: Arc::clone(&arrivals),
            own: Arc::clone(&own),
            told_of,
        };
        tokio::spawn(driver.run(ordered, net_events));
        Self {
            orders,
            notices,
            arrivals,
            own,
            peers,
        }
    }

    /// Queues an intent for the next frame.
    pub fn push(&self, intent: Intent) {
        let _ended = self.orders.send(PlayerOrder::Push(intent));
    }

    /// Logs out.
    pub fn logout(&self) {
        let _ended = self.orders.send(PlayerOrder::Logout);
    }

    /// Closes its connections behind the machine's back: it comes back with its secret.
    pub fn lose_connections(&self) {
        let _ended = self.orders.send(PlayerOrder::LoseConnections);
    }

    /// Returns all snapshots that have arrived so far.
    ///
    /// # Panics
    /// If the player's task panicked.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().expect("the player's task does not panic").clone()
    }

    /// Returns the player's own state, as the machine has it.
    ///
    /// # Panics
    /// If the player's task panicked.
    #[must_use]
    pub fn own(&self) -> OwnState {
        self.own.lock().expect("the player's task does not panic").clone()
    }

    /// Waits for the next notice for which `wanted` gives something; those before it are dropped.
    ///
    /// # Panics
    /// If it does not come within [`PATIENCE`]; `what` says in words what was waited for.
    pub async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&Notice) -> Option<T>) -> T {
        let mut passed = Vec::new();
        let search = async {
            loop {
                let notice = self
                    .notices
                    .recv()
                    .await
                    .unwrap_or_else(|| panic!("the player ended before: {what}"));
                if let Some(found) = wanted(&notice) {
                    return found;
                }
                if !matches!(notice, Notice::Snapshot { .. }) {
                    passed.push(notice);
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, search).await;
        found.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}; instead: {passed:?}"))
    }

    /// Waits until it is attached under an epoch above `epoch`, and returns that epoch.
    pub async fn until_attached_above(&mut self, epoch: Epoch) -> Epoch {
        self.until("attached", |notice| match notice {
            Notice::Attached { epoch: new, .. } if *new > epoch => Some(*new),
            _ => None,
        })
        .await
    }

    /// Waits until its owner has named the shard at `addr` as one to ask.
    ///
    /// # Panics
    /// If that does not come within [`PATIENCE`].
    pub async fn until_told_of(&mut self, addr: SocketAddr) {
        let told = self.peers.wait_for(|peers| peers.contains(&addr));
        let told = tokio::time::timeout(PATIENCE, told).await;
        drop(told.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: told of {addr}")));
    }

    /// Waits for a snapshot and returns its tick.
    pub async fn until_snapshot(&mut self) -> Tick {
        let tick = |notice: &Notice| match notice {
            Notice::Snapshot { header, .. } => Some(header.tick),
            _ => None,
        };
        self.until("a snapshot", tick).await
    }
}

struct Driver {
    machine: Client,
    endpoint: quinn::Endpoint,
    old: OldConnections,
    net: mpsc::UnboundedSender<ConnReport>,
    conns: HashMap<ConnId, (quinn::Connection, mpsc::UnboundedSender<Vec<u8>>)>,
    addrs: HashMap<ConnId, SocketAddr>,
    noticed: mpsc::UnboundedSender<Notice>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    own: Arc<Mutex<OwnState>>,
    told_of: watch::Sender<Vec<SocketAddr>>,
}

impl Driver {
    async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<PlayerOrder>,
        mut events: mpsc::UnboundedReceiver<ConnReport>,
    ) {
        self.machine.handle_start(clock::boottime());
        loop {
            self.carry_out();
            let wait = self
                .machine
                .poll_timeout()
                .map_or(PATIENCE, |at| at.saturating_sub(clock::boottime()));
            tokio::select! {
                order = orders.recv() => match order {
                    // A test pushes only while attached; a full window would be seen as an intent that is never
                    // confirmed.
                    Some(PlayerOrder::Push(intent)) => drop(self.machine.push_intent(clock::boottime(), intent)),
                    Some(PlayerOrder::Logout) => self.machine.logout(clock::boottime()),
                    Some(PlayerOrder::LoseConnections) => {
                        for (quic, _) in self.conns.values() {
                            quic.close(0_u32.into(), b"");
                        }
                    }
                    None => return,
                },
                Some(event) = events.recv() => self.handle(event),
                () = tokio::time::sleep(wait) => self.machine.handle_timeout(clock::boottime()),
            }
        }
    }

    fn handle(&mut self, event: ConnReport) {
        let now = clock::boottime();
        match event {
            ConnReport::Connected(conn, quic, stream) => {
                self.conns.insert(conn, (quic, stream));
                self.machine.handle_connected(now, conn);
            }
            ConnReport::Control(conn, message) => {
                if let ServerMessage::Peers(peers) | ServerMessage::Attached(Attached { peers, .. }) = &message {
                    self.told_of.send_replace(peers.clone());
                }
                self.machine.handle_control(now, conn, message);
            }
            ConnReport::Datagram(conn, bytes) => {
                self.write_down(conn, &bytes);
                self.machine.handle_datagram(now, conn, &bytes);
            }
            ConnReport::Closed(conn, code, detail) => {
                self.conns.remove(&conn);
                self.machine.handle_disconnected(now, conn, code, &detail);
            }
        }
    }

    fn write_down(&self, conn: ConnId, bytes: &[u8]) {
        let header = Snapshot::decode(bytes).expect("a server sends whole snapshots").header;
        let from = self.addrs[&conn];
        let arrival = Arrival {
            at: Instant::now(),
            from,
            epoch: header.epoch,
            tick: header.tick,
        };
        self.arrivals
            .lock()
            .expect("nobody panics with this lock")
            .push(arrival);
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.machine.poll_command() {
            match command {
                Command::Connect { conn, addr } => {
                    self.addrs.insert(conn, addr);
                    tokio::spawn(serve(self.endpoint.clone(), conn, addr, self.net.clone()));
                }
                Command::SendControl { conn, message } => {
                    if let Some((_, stream)) = self.conns.get(&conn) {
                        let _closed = stream.send(encode_frame(&message).expect("a client's messages are small"));
                    }
                }
                Command::SendDatagram { conn, bytes } => {
                    if let Some((quic, _)) = self.conns.get(&conn) {
                        let _closed = quic.send_datagram(bytes.into());
                    }
                }
                Command::Close { conn, code } if self.old == OldConnections::Close => {
                    if let Some((quic, _)) = self.conns.remove(&conn) {
                        quic.close(code.code().into(), b"");
                    }
                }
                Command::Close { .. } => {}
            }
        }
        // First: whoever reads a notice may look at the state that it speaks of.
        self.own
            .lock()
            .expect("nobody panics with this lock")
            .clone_from(&self.machine.mirror().own);
        while let Some(notice) = self.machine.poll_notice() {
            let _nobody_reads = self.noticed.send(notice);
        }
    }
}

/// Carries one connection, until it is closed.
async fn serve(endpoint: quinn::Endpoint, conn: ConnId, addr: SocketAddr, net: mpsc::UnboundedSender<ConnReport>) {
    let (code, detail) = match carry(endpoint, conn, addr, &net).await {
        Ok(never) => match never {},
        Err(error) => {
            let code = match error.downcast_ref::<quinn::ConnectionError>() {
                Some(quinn::ConnectionError::ApplicationClosed(close)) => Some(close.error_code.into_inner()),
                _ => None,
            };
            (code, error.to_string())
        }
    };
    let _player_ended = net.send(ConnReport::Closed(conn, code, detail));
}

async fn carry(
    endpoint: quinn::Endpoint,
    conn: ConnId,
    addr: SocketAddr,
    net: &mpsc::UnboundedSender<ConnReport>,
) -> anyhow::Result<std::convert::Infallible> {
    let quic = endpoint.connect(addr, keys::SERVER_NAMES[0])?.await?;
    let (mut send, mut receive) = quic.open_bi().await?;
    let (stream, mut frames) = mpsc::unbounded_channel::<Vec<u8>>();
    net.send(ConnReport::Connected(conn, quic.clone(), stream))?;
    let mut decoder = FrameDecoder::new(CONTROL_BYTES_MAX);
    let mut stream_open = true;
    loop {
        tokio::select! {
            datagram = quic.read_datagram() => net.send(ConnReport::Datagram(conn, datagram?))?,
            Some(frame) = frames.recv() => send.write_all(&frame).await?,
            chunk = receive.read_chunk(CONTROL_BYTES_MAX, true), if stream_open => match chunk? {
                Some(chunk) => {
                    decoder.push(&chunk.bytes);
                    while let Some(message) = decoder.next()? {
                        net.send(ConnReport::Control(conn, message))?;
                    }
                }
                None => stream_open = false,
            },
        }
    }
}
