//! A crowd of QUIC peers for tests, which do what no client does: any number of connections on one socket and one
//! thread, from as many addresses as the host has, each packet under the test's hand.
//!
//! Nothing paces them or holds them back, and they keep no connection alive by themselves.

use std::any::Any;
use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use everhold_protocol::RefusalCode;
use everhold_protocol::limits::CONTROL_BYTES_MAX;
use everhold_protocol::message::{FrameDecoder, encode_frame};
use everhold_protocol::{ClientMessage, ServerMessage};
use quinn_proto::congestion::{Controller, ControllerFactory};
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event,
    RttEstimator, StreamId, TransportConfig,
};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};

/// Packets taken off the socket in one turn.
const TURN_PACKETS_MAX: usize = 4_096;
const PACKET_BYTES_MAX: usize = 1_500;

/// Names a connection of the crowd.
pub type PeerId = ConnectionHandle;

/// Many connections at one socket, driven by the test itself.
pub struct Crowd {
    socket: UdpSocket,
    state: UdpSocketState,
    endpoint: Endpoint,
    client: ClientConfig,
    target: SocketAddr,
    peers: HashMap<PeerId, Peer>,
    /// Connections that the server has closed, or refused.
    pub closed: u64,
    /// Number of packets that were sent.
    pub sent: u64,
    packet: Vec<u8>,
    received: Vec<u8>,
}

/// A connection, and what has become of it.
pub struct Peer {
    /// Its QUIC state, for whatever the test does with it.
    pub connection: Connection,
    /// Control messages of the server.
    pub heard: Vec<ServerMessage>,
    /// The reason why the connection is over; `None` while it is not.
    pub closed: Option<ConnectionError>,
    /// Whether the handshake is done.
    pub is_connected: bool,
    /// Bytes that were written to the control stream.
    pub written: usize,
    source: Option<IpAddr>,
    control: Option<StreamId>,
    decoder: FrameDecoder,
}

impl Crowd {
    /// Makes a crowd at `socket` that will connect to `target` and trusts what `client` trusts.
    ///
    /// # Errors
    /// If the socket cannot be used.
    pub fn new(socket: UdpSocket, target: SocketAddr, mut client: ClientConfig) -> io::Result<Self> {
        let mut transport = TransportConfig::default();
        transport
            .mtu_discovery_config(None)
            .keep_alive_interval(None)
            .congestion_controller_factory(Arc::new(Reckless));
        client.transport_config(Arc::new(transport));
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // The kernel may hand over several packets of one peer as one.
        let received = vec![0; PACKET_BYTES_MAX * state.gro_segments()];
        Ok(Self {
            state,
            socket,
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None),
            client,
            target,
            peers: HashMap::new(),
            closed: 0,
            sent: 0,
            packet: Vec::with_capacity(2 * PACKET_BYTES_MAX),
            received,
        })
    }

    /// Begins a connection, from `source` if that is given: an address of this host that the socket may use.
    ///
    /// # Panics
    /// If QUIC has no room for another.
    pub fn connect(&mut self, source: Option<IpAddr>) -> PeerId {
        let connecting = self
            .endpoint
            .connect(Instant::now(), self.client.clone(), self.target, "everhold");
        let (id, connection) = connecting.expect("a handshake can begin");
        let peer = Peer {
            connection,
            heard: Vec::new(),
            closed: None,
            is_connected: false,
            written: 0,
            source,
            control: None,
            decoder: FrameDecoder::new(CONTROL_BYTES_MAX),
        };
        self.peers.insert(id, peer);
        self.flush(id);
        id
    }

    /// Returns the connections that are there.
    #[must_use]
    pub fn ids(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    /// Returns a connection. One that is over stays until [`Crowd::forget`].
    ///
    /// # Panics
    /// If there is no such peer.
    pub fn peer(&mut self, id: PeerId) -> &mut Peer {
        self.peers.get_mut(&id).expect("a peer of this crowd")
    }

    /// Forgets a connection without telling the server.
    pub fn forget(&mut self, id: PeerId) {
        if self.peers.remove(&id).is_some() {
            let _nothing_more = self.endpoint.handle_event(id, quinn_proto::EndpointEvent::drained());
        }
    }

    /// Takes in the packets that have come, serves the timers, and sends what each connection answers. Returns how many
    /// packets came.
    pub fn turn(&mut self) -> usize {
        let now = Instant::now();
        let mut packets = 0;
        let mut buffer = std::mem::take(&mut self.received);
        let mut meta = [RecvMeta::default()];
        while packets < TURN_PACKETS_MAX {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            // Nothing there, or the kernel's word on an earlier packet.
            if self
                .state
                .recv(UdpSockRef::from(&self.socket), &mut parts, &mut meta)
                .is_err()
            {
                break;
            }
            let [RecvMeta { addr, len, stride, .. }] = meta;
            for bytes in buffer[..len].chunks(stride.max(1)) {
                packets += 1;
                self.hear(now, addr, bytes);
            }
        }
        self.received = buffer;
        for id in self.ids() {
            let peer = self.peer(id);
            if peer.connection.poll_timeout().is_some_and(|due| due <= now) {
                peer.connection.handle_timeout(now);
                self.flush(id);
            }
        }
        packets
    }

    /// Takes turns until `holds`, or for half a minute. Returns whether it came to hold.
    pub fn turn_until(&mut self, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let begun = Instant::now();
        while !holds(self) {
            if begun.elapsed().as_secs() >= 30 {
                return false;
            }
            if self.turn() == 0 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        true
    }

    /// Sends bytes on the control stream, which it opens.
    ///
    /// # Panics
    /// If it does not fit.
    pub fn say(&mut self, id: PeerId, message: &ClientMessage) {
        let frame = encode_frame(message).expect("it fits");
        self.write(id, &frame);
        self.flush(id);
    }

    /// Writes to the control stream, which it opens, and sends nothing yet.
    pub fn write(&mut self, id: PeerId, bytes: &[u8]) {
        let peer = self.peer(id);
        if peer.control.is_none() {
            peer.control = peer.connection.streams().open(Dir::Bi);
        }
        if let Some(stream) = peer.control {
            // A connection that is over takes nothing.
            peer.written += peer.connection.send_stream(stream).write(bytes).unwrap_or(0);
        }
    }

    /// Sends `count` packets with nothing but a PING.
    pub fn ping(&mut self, id: PeerId, count: usize) {
        for _ in 0..count {
            self.peer(id).connection.ping();
            self.flush(id);
        }
    }

    /// Makes the next packet of a connection, as if it were sent. `false`: it has none.
    pub fn make_packet(&mut self, id: PeerId) -> bool {
        let now = Instant::now();
        self.packet.clear();
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        let made = peer.connection.poll_transmit(now, 1, &mut self.packet);
        if let Some(transmit) = &made {
            self.packet.truncate(transmit.size);
        }
        made.is_some()
    }

    /// Sends the packet that was made last.
    pub fn send_packet(&mut self, source: Option<IpAddr>) {
        let transmit = Transmit {
            destination: self.target,
            ecn: None,
            contents: &self.packet,
            segment_size: None,
            src_ip: source,
        };
        // A full socket drops it, as a network would.
        let _dropped = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        self.sent += 1;
    }

    /// Sends bytes that are no packet of any connection.
    pub fn send_garbage(&mut self, source: Option<IpAddr>, bytes: &[u8]) {
        self.packet.clear();
        self.packet.extend_from_slice(bytes);
        self.send_packet(source);
    }

    /// Sends all that a connection has to send.
    pub fn flush(&mut self, id: PeerId) {
        self.drive(id);
        let source = self.peers.get(&id).and_then(|peer| peer.source);
        while self.make_packet(id) {
            self.send_packet(source);
        }
    }

    fn hear(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.packet.clear();
        let event = self
            .endpoint
            .handle(now, from, None, None, BytesMut::from(bytes), &mut self.packet);
        if let Some(DatagramEvent::ConnectionEvent(id, event)) = event
            && let Some(peer) = self.peers.get_mut(&id)
        {
            peer.connection.handle_event(event);
            self.flush(id);
        }
    }

    fn drive(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        while let Some(event) = peer.connection.poll_endpoint_events() {
            if !event.is_drained()
                && let Some(answer) = self.endpoint.handle_event(id, event)
            {
                peer.connection.handle_event(answer);
            }
        }
        while let Some(event) = peer.connection.poll() {
            match event {
                Event::Connected => peer.is_connected = true,
                Event::ConnectionLost { reason } => {
                    self.closed += 1;
                    peer.closed = Some(reason);
                }
                _ => {}
            }
        }
        peer.listen();
    }
}

impl Peer {
    /// Returns the code with which the server closed the connection.
    #[must_use]
    pub fn close_code(&self) -> Option<RefusalCode> {
        match &self.closed {
            Some(ConnectionError::ApplicationClosed(close)) => u32::try_from(close.error_code.into_inner())
                .ok()
                .and_then(RefusalCode::from_code),
            _ => None,
        }
    }

    fn listen(&mut self) {
        let Some(stream) = self.control else { return };
        let mut stream = self.connection.recv_stream(stream);
        let Ok(mut chunks) = stream.read(true) else { return };
        while let Ok(Some(chunk)) = chunks.next(CONTROL_BYTES_MAX) {
            self.decoder.push(&chunk.bytes);
        }
        let _with_next_packet = chunks.finalize();
        while let Ok(Some(message)) = self.decoder.next() {
            self.heard.push(message);
        }
    }
}

/// A congestion controller that never holds back.
struct Reckless;

/// Bytes that may be in flight.
const RECKLESS_BYTES: u64 = 1 << 30;

impl ControllerFactory for Reckless {
    fn build(self: Arc<Self>, _now: Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Self)
    }
}

impl Controller for Reckless {
    fn on_ack(&mut self, _now: Instant, _sent: Instant, _bytes: u64, _app_limited: bool, _rtt: &RttEstimator) {}

    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, _is_persistent: bool, _lost_bytes: u64) {}

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        RECKLESS_BYTES
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self)
    }

    fn initial_window(&self) -> u64 {
        RECKLESS_BYTES
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
