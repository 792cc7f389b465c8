//! Packets that QUIC takes and no client sends so many of.

use std::net::UdpSocket;

use everhold_net::keys;
use everhold_net::transport::TransportConfig;
use everhold_protocol::{ClientMessage, RefusalCode};
use everhold_testing::crowd::Crowd;

use super::harness::{Server, config};

/// Few, so that a test need not send many.
const PACKETS_PER_S: u32 = 100;

fn thrifty() -> Server {
    Server::with(TransportConfig {
        packets_per_s: PACKETS_PER_S,
        rate_excess_s: 1,
        ..config()
    })
}

fn crowd(server: &Server) -> Crowd {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
    let client = keys::client_config(server.keys.certificates()).expect("the certificate can be trusted");
    Crowd::new(socket, server.addr(), client).expect("a socket")
}

/// Floods with PINGs after saying `hello`, if anything, until the server has had enough of it. The code it closes with.
async fn flood_of_pings(mut crowd: Crowd, hello: Option<ClientMessage>) -> Option<RefusalCode> {
    let flood = tokio::task::spawn_blocking(move || {
        let peer = crowd.connect(None);
        assert!(crowd.turn_until(|crowd| crowd.peer(peer).is_connected), "a handshake");
        if let Some(hello) = hello {
            crowd.say(peer, &hello);
            assert!(
                crowd.turn_until(|crowd| !crowd.peer(peer).heard.is_empty()),
                "a greeting"
            );
        }
        let is_closed = crowd.turn_until(|crowd| {
            crowd.ping(peer, 20);
            crowd.peer(peer).closed.is_some()
        });
        assert!(is_closed, "it is closed in the end");
        crowd.peer(peer).close_code()
    });
    flood.await.expect("no panic")
}

async fn stranger_that_floods_with_pings_is_dropped_and_closed() {
    let server = thrifty();
    let mut bystander = server.bystander().await;
    let code = flood_of_pings(crowd(&server), None).await;
    assert_eq!(code, Some(RefusalCode::RateExceeded));
    assert!(server.counters.packets_over_rate.count() >= u64::from(PACKETS_PER_S));
    bystander.exchange().await;
}

async fn player_that_floods_with_pings_is_dropped_and_closed() {
    let server = thrifty();
    let mut bystander = server.bystander().await;
    let code = flood_of_pings(crowd(&server), Some(server.hello())).await;
    assert_eq!(code, Some(RefusalCode::RateExceeded));
    assert_eq!(server.counters.closed(RefusalCode::RateExceeded).count(), 1);
    bystander.exchange().await;
}

async fn burst_of_packets_is_cut_and_forgiven() {
    let server = thrifty();
    let mut crowd = crowd(&server);
    let pinged = tokio::task::spawn_blocking(move || {
        let peer = crowd.connect(None);
        assert!(crowd.turn_until(|crowd| crowd.peer(peer).is_connected), "a handshake");
        crowd.ping(peer, PACKETS_PER_S as usize * 3 / 2);
        crowd
    });
    let _crowd = pinged.await.expect("no panic");
    super::harness::until(|| server.counters.packets_over_rate.count() > 0).await;
    assert_eq!(server.counters.closed(RefusalCode::RateExceeded).count(), 0);
}

on_net_threads! {
    stranger_that_floods_with_pings_is_dropped_and_closed,
    player_that_floods_with_pings_is_dropped_and_closed,
    burst_of_packets_is_cut_and_forgiven,
}
