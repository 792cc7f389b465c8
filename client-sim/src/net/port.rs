//! One UDP socket and the QUIC endpoint on it. It knows no connections' contents.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use quinn_proto::{ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig};
use socket2::{Domain, Protocol, Socket, Type};

use super::link::{Fate, Inbox, Link, Turn};
use super::{LinkId, Traffic};

/// Kernel buffer of a socket and direction, bytes: holds one snapshot of each of several thousand players while the loop is elsewhere.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// The largest UDP payload that is read, bytes: above any path MTU of 1,500.
const RECEIVE_BYTES_MAX: usize = 2_048;
/// Received payloads are cut from blocks of this many bytes, so that one allocation serves about a hundred packets.
const POOL_BYTES: usize = 64 * 1024;
/// The header that UDP adds to each payload, bytes.
const UDP_HEADER_BYTES: u64 = 8;

/// A socket and its buffers.
pub(super) struct Wire {
    socket: UdpSocket,
    ipv4: bool,
    received: Box<[u8; RECEIVE_BYTES_MAX]>,
    pool: BytesMut,
    outgoing: Vec<u8>,
}

/// A socket, its endpoint, and the links that use it, each at the index of its connection handle.
pub(super) struct Port {
    pub(super) wire: Wire,
    pub(super) endpoint: Endpoint,
    links: Vec<Option<Box<Link>>>,
    pub(super) live: usize,
}

/// What a link needs after it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// Its owner serves it.
    Owned,
    /// It has something to send that cannot wait for a frame.
    Urgent,
    /// Nobody owns it; it has to be served until it is gone.
    Orphan,
    /// It is gone.
    Gone,
}

impl Wire {
    /// Binds an ephemeral port of the family of `peer`.
    fn bind(peer: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
        socket.set_nonblocking(true)?;
        socket.bind(&any.into())?;
        Ok(Self {
            socket: socket.into(),
            ipv4: peer.is_ipv4(),
            received: Box::new([0; RECEIVE_BYTES_MAX]),
            pool: BytesMut::new(),
            outgoing: Vec::with_capacity(RECEIVE_BYTES_MAX),
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next packet, or nothing when the socket is empty.
    pub(super) fn receive(&mut self, traffic: &mut Traffic) -> io::Result<Option<(SocketAddr, BytesMut)>> {
        loop {
            match self.socket.recv_from(&mut self.received[..]) {
                Ok((size, peer)) => {
                    traffic.udp_bytes_in += size as u64 + UDP_HEADER_BYTES;
                    traffic.packets_in += 1;
                    if self.pool.capacity() < size {
                        self.pool.reserve(POOL_BYTES);
                    }
                    self.pool.extend_from_slice(&self.received[..size]);
                    return Ok(Some((peer, self.pool.split())));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                // An earlier packet found nobody there; the next one may be fine.
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionRefused) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends the first `size` outgoing bytes. A full socket or an unreachable peer loses them, as a network would: it is counted, and QUIC recovers.
    fn send(&self, peer: SocketAddr, size: usize, traffic: &mut Traffic) {
        match self.socket.send_to(&self.outgoing[..size], peer) {
            Ok(sent) => {
                traffic.udp_bytes_out += sent as u64 + UDP_HEADER_BYTES;
                traffic.packets_out += 1;
            }
            Err(error) => {
                traffic.send_failures += 1;
                tracing::debug!(%peer, %error, "a packet could not be sent");
            }
        }
    }
}

impl Port {
    /// A port that can talk to the address family of `peer`.
    pub(super) fn bind(peer: SocketAddr) -> io::Result<Self> {
        let endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        Ok(Self {
            wire: Wire::bind(peer)?,
            endpoint,
            links: Vec::new(),
            live: 0,
        })
    }

    /// Whether it talks to IPv4 addresses; otherwise to IPv6.
    pub(super) fn is_ipv4(&self) -> bool {
        self.wire.ipv4
    }

    /// Gives a new link its place.
    pub(super) fn insert(&mut self, handle: ConnectionHandle, link: Link) {
        if self.links.len() <= handle.0 {
            self.links.resize_with(handle.0 + 1, || None);
        }
        self.links[handle.0] = Some(Box::new(link));
        self.live += 1;
    }

    /// The link, if it still exists.
    pub(super) fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        let link = self.links.get_mut(id.handle as usize)?.as_deref_mut()?;
        (link.id == id).then_some(link)
    }

    /// Gives a packet to the link that it is for, and returns that link and what it needs.
    pub(super) fn on_packet(
        &mut self,
        now: Instant,
        (peer, packet): (SocketAddr, BytesMut),
        inbox: &mut Inbox,
        traffic: &mut Traffic,
    ) -> Option<(LinkId, Care)> {
        self.wire.outgoing.clear();
        match self
            .endpoint
            .handle(now, peer, None, None, packet, &mut self.wire.outgoing)?
        {
            DatagramEvent::ConnectionEvent(handle, event) => {
                let link = self.links.get_mut(handle.0)?.as_deref_mut()?;
                link.connection.handle_event(event);
                let id = link.id;
                Some((id, self.drive(now, id, inbox)))
            }
            DatagramEvent::Response(transmit) => {
                self.wire.send(transmit.destination, transmit.size, traffic);
                None
            }
            // Without a server configuration the endpoint accepts nothing.
            DatagramEvent::NewConnection(incoming) => {
                self.endpoint.ignore(incoming);
                None
            }
        }
    }

    /// Lets a link look at its timers and send what it has.
    pub(super) fn transmit(&mut self, now: Instant, id: LinkId, inbox: &mut Inbox, traffic: &mut Traffic) -> Care {
        let Self { wire, links, .. } = self;
        let Some(link) = links
            .get_mut(id.handle as usize)
            .and_then(Option::as_deref_mut)
            .filter(|l| l.id == id)
        else {
            return Care::Gone;
        };
        link.urgent = false;
        if link.connection.poll_timeout().is_some_and(|due| due <= now) {
            link.connection.handle_timeout(now);
        }
        loop {
            wire.outgoing.clear();
            let Some(transmit) = link.connection.poll_transmit(now, 1, &mut wire.outgoing) else {
                break;
            };
            wire.send(transmit.destination, transmit.size, traffic);
        }
        self.drive(now, id, inbox)
    }

    fn drive(&mut self, now: Instant, id: LinkId, inbox: &mut Inbox) -> Care {
        let handle = ConnectionHandle(id.handle as usize);
        let Some(link) = self.links.get_mut(handle.0).and_then(Option::as_deref_mut) else {
            return Care::Gone;
        };
        match link.drive(handle, &mut self.endpoint, &mut Turn { now, inbox }) {
            Fate::Drained => {
                self.links[handle.0] = None;
                self.live -= 1;
                Care::Gone
            }
            Fate::Lives if link.owner.is_none() => Care::Orphan,
            Fate::Lives if link.is_hasty() => Care::Urgent,
            Fate::Lives => Care::Owned,
        }
    }
}
