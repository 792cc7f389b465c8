//! A UDP socket that is connected to one server. It reads and writes many packets a system call, and knows nothing of
//! what is in them.
//!
//! Each packet is a UDP packet of its own on its way to the server, as those of so many machines would be: segmentation
//! offload, which would let a server take a whole batch of many players for the price of one packet, is not used.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use bytes::BytesMut;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use socket2::{Domain, Protocol, Socket, Type};

use super::Traffic;

/// Packets that one system call reads or writes at most: enough that the call itself costs little, few enough that they
/// stay in the cache.
pub(super) const BATCH_PACKETS: usize = 64;
/// Kernel buffer of a socket and direction, bytes: holds one snapshot of each of several thousand players while the
/// loop is elsewhere.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// The largest UDP payload that is read, bytes: above any path MTU of 1,500.
const RECEIVE_BYTES_MAX: usize = 2_048;
/// Received payloads are cut from blocks of this many bytes, so that one allocation serves about a hundred packets.
const POOL_BYTES: usize = 64 * 1024;
/// The header that UDP adds to each payload, bytes.
pub(crate) const UDP_HEADER_BYTES: u64 = 8;

/// A socket and its buffers.
pub(super) struct Wire {
    socket: UdpSocket,
    peer: SocketAddr,
    headers: MultiHeaders<SockaddrStorage>,
    received: Box<[[u8; RECEIVE_BYTES_MAX]; BATCH_PACKETS]>,
    lengths: Vec<usize>,
    pool: BytesMut,
    outgoing: Vec<Vec<u8>>,
    queued: usize,
}

impl Wire {
    /// Binds an ephemeral port and connects it.
    pub(super) fn connect(peer: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
        socket.set_nonblocking(true)?;
        socket.bind(&any.into())?;
        socket.connect(&peer.into())?;
        Ok(Self {
            socket: socket.into(),
            peer,
            headers: MultiHeaders::preallocate(BATCH_PACKETS, None),
            received: Box::new([[0; RECEIVE_BYTES_MAX]; BATCH_PACKETS]),
            lengths: Vec::with_capacity(BATCH_PACKETS),
            pool: BytesMut::new(),
            outgoing: vec![Vec::new(); BATCH_PACKETS],
            queued: 0,
        })
    }

    /// The server at the other end.
    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Reads the next batch, and returns how many packets it has. Fewer than [`BATCH_PACKETS`]: the socket is empty.
    pub(super) fn receive(&mut self, traffic: &mut Traffic) -> io::Result<usize> {
        self.lengths.clear();
        loop {
            let mut slices = self.received.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
            let fd = self.socket.as_raw_fd();
            match recvmmsg(fd, &mut self.headers, &mut slices, MsgFlags::MSG_DONTWAIT, None) {
                Ok(results) => self.lengths.extend(results.map(|message| message.bytes)),
                Err(Errno::EAGAIN) => {}
                // An earlier packet found nobody there; the next one may be fine.
                Err(Errno::EINTR | Errno::ECONNREFUSED) => continue,
                Err(error) => return Err(error.into()),
            }
            break;
        }
        let bytes: usize = self.lengths.iter().sum();
        traffic.udp_bytes_in += bytes as u64 + UDP_HEADER_BYTES * self.lengths.len() as u64;
        traffic.packets_in += self.lengths.len() as u64;
        Ok(self.lengths.len())
    }

    /// Packet `index` of the batch that was read last.
    pub(super) fn packet(&mut self, index: usize) -> BytesMut {
        let packet = &self.received[index][..self.lengths[index]];
        if self.pool.capacity() < packet.len() {
            self.pool.reserve(POOL_BYTES);
        }
        self.pool.extend_from_slice(packet);
        self.pool.split()
    }

    /// An empty buffer for the next packet, which [`Wire::queue`] takes if something was written to it.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        let buffer = &mut self.outgoing[self.queued];
        buffer.clear();
        buffer
    }

    /// Queues the packet in [`Wire::outgoing`]. A full batch is sent.
    pub(super) fn queue(&mut self, traffic: &mut Traffic) {
        self.queued += 1;
        if self.queued == BATCH_PACKETS {
            self.flush(traffic);
        }
    }

    /// Sends what is queued. A full socket or an unreachable peer loses packets, as a network would: it is counted, and
    /// QUIC recovers.
    pub(super) fn flush(&mut self, traffic: &mut Traffic) {
        let packets = &self.outgoing[..std::mem::take(&mut self.queued)];
        let mut from = 0;
        let mut refused = false;
        while from < packets.len() {
            let slices: Vec<[IoSlice<'_>; 1]> = packets[from..].iter().map(|packet| [IoSlice::new(packet)]).collect();
            let nobody = [None::<SockaddrStorage>; BATCH_PACKETS];
            let fd = self.socket.as_raw_fd();
            match sendmmsg(fd, &mut self.headers, &slices, nobody, [], MsgFlags::MSG_DONTWAIT) {
                Ok(sent) => {
                    let sent = sent.count().max(1);
                    let bytes: usize = packets[from..from + sent].iter().map(Vec::len).sum();
                    traffic.udp_bytes_out += bytes as u64 + UDP_HEADER_BYTES * sent as u64;
                    traffic.packets_out += sent as u64;
                    (from, refused) = (from + sent, false);
                }
                // This tells of an earlier packet: it is said once, and then this one can go.
                Err(Errno::EINTR | Errno::ECONNREFUSED) if !refused => refused = true,
                Err(error) => {
                    traffic.send_failures += 1;
                    tracing::debug!(peer = %self.peer, %error, "a packet could not be sent");
                    (from, refused) = (from + 1, false);
                }
            }
        }
    }
}
