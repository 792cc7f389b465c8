//! Bounds on how many, how fast, and how slowly.

use std::sync::Arc;

use everhold_core::ingress::address::AddressLimits;
use everhold_net::transport::{AdmissionLimits, TransportConfig};
use everhold_protocol::{ClientMessage, RefusalCode, ServerMessage};
use quinn::{ConnectionError, VarInt};

use super::harness::{EPOCH, Player, Server, Told, config, frame_bytes, until};

fn admitting(admission: AdmissionLimits) -> Server {
    Server::with(TransportConfig { admission, ..config() })
}

async fn newcomer_to_a_full_server_is_told_so_and_may_come_back() {
    let mut server = admitting(AdmissionLimits {
        connections_max: 2,
        ..AdmissionLimits::default()
    });
    let (mut one, two) = (server.player().await, server.player().await);
    server
        .dial_and_say(&server.hello())
        .await
        .hear_refusal(RefusalCode::Full)
        .await;
    one.exchange().await;
    drop(two);
    while !matches!(server.next_told().await, Told::Closed(..)) {}
    until(|| server.counters.connections.now() == 1).await;
    server.player().await.exchange().await;
}

async fn newcomer_to_a_stopping_server_is_told_so_and_the_others_stay() {
    let server = Server::start();
    let mut bystander = server.bystander().await;
    server.transport.stop_accepting(RefusalCode::Stopping);
    server
        .dial_and_say(&server.hello())
        .await
        .hear_refusal(RefusalCode::Stopping)
        .await;
    bystander.exchange().await;
}

async fn stranger_in_a_crowd_comes_in_after_a_retry() {
    let server = admitting(AdmissionLimits {
        half_open_unvalidated_max: 0,
        ..AdmissionLimits::default()
    });
    server.player().await.exchange().await;
    assert_eq!(server.counters.attempts_retried.count(), 1);
    assert_eq!(server.counters.attempts.count(), 2, "the second time with the token");
}

/// Limits that hold for this host, too, where all players of a test come from.
fn limiting(address: AddressLimits) -> Server {
    Server::with(TransportConfig {
        address: AddressLimits {
            exempt_loopback: false,
            ..address
        },
        ..config()
    })
}

async fn address_that_asks_often_must_prove_itself_and_is_refused_in_the_end() {
    let server = limiting(AddressLimits {
        attempts_per_s: 1,
        attempts_burst: 1,
        ..AddressLimits::default()
    });
    let mut first = server.bystander().await;
    let mut second = server.bystander().await;
    assert_eq!(
        server.counters.attempts_retried.count(),
        1,
        "the second had to show its address"
    );
    let refused = server.dial().await.err();
    assert!(
        matches!(refused, Some(ConnectionError::ConnectionClosed(_))),
        "{refused:?}"
    );
    assert_eq!(server.counters.attempts_over_rate.count(), 1);
    first.exchange().await;
    second.exchange().await;
}

async fn address_with_all_its_connections_gets_another_when_one_ends() {
    let server = limiting(AddressLimits {
        connections_max: 1,
        ..AddressLimits::default()
    });
    let first = server.bystander().await;
    assert!(server.dial().await.is_err(), "it has one");
    drop(first);
    until(|| server.counters.connections.now() == 0).await;
    server.bystander().await.exchange().await;
}

async fn connection_that_was_turned_away_gives_no_place_back() {
    let server = limiting(AddressLimits {
        connections_max: 1,
        ..AddressLimits::default()
    });
    // Both may be admitted before either handshake has proven the address; one is turned away then.
    let both = tokio::join!(server.dial(), server.dial());
    until(|| server.counters.connections.now() == 1).await;
    assert!(server.dial().await.is_err(), "the address has its one connection");
    drop(both);
}

async fn strangers_take_no_place_of_players() {
    const PLAYERS: usize = 2;
    let server = admitting(AdmissionLimits {
        connections_max: PLAYERS,
        ..AdmissionLimits::default()
    });
    let mut strangers = Vec::new();
    for _ in 0..3 * PLAYERS {
        strangers.push(server.dial().await.expect("the handshake succeeds"));
    }
    assert_eq!(server.counters.half_open.now(), 3 * PLAYERS);
    server.returning_player().await.exchange().await;
    server.player().await.exchange().await;
}

async fn newest_stranger_takes_the_place_of_the_oldest() {
    let server = admitting(AdmissionLimits {
        half_open_max: 2,
        ..AdmissionLimits::default()
    });
    let oldest = server.dial().await.expect("the handshake succeeds");
    let second = server.dial().await.expect("the handshake succeeds");
    let told = tokio::spawn(async move { oldest.close_code().await });
    server.player().await.exchange().await;
    assert_eq!(told.await.expect("it is told"), RefusalCode::Full);
    assert_eq!(server.counters.half_open_replaced.count(), 1);
    assert!(second.quic.close_reason().is_none(), "one was enough");
    assert_eq!(server.counters.half_open.now(), 1, "who has a ticket is none of them");
}

async fn stranger_that_was_refused_gives_no_place_away() {
    const MOST: usize = 2;
    let server = admitting(AdmissionLimits {
        half_open_max: MOST,
        ..AdmissionLimits::default()
    });
    // QUIC still keeps its connection for late packets when the others come.
    let mut refused = server.dial_and_write(&[4, 0, 0, 0, 0xDE, 0xAD, 0xBE, 0xEF]).await;
    refused.hear_refusal(RefusalCode::Malformed).await;
    until(|| server.counters.half_open.now() == 0).await;
    let mut strangers = Vec::new();
    for _ in 0..=MOST {
        strangers.push(server.dial().await.expect("the handshake succeeds"));
    }
    assert_eq!(server.counters.half_open.now(), MOST, "one of them had to go");
}

async fn stranger_that_was_refused_keeps_no_place() {
    let server = Server::start();
    let mut refused = server.dial_and_write(&[4, 0, 0, 0, 0xDE, 0xAD, 0xBE, 0xEF]).await;
    refused.hear_refusal(RefusalCode::Malformed).await;
    until(|| server.counters.connections.now() == 0).await;
}

async fn nobody_comes_in_where_no_stranger_may() {
    let none = AdmissionLimits {
        half_open_max: 0,
        ..AdmissionLimits::default()
    };
    let server = admitting(none);
    let refused = server.dial().await.err();
    assert!(
        matches!(&refused, Some(ConnectionError::ConnectionClosed(_))),
        "{refused:?}"
    );
    assert_eq!(server.counters.attempts_refused.count(), 1);
    assert_eq!(server.counters.connections.now(), 0);
}

async fn burst_of_datagrams_is_cut_and_forgiven() {
    let server = Server::start();
    let mut player = server.player().await;
    for seq in 1..=200 {
        player.dialed.send_frame(EPOCH, seq);
        tokio::task::yield_now().await;
    }
    until(|| server.counters.datagrams_over_rate.count() > 0).await;
    player.exchange().await;
}

async fn lasting_flood_of_datagrams_ends_the_connection() {
    let server = Server::with(TransportConfig {
        rate_excess_s: 1,
        ..config()
    });
    let (mut bystander, mut player) = (server.bystander().await, server.player().await);
    while player.dialed.quic.close_reason().is_none() {
        let _closed = player.dialed.quic.send_datagram(frame_bytes(EPOCH, 1));
        tokio::task::yield_now().await;
    }
    player.hear_refusal(RefusalCode::RateExceeded).await;
    bystander.exchange().await;
}

async fn lasting_flood_of_control_messages_ends_the_connection() {
    let server = Server::with(TransportConfig {
        rate_excess_s: 1,
        ..config()
    });
    let (mut bystander, mut player) = (server.bystander().await, server.player().await);
    for _ in 0..200 {
        player.say(&ClientMessage::Logout).await;
    }
    player.hear_refusal(RefusalCode::RateExceeded).await;
    assert!(server.counters.control_over_rate.count() > 0);
    bystander.exchange().await;
}

async fn reader_that_is_too_slow_is_closed_and_others_are_not() {
    let mut server = Server::start();
    let mut bystander = server.bystander().await;
    server.next_conn().await;
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(1_024))
        .receive_window(VarInt::from_u32(1_024));
    let mut client_config = server.client_config();
    client_config.transport_config(Arc::new(transport));
    let dialed = server.dial_with(client_config).await.expect("the handshake succeeds");
    let hello = everhold_protocol::message::encode_frame(&server.hello()).expect("it fits");
    let slow = Player::open(dialed, &hello).await;
    let conn = server.next_conn().await;
    let long = ServerMessage::Refused {
        code: RefusalCode::Bye,
        detail: "x".repeat(2_000),
    };
    while conn.send_control(&long) {}
    assert_eq!(slow.dialed.close_code().await, RefusalCode::RateExceeded);
    assert_eq!(server.counters.control_overflow.count(), 1);
    bystander.exchange().await;
}

on_both! {
    newcomer_to_a_full_server_is_told_so_and_may_come_back,
    newcomer_to_a_stopping_server_is_told_so_and_the_others_stay,
    stranger_in_a_crowd_comes_in_after_a_retry,
    address_that_asks_often_must_prove_itself_and_is_refused_in_the_end,
    address_with_all_its_connections_gets_another_when_one_ends,
    connection_that_was_turned_away_gives_no_place_back,
    strangers_take_no_place_of_players,
    nobody_comes_in_where_no_stranger_may,
    stranger_that_was_refused_keeps_no_place,
    burst_of_datagrams_is_cut_and_forgiven,
    lasting_flood_of_datagrams_ends_the_connection,
    lasting_flood_of_control_messages_ends_the_connection,
    reader_that_is_too_slow_is_closed_and_others_are_not,
}

on_net_threads! {
    newest_stranger_takes_the_place_of_the_oldest,
    stranger_that_was_refused_gives_no_place_away,
}
