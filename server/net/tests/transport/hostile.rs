//! Peers that do what no client does. Every test ends with a well-behaved player who noticed nothing.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use everhold_core::limits::DATAGRAMS_MALFORMED_MAX;
use everhold_net::transport::TransportConfig;
use everhold_protocol::RefusalCode;
use everhold_protocol::limits::{CONTROL_BYTES_MAX, DATAGRAM_BYTES_MAX, DATAGRAM_FRAME_BYTES_MIN};
use everhold_protocol::message::encode_frame;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint};

use super::harness::{Dialed, Player, Server, Told, config, send, soon, until};

fn impatient() -> Server {
    Server::with(TransportConfig {
        login_deadline: Duration::from_millis(300),
        ..config()
    })
}

async fn client_that_opens_no_stream_runs_into_the_login_deadline() {
    let server = impatient();
    let mut bystander = server.bystander().await;
    let silent = server.dial().await.expect("the handshake succeeds");
    assert_eq!(silent.close_code().await, RefusalCode::LoginTimeout);
    bystander.exchange().await;
}

async fn client_that_drips_its_hello_runs_into_the_login_deadline() {
    let server = impatient();
    let mut bystander = server.bystander().await;
    let mut slow = server.dial_and_write(&[200, 0]).await;
    slow.hear_refusal(RefusalCode::LoginTimeout).await;
    bystander.exchange().await;
}

/// A socket that passes on the first packet it gets, and nothing more.
async fn relay_first_packet(relay: UdpSocket, to: SocketAddr) -> UdpSocket {
    let relayed = tokio::task::spawn_blocking(move || {
        let mut packet = [0; 2_048];
        let (bytes, _) = relay.recv_from(&mut packet).expect("the client's first packet");
        relay.send_to(&packet[..bytes], to).expect("it can be sent");
        relay
    });
    soon(relayed).await.expect("no panic")
}

async fn handshake_that_stops_half_way_runs_into_the_login_deadline() {
    let server = impatient();
    let mut bystander = server.bystander().await;
    let relay = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
    let relay_addr = relay.local_addr().expect("it is bound");
    let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback can be bound");
    let _connecting = endpoint
        .connect_with(server.client_config(), relay_addr, "everhold")
        .expect("a good address");
    let _deaf = relay_first_packet(relay, server.addr()).await;
    until(|| server.counters.handshakes_late.count() == 1).await;
    until(|| server.counters.half_open.now() == 0).await;
    bystander.exchange().await;
}

async fn second_hello_is_refused() {
    let server = Server::start();
    let (mut bystander, mut player) = (server.bystander().await, server.player().await);
    player.say(&server.hello()).await;
    player.hear_refusal(RefusalCode::Malformed).await;
    bystander.exchange().await;
}

async fn oversized_control_message_is_refused_before_it_is_read() {
    let mut server = Server::start();
    let (mut bystander, mut player) = (server.bystander().await, server.player().await);
    let announced = u32::try_from(CONTROL_BYTES_MAX + 1).expect("a small limit");
    player.write(&announced.to_le_bytes()).await;
    player.hear_refusal(RefusalCode::TooLarge).await;
    while !matches!(server.next_told().await, Told::Closed(_, Some(_))) {}
    bystander.exchange().await;
}

async fn garbage_after_hello_is_refused() {
    let server = Server::start();
    let (mut bystander, mut player) = (server.bystander().await, server.player().await);
    player.write(&[4, 0, 0, 0, 0xDE, 0xAD, 0xBE, 0xEF]).await;
    player.hear_refusal(RefusalCode::Malformed).await;
    bystander.exchange().await;
}

async fn few_garbage_datagrams_are_forgiven() {
    let server = Server::start();
    let mut player = server.player().await;
    for n in 0..DATAGRAMS_MALFORMED_MAX {
        player
            .dialed
            .quic
            .send_datagram(vec![0xFF; n as usize].into())
            .expect("the connection lives");
    }
    until(|| server.counters.datagrams_malformed.count() == u64::from(DATAGRAMS_MALFORMED_MAX)).await;
    player.exchange().await;
}

async fn many_garbage_datagrams_end_the_connection() {
    let server = Server::start();
    let (mut bystander, mut player) = (server.bystander().await, server.player().await);
    for _ in 0..2 * DATAGRAMS_MALFORMED_MAX {
        player
            .dialed
            .quic
            .send_datagram(vec![0xFF; 40].into())
            .expect("the connection lives");
    }
    player.hear_refusal(RefusalCode::Malformed).await;
    bystander.exchange().await;
}

/// A client that trusts the server and speaks another protocol.
fn other_alpn(server: &Server) -> quinn::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(server.keys.certificates()[0].clone())
        .expect("a good certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 is there")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"everhold/99".to_vec()];
    quinn::ClientConfig::new(Arc::new(
        QuicClientConfig::try_from(tls).expect("the initial suite is there"),
    ))
}

async fn unknown_alpn_does_not_get_past_the_handshake() {
    let server = Server::start();
    let mut bystander = server.bystander().await;
    let refused = server.dial_with(other_alpn(&server)).await.err();
    // 0x178: TLS alert 120, no_application_protocol.
    assert!(matches!(&refused, Some(ConnectionError::ConnectionClosed(close)) if u64::from(close.error_code) == 0x178));
    until(|| server.counters.handshakes_failed.count() == 1).await;
    bystander.exchange().await;
}

/// A client that announces so many bytes as its `max_datagram_frame_size`.
async fn dial_taking(server: &Server, frame_bytes: Option<usize>) -> Dialed {
    let mut transport = quinn::TransportConfig::default();
    transport.datagram_receive_buffer_size(frame_bytes);
    let mut client_config = server.client_config();
    client_config.transport_config(Arc::new(transport));
    server.dial_with(client_config).await.expect("the handshake succeeds")
}

async fn client_that_takes_no_datagrams_or_small_ones_is_told_why_it_is_refused() {
    let server = Server::start();
    let mut bystander = server.bystander().await;
    let hello = encode_frame(&server.hello()).expect("it fits");
    for frame_bytes in [None, Some(DATAGRAM_FRAME_BYTES_MIN - 1)] {
        let dialed = dial_taking(&server, frame_bytes).await;
        let mut player = Player::open(dialed, &hello).await;
        let detail = player.hear_refusal(RefusalCode::Malformed).await;
        assert!(detail.contains("max_datagram_frame_size"), "{detail}");
    }
    bystander.exchange().await;
}

async fn client_that_takes_the_least_datagrams_is_served() {
    let mut server = Server::start();
    let dialed = dial_taking(&server, Some(DATAGRAM_FRAME_BYTES_MIN)).await;
    let hello = encode_frame(&server.hello()).expect("it fits");
    let mut player = Player::open(dialed, &hello).await;
    player.exchange().await;
    let conn = server.next_conn().await;
    let before = server.counters.datagrams_out.count();
    // quinn, as this client, would close the connection at it: it counts some bytes of its own for each datagram that
    // it keeps.
    send(&conn, vec![7; DATAGRAM_BYTES_MAX].into());
    until(|| server.counters.datagrams_out.count() > before || server.counters.datagrams_gone.count() > 0).await;
    assert_eq!(server.counters.datagrams_gone.count(), 0, "the largest datagram fits");
}

async fn client_without_datagrams_that_says_nothing_is_closed_with_the_same_code() {
    let server = impatient();
    let dialed = dial_taking(&server, None).await;
    assert_eq!(dialed.close_code().await, RefusalCode::Malformed);
}

async fn only_one_stream_can_be_opened() {
    let server = Server::start();
    let mut player = server.player().await;
    let another = tokio::time::timeout(Duration::from_millis(100), player.dialed.quic.open_bi()).await;
    assert!(another.is_err(), "a second stream was opened");
    let one_way = tokio::time::timeout(Duration::from_millis(100), player.dialed.quic.open_uni()).await;
    assert!(one_way.is_err(), "a one-way stream was opened");
    player.exchange().await;
}

async fn flood_of_raw_garbage_leaves_players_working() {
    let server = Server::start();
    let mut bystander = server.bystander().await;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
    for n in 0..2_000_u32 {
        // All kinds of first bytes and lengths: long headers, short headers, unknown versions.
        let packet: Vec<u8> = (0..n % 1_400 + 1)
            .map(|i| (n.wrapping_mul(2_654_435_761) >> (i % 24)) as u8)
            .collect();
        socket.send_to(&packet, server.addr()).expect("it can be sent");
        if n % 100 == 0 {
            bystander.exchange().await;
        }
    }
    bystander.exchange().await;
    let mut newcomer = server.player().await;
    newcomer.exchange().await;
    assert_eq!(server.counters.hellos.count(), 2);
}

on_both! {
    client_that_opens_no_stream_runs_into_the_login_deadline,
    client_that_drips_its_hello_runs_into_the_login_deadline,
    handshake_that_stops_half_way_runs_into_the_login_deadline,
    second_hello_is_refused,
    oversized_control_message_is_refused_before_it_is_read,
    garbage_after_hello_is_refused,
    few_garbage_datagrams_are_forgiven,
    many_garbage_datagrams_end_the_connection,
    unknown_alpn_does_not_get_past_the_handshake,
    client_that_takes_no_datagrams_or_small_ones_is_told_why_it_is_refused,
    client_that_takes_the_least_datagrams_is_served,
    client_without_datagrams_that_says_nothing_is_closed_with_the_same_code,
    only_one_stream_can_be_opened,
    flood_of_raw_garbage_leaves_players_working,
}
