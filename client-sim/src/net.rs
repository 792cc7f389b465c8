//! Thousands of QUIC connections on one thread. It decides nothing: it carries control messages and datagrams, and says
//! what became of a connection.
//!
//! It drives `quinn-proto` directly. A task per connection on a runtime costs about twice as much, and a simulator that
//! is dearer than the server measures itself. Four habits make it cheap:
//!
//! - Sockets are drained and filled in batches about once a millisecond.
//! - A settled connection sends only when its owner calls [`Net::transmit`], at the player's own frame, so that
//!   acknowledgements ride with the input.
//! - Timers are looked at in the same call, so there is no timer heap.
//! - What comes for a settled connection waits, with the time at which it came, for that same moment, as in a game
//!   client that looks at its socket once a frame: to fetch a connection's state from memory costs more than to work on
//!   it.
//!
//! Connections that shake hands, carry control messages, or are closing are served by [`Net::turn`].

mod link;
mod port;
mod tls;
mod wire;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use everhold_protocol::{ClientMessage, RefusalCode, ServerMessage, message};
use quinn_proto::{ClientConfig, VarInt};
use rustix::io::Errno;
use rustls_pki_types::CertificateDer;

use self::link::{Inbox, Link};
use self::port::{Care, Port};
use self::wire::BATCH_PACKETS;
pub(crate) use self::wire::UDP_HEADER_BYTES;

/// The name in the TLS hello. Trust is an exact certificate, so any valid name does.
const SERVER_NAME: &str = "everhold";
/// Batches of packets taken from one socket before the others get their turn.
const SOCKET_BATCHES_MAX: usize = 4;
/// Packets that share one look at the clock.
const CLOCK_PACKETS: usize = 32;
/// Period at which connections without an owner are served until they are gone.
const ORPHAN_PERIOD: Duration = Duration::from_millis(20);

/// The owner of a connection, to which its events go: the player's place in the swarm and the client machine's own
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The player's index.
    pub player: u32,
    /// The client machine's connection.
    pub conn: u32,
}

/// A connection of this [`Net`]. It never means another one, also when its place is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId {
    port: u16,
    handle: u32,
    serial: u32,
}

/// An event of a connection.
#[derive(Debug)]
pub enum NetEvent {
    /// The handshake is done and the control stream is open.
    Connected,
    /// The server said something on the control stream.
    Control(Box<ServerMessage>),
    /// A datagram came.
    Datagram(Bytes),
    /// The connection is over, and nothing more follows.
    Disconnected {
        /// The server's application close code, if it closed the connection.
        code: Option<u64>,
        /// The reason, for people.
        detail: String,
    },
}

/// Error of the network.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// TLS refused the settings.
    #[error("tls settings")]
    Tls(#[from] rustls::Error),
    /// The TLS provider lacks the cipher that QUIC begins with.
    #[error("the tls provider has no AES-128-GCM, which QUIC needs")]
    CipherSuite,
    /// A socket could not be made or read.
    #[error("udp socket")]
    Socket(#[from] io::Error),
    /// A control message is larger than any server takes.
    #[error("control message")]
    Frame(#[from] message::FrameError),
    /// This host has no way to that address.
    #[error("no way to {addr}")]
    Unreachable {
        /// The address that was asked for.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// No connection to that address can be begun.
    #[error("cannot connect to {addr}")]
    Connect {
        /// The address that was asked for.
        addr: SocketAddr,
        /// The system's answer.
        source: quinn_proto::ConnectError,
    },
}

/// Traffic since the start. Bytes are whole UDP datagrams: header, QUIC, and payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Bytes from servers.
    pub udp_bytes_in: u64,
    /// Bytes to servers.
    pub udp_bytes_out: u64,
    /// Packets from servers.
    pub packets_in: u64,
    /// Packets to servers.
    pub packets_out: u64,
    /// Packets that the kernel did not take.
    pub send_failures: u64,
}

impl Traffic {
    /// Returns the traffic after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            udp_bytes_in: self.udp_bytes_in - earlier.udp_bytes_in,
            udp_bytes_out: self.udp_bytes_out - earlier.udp_bytes_out,
            packets_in: self.packets_in - earlier.packets_in,
            packets_out: self.packets_out - earlier.packets_out,
            send_failures: self.send_failures - earlier.send_failures,
        }
    }
}

/// All connections of a swarm, on a few sockets.
pub struct Net {
    config: ClientConfig,
    ports: Vec<Port>,
    ports_per_peer: usize,
    inbox: Inbox,
    urgent: Vec<LinkId>,
    orphans: Vec<LinkId>,
    orphans_at: Option<Instant>,
    next_serial: u32,
    traffic: Traffic,
}

impl Net {
    /// A network that trusts exactly `certificates` and spreads its connections over `ports` sockets for each server.
    pub fn new(certificates: Vec<CertificateDer<'static>>, ports: usize) -> Result<Self, NetError> {
        Ok(Self {
            config: tls::client_config(certificates)?,
            ports: Vec::new(),
            ports_per_peer: ports.max(1),
            inbox: VecDeque::new(),
            urgent: Vec::new(),
            orphans: Vec::new(),
            orphans_at: None,
            next_serial: 0,
            traffic: Traffic::default(),
        })
    }

    /// Begins a connection. Its first packet leaves with the next [`Net::turn`].
    pub fn connect(&mut self, now: Instant, addr: SocketAddr, owner: Owner) -> Result<LinkId, NetError> {
        let index = self.port_for(addr)?;
        let port = &mut self.ports[index];
        let (handle, connection) = port
            .endpoint
            .connect(now, self.config.clone(), addr, SERVER_NAME)
            .map_err(|source| NetError::Connect { addr, source })?;
        let id = LinkId {
            port: index as u16,
            handle: handle.0 as u32,
            serial: self.next_serial,
        };
        self.next_serial = self.next_serial.wrapping_add(1);
        port.insert(handle, Link::new(id, owner, connection));
        self.hurry(id);
        Ok(id)
    }

    /// Queues a control message; it leaves with the next [`Net::turn`]. A connection that is gone ignores it: its owner
    /// was told.
    pub fn send_control(&mut self, id: LinkId, message: &ClientMessage) -> Result<(), NetError> {
        let frame = Bytes::from(message::encode_frame(message)?);
        if let Some(link) = self.link(id) {
            link.write_control(frame);
            self.hurry(id);
        }
        Ok(())
    }

    /// Queues a datagram; it leaves with the owner's next [`Net::transmit`]. It may be lost, here as on the way.
    pub fn send_datagram(&mut self, id: LinkId, datagram: Bytes) {
        let Some(link) = self.link(id) else { return };
        if let Err(error) = link.connection.datagrams().send(datagram, true) {
            self.traffic.send_failures += 1;
            tracing::debug!(%error, "a datagram could not be queued");
        }
    }

    /// Closes a connection. Its owner hears nothing of it any more.
    pub fn close(&mut self, now: Instant, id: LinkId, code: RefusalCode) {
        self.set_patient(id, false);
        if let Some(link) = self.link(id) {
            link.owner = None;
            link.connection.close(now, VarInt::from_u32(code as u32), Bytes::new());
            self.hurry(id);
        }
    }

    /// Takes in what has arrived on all sockets, a bounded batch from each. Returns whether a socket may hold more.
    pub fn receive(&mut self) -> Result<bool, NetError> {
        let mut more = false;
        for port in 0..self.ports.len() {
            // Without connections there is nobody to hear.
            if self.ports[port].live == 0 {
                continue;
            }
            let mut batches = 0;
            while batches < SOCKET_BATCHES_MAX {
                batches += 1;
                let packets = self.ports[port].wire.receive(&mut self.traffic)?;
                self.take_batch(port, packets);
                if packets < BATCH_PACKETS {
                    batches = 0;
                    break;
                }
            }
            more |= batches == SOCKET_BATCHES_MAX;
        }
        Ok(more)
    }

    fn take_batch(&mut self, port: usize, packets: usize) {
        let mut now = Instant::now();
        for index in 0..packets {
            if index > 0 && index % CLOCK_PACKETS == 0 {
                now = Instant::now();
            }
            let served = self.ports[port].on_packet(now, index, &mut self.inbox, &mut self.traffic);
            if let Some((id, care)) = served {
                self.look_after(id, care);
            }
        }
    }

    /// Whether what comes for a connection waits until its owner calls [`Net::take_in`]. A connection that is new does
    /// not wait.
    pub fn set_patient(&mut self, id: LinkId, patient: bool) {
        if let Some(port) = self.ports.get_mut(usize::from(id.port)) {
            port.set_patient(id, patient);
        }
    }

    /// Takes in what has waited for a connection.
    pub fn take_in(&mut self, id: LinkId) {
        if let Some(port) = self.ports.get_mut(usize::from(id.port)) {
            let care = port.take_in(id, &mut self.inbox);
            self.look_after(id, care);
        }
    }

    /// Takes the next event, oldest first of its connection, and when it came in.
    pub fn poll_event(&mut self) -> Option<(Owner, Instant, NetEvent)> {
        self.inbox.pop_front()
    }

    /// Lets one connection look at its timers and queue what it has, for the next [`Net::flush`]. Owners call this once
    /// a frame for each connection of theirs.
    pub fn transmit(&mut self, now: Instant, id: LinkId) {
        let care = self.serve(now, id);
        // A handshake that has just sent has nothing more to say until it hears something or its owner's next frame.
        if care == Care::Orphan {
            self.look_after(id, care);
        }
    }

    /// Serves connections that cannot wait for a frame: new ones, those with control messages, and those that are
    /// closing.
    pub fn turn(&mut self, now: Instant) {
        for id in std::mem::take(&mut self.urgent) {
            self.transmit(now, id);
        }
        if self.orphans_at.is_none_or(|at| at <= now) {
            self.orphans_at = Some(now + ORPHAN_PERIOD);
            let mut orphans = std::mem::take(&mut self.orphans);
            orphans.retain(|id| self.serve(now, *id) != Care::Gone);
            self.orphans.append(&mut orphans);
        }
        self.flush();
    }

    /// Sends what owners had to send. [`Net::turn`] does so at its end; who transmits much in between need not wait for
    /// it.
    pub fn flush(&mut self) {
        for port in &mut self.ports {
            port.wire.flush(&mut self.traffic);
        }
    }

    /// Returns the traffic since the start.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Connections that exist, closing ones included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.ports.iter().map(|port| port.live).sum()
    }

    /// The local UDP ports, in the order in which they were bound.
    #[must_use]
    pub fn local_ports(&self) -> Vec<u16> {
        self.ports
            .iter()
            .filter_map(|port| port.wire.local_addr().ok())
            .map(|addr| addr.port())
            .collect()
    }

    fn serve(&mut self, now: Instant, id: LinkId) -> Care {
        let Some(port) = self.ports.get_mut(usize::from(id.port)) else {
            return Care::Gone;
        };
        port.transmit(now, id, &mut self.inbox, &mut self.traffic)
    }

    fn look_after(&mut self, id: LinkId, care: Care) {
        match care {
            Care::Owned | Care::Gone => {}
            Care::Urgent => self.hurry(id),
            Care::Orphan => {
                if let Some(link) = self.link(id)
                    && !std::mem::replace(&mut link.orphaned, true)
                {
                    self.orphans.push(id);
                }
            }
        }
    }

    fn hurry(&mut self, id: LinkId) {
        if let Some(link) = self.link(id)
            && !std::mem::replace(&mut link.urgent, true)
        {
            self.urgent.push(id);
        }
    }

    fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        self.ports.get_mut(usize::from(id.port))?.link(id)
    }

    /// The least used port to that server; ports are bound when they are first needed.
    fn port_for(&mut self, addr: SocketAddr) -> Result<usize, NetError> {
        let to_peer = |port: &Port| port.wire.peer() == addr;
        if self.ports.iter().filter(|port| to_peer(port)).count() < self.ports_per_peer {
            self.ports
                .push(Port::connect(addr).map_err(|error| unreachable_or(addr, error))?);
            return Ok(self.ports.len() - 1);
        }
        let candidates = self.ports.iter().enumerate().filter(|(_, port)| to_peer(port));
        let least = candidates.min_by_key(|(_, port)| port.live).map(|(index, _)| index);
        Ok(least.unwrap_or_default())
    }
}

/// Makes the error of a socket. An address that cannot be reached may have a neighbour that can; every other error ends
/// the run.
fn unreachable_or(addr: SocketAddr, source: io::Error) -> NetError {
    const NO_WAY: [Errno; 5] = [
        Errno::NETUNREACH,
        Errno::HOSTUNREACH,
        Errno::NETDOWN,
        Errno::ADDRNOTAVAIL,
        Errno::AFNOSUPPORT,
    ];
    match Errno::from_io_error(&source) {
        Some(errno) if NO_WAY.contains(&errno) => NetError::Unreachable { addr, source },
        _ => source.into(),
    }
}
