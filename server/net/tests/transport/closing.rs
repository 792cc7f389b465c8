//! The end of a connection, from the server's side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use everhold_net::transport::TransportConfig;
use everhold_protocol::message::encode_frame;
use everhold_protocol::{RefusalCode, ServerMessage};
use quinn::{ConnectionError, Endpoint};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::harness::{Kind, Server, Told, config, soon, until};

async fn closed_client_hears_all_that_was_queued_and_then_the_reason() {
    let mut server = Server::start();
    let mut player = server.player().await;
    let conn = server.next_conn().await;
    for _ in 0..100 {
        assert!(conn.send_control(&ServerMessage::Wait));
    }
    conn.close(RefusalCode::ZoneUnknown, "no such zone");
    assert!(
        !conn.send_control(&ServerMessage::Wait),
        "after the end there is nothing to say"
    );
    for _ in 0..100 {
        assert_eq!(player.hear().await, Some(ServerMessage::Wait));
    }
    assert_eq!(player.hear_refusal(RefusalCode::ZoneUnknown).await, "no such zone");
    assert!(matches!(server.next_told().await, Told::Closed(token, Some(_)) if token == conn.token()));
}

async fn first_reason_is_the_one_that_counts() {
    let mut server = Server::start();
    let mut player = server.player().await;
    let conn = server.next_conn().await;
    conn.close(RefusalCode::TicketUsed, "");
    conn.close(RefusalCode::Internal, "");
    player.hear_refusal(RefusalCode::TicketUsed).await;
    assert_eq!(server.counters.closed(RefusalCode::Internal).count(), 0);
}

async fn superseded_client_is_told_so_in_its_own_message() {
    let mut server = Server::start();
    let mut player = server.player().await;
    server.next_conn().await.close(RefusalCode::Superseded, "");
    assert_eq!(player.hear().await, Some(ServerMessage::Superseded));
    assert_eq!(player.dialed.close_code().await, RefusalCode::Superseded);
}

async fn goodbye_is_no_refusal() {
    let mut server = Server::start();
    let mut player = server.player().await;
    server.next_conn().await.close(RefusalCode::Bye, "");
    assert_eq!(player.hear().await, None);
    assert_eq!(player.dialed.close_code().await, RefusalCode::Bye);
}

async fn client_that_ends_its_control_stream_with_hello_is_served() {
    let mut server = Server::start();
    let hello = encode_frame(&server.hello()).expect("it fits");
    let mut player = server.dial_and_write(&hello).await;
    player.send.finish().expect("the stream is open");
    player.hear().await.expect("a greeting");
    player.exchange().await;
    let conn = server.next_conn().await;
    assert!(conn.send_control(&ServerMessage::Wait));
    assert_eq!(player.hear().await, Some(ServerMessage::Wait));
    conn.close(RefusalCode::Stopping, "");
    player.hear_refusal(RefusalCode::Stopping).await;
}

async fn client_that_breaks_its_control_stream_off_is_sent_after_it() {
    let mut server = Server::start();
    let mut player = server.player().await;
    server.next_conn().await;
    player.send.reset(0_u32.into()).expect("the stream is open");
    assert_eq!(player.dialed.close_code().await, RefusalCode::Bye);
    assert!(matches!(server.next_told().await, Told::Closed(..)));
}

async fn control_stream_that_ends_within_a_message_is_malformed() {
    let mut server = Server::start();
    let mut player = server.player().await;
    server.next_conn().await;
    player.write(&[9, 0, 0, 0, 1]).await;
    player.send.finish().expect("the stream is open");
    player.hear_refusal(RefusalCode::Malformed).await;
}

async fn closed_transport_tells_every_client() {
    let server = Server::start();
    let (one, two) = (server.player().await, server.player().await);
    soon(server.transport.close(RefusalCode::Stopping)).await;
    assert_eq!(one.dialed.close_code().await, RefusalCode::Stopping);
    assert_eq!(two.dialed.close_code().await, RefusalCode::Stopping);
}

async fn address_in_use_is_named_in_the_error() {
    let server = Server::start();
    let taken = TransportConfig {
        listen: server.addr(),
        ..config()
    };
    let error = Kind::bind(taken, &server.keys, mpsc::channel(1).0).expect_err("the port is taken");
    assert!(error.to_string().contains(&server.addr().to_string()), "{error}");
}

async fn player_who_falls_silent_is_given_up() {
    let mut server = Server::with(TransportConfig {
        idle_timeout: Duration::from_millis(300),
        ..config()
    });
    let _player = server.player().await;
    let conn = server.next_conn().await;
    assert!(matches!(server.next_told().await, Told::Closed(token, Some(_)) if token == conn.token()));
    until(|| server.counters.connections.now() == 0).await;
}

/// Passes on what comes, both ways, between one client and the server that `back` is connected to.
async fn relay(front: UdpSocket, back: Arc<UdpSocket>) -> std::io::Result<()> {
    let (mut up, mut down) = ([0; 2_048], [0; 2_048]);
    let mut client = None;
    loop {
        tokio::select! {
            got = front.recv_from(&mut up) => {
                let (bytes, from) = got?;
                client = Some(from);
                back.send(&up[..bytes]).await?;
            }
            got = back.recv(&mut down), if client.is_some() => {
                let bytes = got?;
                front.send_to(&down[..bytes], client.expect("it has sent")).await?;
            }
        }
    }
}

/// A shard that was killed says nothing; the next shard at its address makes its clients notice at once.
async fn client_of_a_silent_shard_learns_from_its_successor_that_the_connection_is_gone() {
    let first = Server::start();
    let (events, _kept) = mpsc::channel(1);
    let second = Kind::bind(config(), &first.keys, events).expect("loopback can be bound");
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let front = UdpSocket::bind(loopback).await.expect("loopback can be bound");
    let front_addr = front.local_addr().expect("it is bound");
    let back = Arc::new(UdpSocket::bind(loopback).await.expect("loopback can be bound"));
    back.connect(first.addr()).await.expect("a good address");
    tokio::spawn(relay(front, back.clone()));
    let endpoint = Endpoint::client(loopback).expect("loopback can be bound");
    let connecting = endpoint.connect_with(first.client_config(), front_addr, "localhost");
    let client = soon(connecting.expect("a good address")).await.expect("connected");
    back.connect(second.local_addr()).await.expect("a good address");
    client.send_datagram(vec![0; 100].into()).expect("it does not know yet");
    assert_eq!(soon(client.closed()).await, ConnectionError::Reset);
}

on_both! {
    player_who_falls_silent_is_given_up,
    closed_client_hears_all_that_was_queued_and_then_the_reason,
    first_reason_is_the_one_that_counts,
    superseded_client_is_told_so_in_its_own_message,
    goodbye_is_no_refusal,
    client_that_ends_its_control_stream_with_hello_is_served,
    client_that_breaks_its_control_stream_off_is_sent_after_it,
    control_stream_that_ends_within_a_message_is_malformed,
    closed_transport_tells_every_client,
    address_in_use_is_named_in_the_error,
    client_of_a_silent_shard_learns_from_its_successor_that_the_connection_is_gone,
}
