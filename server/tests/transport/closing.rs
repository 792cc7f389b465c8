//! How a connection ends from the server's side.

use everhold::io::keys::Keys;
use everhold::io::transport::{Transport, TransportConfig};
use everhold_protocol::{RefusalCode, ServerMessage};
use quinn::{ConnectionError, Endpoint};
use tokio::sync::mpsc;

use super::harness::{Server, Told, config, soon};

#[tokio::test]
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

#[tokio::test]
async fn first_reason_is_the_one_that_counts() {
    let mut server = Server::start();
    let mut player = server.player().await;
    let conn = server.next_conn().await;
    conn.close(RefusalCode::TicketUsed, "");
    conn.close(RefusalCode::Internal, "");
    player.hear_refusal(RefusalCode::TicketUsed).await;
    assert_eq!(server.counters.closed(RefusalCode::Internal).count(), 0);
}

#[tokio::test]
async fn superseded_client_is_told_so_in_its_own_message() {
    let mut server = Server::start();
    let mut player = server.player().await;
    server.next_conn().await.close(RefusalCode::Superseded, "");
    assert_eq!(player.hear().await, Some(ServerMessage::Superseded));
    assert_eq!(player.dialed.close_code().await, RefusalCode::Superseded);
}

#[tokio::test]
async fn goodbye_is_no_refusal() {
    let mut server = Server::start();
    let mut player = server.player().await;
    server.next_conn().await.close(RefusalCode::Bye, "");
    assert_eq!(player.hear().await, None);
    assert_eq!(player.dialed.close_code().await, RefusalCode::Bye);
}

#[tokio::test]
async fn client_that_ends_its_control_stream_is_sent_after_it() {
    let mut server = Server::start();
    let mut player = server.player().await;
    server.next_conn().await;
    player.send.finish().expect("the stream is open");
    assert_eq!(player.dialed.close_code().await, RefusalCode::Bye);
    assert!(matches!(server.next_told().await, Told::Closed(..)));
}

#[tokio::test]
async fn closed_transport_tells_every_client() {
    let server = Server::start();
    let (one, two) = (server.player().await, server.player().await);
    soon(server.transport.close(RefusalCode::Stopping)).await;
    assert_eq!(one.dialed.close_code().await, RefusalCode::Stopping);
    assert_eq!(two.dialed.close_code().await, RefusalCode::Stopping);
}

#[tokio::test]
async fn address_in_use_is_named_in_the_error() {
    let server = Server::start();
    let taken = TransportConfig {
        listen: server.addr(),
        ..config()
    };
    let error = Transport::bind(taken, &server.keys, mpsc::channel(1).0).expect_err("the port is taken");
    assert!(error.to_string().contains(&server.addr().to_string()), "{error}");
}

/// A process that is killed says nothing; the one that takes its place at the same address makes clients notice at once.
#[test]
fn client_of_a_killed_shard_learns_it_from_the_restarted_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let keys = Keys::load_or_create(dir.path()).expect("keys are made");
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let (first_life, client_life, second_life) = (runtime(), runtime(), runtime());
    let (events, _kept) = mpsc::channel(8);
    let first = first_life
        .block_on(async { Transport::bind(config(), &keys, events.clone()) })
        .expect("loopback can be bound");
    let addr = first.local_addr();
    let client = client_life.block_on(async {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("loopback can be bound");
        let trust = everhold::io::keys::client_config(keys.certificate()).expect("it can be trusted");
        soon(endpoint.connect_with(trust, addr, "localhost").expect("a good address"))
            .await
            .expect("connected")
    });
    first_life.shutdown_timeout(std::time::Duration::from_secs(5));
    drop(first);
    let again = TransportConfig {
        listen: addr,
        ..config()
    };
    let _second = second_life
        .block_on(async { Transport::bind(again, &keys, events) })
        .expect("the port is free again");
    client_life.block_on(async {
        client.send_datagram(vec![0; 100].into()).expect("it does not know yet");
        assert_eq!(soon(client.closed()).await, ConnectionError::Reset);
    });
}
