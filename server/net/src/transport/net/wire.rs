//! One UDP socket and its buffers. It knows no connection.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use bytes::BytesMut;
use everhold_core::limits::SEND_WAIT_MS_MAX;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::transport::counters::TransportCounters;
use crate::transport::mailbox::Packet;

/// The largest UDP payload that is read, bytes: above any path MTU of 1,500.
const PACKET_BYTES_MAX: usize = 1_500;

/// Packets and bytes since they were last added to the counters: four atomic operations a turn instead of a packet.
#[derive(Debug, Default)]
struct PacketTally {
    packets_in: u64,
    bytes_in: u64,
    packets_out: u64,
    bytes_out: u64,
    unsent: u64,
}

/// A UDP socket with its buffers.
pub(super) struct Wire {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Whether several addresses of this host lead here, so that answers must name the one that was asked.
    is_wildcard: bool,
    buffer: Vec<u8>,
    buffer_bytes: usize,
    metas: [RecvMeta; BATCH_SIZE],
    /// Whether the kernel took nothing for as long as this turn waits.
    is_clogged: bool,
    tally: PacketTally,
    counters: Arc<TransportCounters>,
}

impl Wire {
    pub(super) fn new(socket: UdpSocket, counters: Arc<TransportCounters>) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // The kernel may hand over several packets of one peer as one.
        let buffer_bytes = PACKET_BYTES_MAX * state.gro_segments();
        Ok(Self {
            is_wildcard: socket.local_addr()?.ip().is_unspecified(),
            socket,
            state,
            buffer: vec![0; buffer_bytes * BATCH_SIZE],
            buffer_bytes,
            metas: [RecvMeta::default(); BATCH_SIZE],
            is_clogged: false,
            tally: PacketTally::default(),
            counters,
        })
    }

    /// Takes one batch off the socket. `false`: it is empty.
    pub(super) fn receive(&mut self, into: &mut Vec<Packet>) -> bool {
        let mut parts = self.buffer.chunks_exact_mut(self.buffer_bytes);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
        let received = self
            .state
            .recv(UdpSockRef::from(&self.socket), &mut slices, &mut self.metas);
        let messages = match received {
            Ok(messages) => messages,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => {
                // The kernel's word on an earlier packet; the next one may be fine.
                tracing::debug!(%error, "a packet could not be received");
                return false;
            }
        };
        for (meta, part) in self.metas[..messages]
            .iter()
            .zip(self.buffer.chunks_exact(self.buffer_bytes))
        {
            let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
            for bytes in part[..meta.len].chunks(meta.stride.max(1)) {
                self.tally.packets_in += 1;
                self.tally.bytes_in += bytes.len() as u64;
                into.push(Packet {
                    remote: meta.addr,
                    local_ip: meta.dst_ip.filter(|_| self.is_wildcard),
                    ecn,
                    bytes: BytesMut::from(bytes),
                    is_forwarded: false,
                });
            }
        }
        true
    }

    /// Sends a packet. One that the kernel does not take is lost, as on a network: it is counted, and QUIC recovers.
    pub(super) fn send(&mut self, transmit: &Transmit, bytes: &[u8]) {
        let bytes = &bytes[..transmit.size];
        let packet = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit
                .ecn
                .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: bytes,
            segment_size: None,
            src_ip: transmit.src_ip,
        };
        let mut sent = self.state.try_send(UdpSockRef::from(&self.socket), &packet);
        if sent.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) && self.wait_for_room() {
            sent = self.state.try_send(UdpSockRef::from(&self.socket), &packet);
        }
        match sent {
            Ok(()) => {
                self.tally.packets_out += 1;
                self.tally.bytes_out += bytes.len() as u64;
            }
            Err(error) => {
                self.tally.unsent += 1;
                tracing::debug!(remote = %transmit.destination, %error, "a packet could not be sent");
            }
        }
    }

    /// Ends a turn: adds what went in and out to the counters.
    pub(super) fn end_turn(&mut self) {
        self.is_clogged = false;
        let tally = std::mem::take(&mut self.tally);
        let counters = &self.counters;
        for (counter, count) in [
            (&counters.packets_in, tally.packets_in),
            (&counters.bytes_in, tally.bytes_in),
            (&counters.packets_out, tally.packets_out),
            (&counters.bytes_out, tally.bytes_out),
            (&counters.packets_unsent, tally.unsent),
        ] {
            if count > 0 {
                counter.add(count);
            }
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Waits until the socket takes packets again. A burst of a whole tick may be more than its buffer holds; the card
    /// empties it in moments.
    fn wait_for_room(&mut self) -> bool {
        if self.is_clogged {
            return false;
        }
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::try_from(SEND_WAIT_MS_MAX * 1_000_000).unwrap_or(0),
        };
        let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
        let has_room = poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0);
        self.is_clogged = !has_room;
        has_room
    }
}
