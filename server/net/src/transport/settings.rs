//! The UDP sockets and the QUIC settings of a transport. It serves no connection.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use everhold_core::limits::{
    ADDRESS_TOKEN_S, CONNECTIONS_MEMORY_PERCENT_MAX, DATAGRAM_RECEIVE_BYTES, DATAGRAM_SEND_BYTES, INCOMING_BYTES_MAX,
    INCOMING_BYTES_TOTAL_MAX, INCOMING_MAX, SEND_WINDOW_BYTES, STREAM_WINDOW_BYTES,
};
use quinn_proto::{EndpointConfig, ServerConfig, ValidationTokenConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use super::cid::ConnectionIds;
use super::congestion::FlooredCubicConfig;
use super::{TransportConfig, TransportError};
use crate::keys::Keys;

/// QUIC version 1, the only one spoken.
const QUIC_V1: u32 = 1;

/// Makes the settings with which all connections are accepted.
pub(super) fn server(config: &TransportConfig, keys: &Keys) -> Result<ServerConfig, TransportError> {
    let mut server = ServerConfig::new(keys.server_crypto()?, keys.token_key());
    let mut tokens = ValidationTokenConfig::default();
    tokens.lifetime(Duration::from_secs(ADDRESS_TOKEN_S));
    server
        .transport_config(Arc::new(connection(config)?))
        .validation_token_config(tokens)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL_MAX);
    Ok(server)
}

/// Makes the settings of an endpoint with these connection ids.
pub(super) fn endpoint(keys: &Keys, ids: ConnectionIds) -> EndpointConfig {
    let mut endpoint = keys.endpoint_config();
    endpoint
        .supported_versions(vec![QUIC_V1])
        .cid_generator(move || Box::new(ids));
    endpoint
}

/// Warns if the connections that are allowed can take more memory than the machine can spare: too many would end the
/// process instead of being refused.
pub(super) fn warn_of_memory(config: &TransportConfig) {
    let machine = rustix::system::sysinfo();
    let machine_bytes = machine.totalram * u64::from(machine.mem_unit);
    let connections_bytes = config.admission.bytes_max();
    if connections_bytes > machine_bytes / 100 * CONNECTIONS_MEMORY_PERCENT_MAX {
        tracing::warn!(
            connections_max = config.admission.connections_max,
            connections_bytes,
            machine_bytes,
            "hostile peers could take more memory than this machine can spare: lower shard.connections_max"
        );
    }
}

/// Makes the settings of a connection: what a peer can make this side keep is bounded by `limits`, and nothing is
/// probed that is not needed.
fn connection(config: &TransportConfig) -> Result<quinn_proto::TransportConfig, TransportError> {
    let mut quic = quinn_proto::TransportConfig::default();
    quic.max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES))
        .datagram_send_buffer_size(DATAGRAM_SEND_BYTES)
        .max_idle_timeout(Some(config.idle_timeout.try_into()?))
        // Twenty datagrams a second keep a player's connection alive; a parked client keeps its own.
        .keep_alive_interval(None)
        // First-flight pacing and time-outs assume a player's path, not the 333 ms of an unknown one.
        .initial_rtt(Duration::from_millis(100))
        // Every datagram fits the least MTU, so probing for more would cost a third of a handshake and give nothing.
        .initial_mtu(1_200)
        .mtu_discovery_config(None)
        .congestion_controller_factory(Arc::new(FlooredCubicConfig::default()))
        // One packet per connection and tick: there is nothing to segment.
        .enable_segmentation_offload(false);
    Ok(quic)
}

/// Opens one socket for each net thread, all on the same port.
pub(super) fn open_sockets(config: &TransportConfig) -> io::Result<Vec<UdpSocket>> {
    let first = new_socket(config)?;
    // Bound alone, so that a port that is in use is noticed; only then shared with the others.
    first.bind(&config.listen.into())?;
    let mut sockets: Vec<UdpSocket> = vec![first.into()];
    let addr = sockets[0].local_addr()?;
    if config.net_threads > 1 {
        socket2::SockRef::from(&sockets[0]).set_reuse_port(true)?;
    }
    for _ in 1..config.net_threads {
        let next = new_socket(config)?;
        next.set_reuse_port(true)?;
        next.bind(&addr.into())?;
        sockets.push(next.into());
    }
    Ok(sockets)
}

fn new_socket(config: &TransportConfig) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(config.listen), Type::DGRAM, Some(Protocol::UDP))?;
    if config.listen.is_ipv6() {
        // `[::]` serves IPv4, too, whatever the host's default is.
        socket.set_only_v6(false)?;
    }
    let wanted = config.socket_buffer_bytes;
    socket.set_recv_buffer_size(wanted)?;
    socket.set_send_buffer_size(wanted)?;
    // The kernel gives what its limit allows and says nothing.
    let (receive, send) = (socket.recv_buffer_size()?, socket.send_buffer_size()?);
    if receive < wanted || send < wanted {
        tracing::warn!(
            receive_bytes = receive,
            send_bytes = send,
            wanted_bytes = wanted,
            "the kernel gives smaller socket buffers than wanted, bursts may be lost: raise net.core.rmem_max and \
             wmem_max"
        );
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Makes the error of an address that cannot be listened on.
pub(super) fn listen_error(listen: SocketAddr, source: io::Error) -> TransportError {
    TransportError::Listen { listen, source }
}
