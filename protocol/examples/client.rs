//! A small client: it logs in with a ticket, walks in a square, prints what it is told, and carries on when its shard
//! dies. Ctrl-C logs out.
//!
//! [`Client`] decides everything: when to connect, what to send, when to ask another shard. This file is its driver:
//! one task for each connection, and one loop that hands events in and carries commands out. The library itself does no
//! I/O; `quinn` and `tokio` are dependencies of its examples alone.
//!
//! ```sh
//! cargo run --release -- shard --zone meadow --listen 127.0.0.1:4001 --state .everhold/world    # in another terminal
//! ticket="$(cargo run --release -- ticket --account 7 --zone meadow)"
//! cargo run -p everhold-protocol --example client -- .everhold/keys/tls-cert.pem "$ticket" 127.0.0.1:4001
//! ```

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use everhold_protocol::client::{Client, ClientConfig, Command, ConnId, Notice};
use everhold_protocol::limits::CONTROL_BYTES_MAX;
use everhold_protocol::message::{FrameDecoder, encode_frame};
use everhold_protocol::{ALPN, Credential, Heading, Intent, ServerMessage};
use quinn::crypto::rustls::QuicClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The name in the server's certificate, the same for every shard, whatever its address.
const SERVER_NAME: &str = "everhold";
/// Events and frames that may wait in a channel. The loop never waits for the network, so that a few are plenty.
const QUEUE_MAX: usize = 1_024;
/// The time to walk one side of the square.
const SIDE: Duration = Duration::from_secs(3);

/// A report of a connection's task.
enum NetEvent {
    Connected(ConnId, quinn::Connection, Sender<Vec<u8>>),
    Control(ConnId, ServerMessage),
    Datagram(ConnId, Vec<u8>),
    Closed(ConnId, Option<u64>, String),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [certificate, ticket, addrs @ ..] = &arguments[..] else {
        bail!("usage: client CERTIFICATE.pem TICKET IP:PORT...");
    };
    let addrs: Vec<SocketAddr> = addrs.iter().map(|addr| addr.parse()).collect::<Result<_, _>>()?;
    let Some(first) = addrs.first() else {
        bail!("no address to connect to");
    };
    let any = match first {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let mut endpoint = quinn::Endpoint::client(any)?;
    endpoint.set_default_client_config(quic_config(certificate)?);
    let credential = Credential::Ticket(from_hex(ticket).context("the ticket")?);
    let machine = Client::new(ClientConfig::default(), credential, addrs, std::process::id().into());
    let (net, events) = channel(QUEUE_MAX);
    let driver = Driver {
        machine,
        endpoint,
        net,
        conns: HashMap::new(),
        origin: Instant::now(),
    };
    driver.run(events).await
}

/// Returns the QUIC configuration: TLS 1.3 that trusts the world's certificates (two while one is replaced), and
/// keep-alives for a parked connection.
fn quic_config(certificates: &str) -> anyhow::Result<quinn::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(certificates).context("the certificate")? {
        roots.add(certificate?)?;
    }
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(3)));
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

fn from_hex(text: &str) -> anyhow::Result<Vec<u8>> {
    let pair = |at| text.get(at..at + 2).context("an odd number of digits");
    (0..text.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(pair(at)?, 16)?))
        .collect()
}

struct Driver {
    machine: Client,
    endpoint: quinn::Endpoint,
    net: Sender<NetEvent>,
    /// Each open connection, and the channel of bytes for its control stream.
    conns: HashMap<ConnId, (quinn::Connection, Sender<Vec<u8>>)>,
    origin: Instant,
}

impl Driver {
    async fn run(mut self, mut events: Receiver<NetEvent>) -> anyhow::Result<()> {
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut corner = tokio::time::interval(SIDE);
        let mut headings = [(127, 0), (0, 127), (-127, 0), (0, -127)].into_iter().cycle();
        self.machine.handle_start(self.now());
        while !self.machine.is_finished() {
            self.carry_out();
            self.print_notices()?;
            let due = self
                .machine
                .poll_timeout()
                .map_or(SIDE, |at| at.saturating_sub(self.now()));
            tokio::select! {
                Some(event) = events.recv() => self.handle(event),
                () = tokio::time::sleep(due) => self.machine.handle_timeout(self.now()),
                _ = interrupts.recv() => self.machine.logout(self.now()),
                // If too many intents are unconfirmed, the machine takes none: the walk goes on as it was.
                _ = corner.tick(), if self.machine.is_attached() => if let Some((dx, dy)) = headings.next() {
                    let _busy = self.machine.push_intent(self.now(), Intent::Move(Heading::new(dx, dy)?));
                },
            }
        }
        self.carry_out();
        self.print_notices()?;
        self.endpoint.wait_idle().await;
        Ok(())
    }

    /// Returns the time since an origin of the driver's choice: the machine reads no clock.
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn handle(&mut self, event: NetEvent) {
        let now = self.now();
        match event {
            NetEvent::Connected(conn, quic, stream) => {
                self.conns.insert(conn, (quic, stream));
                self.machine.handle_connected(now, conn);
            }
            NetEvent::Control(conn, message) => self.machine.handle_control(now, conn, message),
            NetEvent::Datagram(conn, bytes) => self.machine.handle_datagram(now, conn, &bytes),
            NetEvent::Closed(conn, code, detail) => {
                self.conns.remove(&conn);
                self.machine.handle_disconnected(now, conn, code, &detail);
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.machine.poll_command() {
            match command {
                Command::Connect { conn, addr } => {
                    tokio::spawn(serve(self.endpoint.clone(), conn, addr, self.net.clone()));
                }
                Command::SendControl { conn, message } => {
                    if let (Some((_, stream)), Ok(frame)) = (self.conns.get(&conn), encode_frame(&message)) {
                        let _closed = stream.try_send(frame);
                    }
                }
                Command::SendDatagram { conn, bytes } => {
                    if let Some((quic, _)) = self.conns.get(&conn) {
                        let _closed = quic.send_datagram(bytes.into());
                    }
                }
                Command::Close { conn, code } => {
                    if let Some((quic, _)) = self.conns.remove(&conn) {
                        quic.close(code.code().into(), b"");
                    }
                }
            }
        }
    }

    fn print_notices(&mut self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        while let Some(notice) = self.machine.poll_notice() {
            match notice {
                // At 20 Hz one of them a second is enough.
                Notice::Snapshot { header, entities } if header.tick.is_every(20) => {
                    let own = &self.machine.mirror().own;
                    let (x_m, y_m) = (own.x / 100, own.y / 100);
                    writeln!(
                        out,
                        "tick {}: at {x_m} m, {y_m} m with {} hp; {entities} in sight",
                        header.tick, own.hp
                    )?;
                }
                Notice::Snapshot { .. } | Notice::Confirmed { .. } => {}
                notice => writeln!(out, "{notice:?}")?,
            }
        }
        Ok(())
    }
}

/// Serves one connection until it is closed, and reports why it was.
async fn serve(endpoint: quinn::Endpoint, conn: ConnId, addr: SocketAddr, net: Sender<NetEvent>) {
    let Err(error) = carry(endpoint, conn, addr, &net).await else {
        return;
    };
    let code = match error.downcast_ref::<quinn::ConnectionError>() {
        Some(quinn::ConnectionError::ApplicationClosed(close)) => Some(close.error_code.into_inner()),
        _ => None,
    };
    let _player_ended = net.send(NetEvent::Closed(conn, code, format!("{error:#}"))).await;
}

async fn carry(
    endpoint: quinn::Endpoint,
    conn: ConnId,
    addr: SocketAddr,
    net: &Sender<NetEvent>,
) -> anyhow::Result<()> {
    let quic = endpoint.connect(addr, SERVER_NAME)?.await?;
    let (mut send, mut receive) = quic.open_bi().await?;
    let (stream, mut frames) = channel(QUEUE_MAX);
    net.send(NetEvent::Connected(conn, quic.clone(), stream)).await?;
    let mut decoder = FrameDecoder::new(CONTROL_BYTES_MAX);
    let mut stream_open = true;
    loop {
        tokio::select! {
            datagram = quic.read_datagram() => net.send(NetEvent::Datagram(conn, datagram?.to_vec())).await?,
            Some(frame) = frames.recv() => send.write_all(&frame).await?,
            chunk = receive.read_chunk(CONTROL_BYTES_MAX, true), if stream_open => match chunk? {
                Some(chunk) => {
                    decoder.push(&chunk.bytes);
                    while let Some(message) = decoder.next()? {
                        net.send(NetEvent::Control(conn, message)).await?;
                    }
                }
                None => stream_open = false,
            },
        }
    }
}
