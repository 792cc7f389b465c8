//! Where datagrams go, and where they do not.

use everhold::ingress::InboxEntry;
use everhold::io::transport::Route;
use everhold::limits::DATAGRAM_SEND_BYTES;
use everhold_protocol::ClientMessage;

use super::harness::{EPOCH, Server, Told, session_of, soon, until};

#[tokio::test]
async fn frame_comes_out_of_the_inbox_it_was_routed_to() {
    let mut server = Server::start();
    let player = server.player().await;
    let conn = server.next_conn().await;
    let (inbox, out) = crossbeam::channel::bounded(1);
    conn.bind(Route {
        session: session_of(conn.token()),
        epoch: EPOCH,
        inbox,
    });
    player.dialed.send_frame(EPOCH, 5);
    until(|| !out.is_empty()).await;
    let Ok(InboxEntry::Frame { session, token, frame }) = out.recv() else {
        panic!("not a frame")
    };
    assert_eq!((session, token), (session_of(conn.token()), conn.token()));
    assert_eq!(frame.intents[0].seq, 5);
}

#[tokio::test]
async fn frames_for_a_full_inbox_are_dropped_and_counted() {
    let mut server = Server::start();
    let player = server.player().await;
    let conn = server.next_conn().await;
    let (inbox, out) = crossbeam::channel::bounded(1);
    conn.bind(Route {
        session: session_of(conn.token()),
        epoch: EPOCH,
        inbox,
    });
    for seq in 1..=3 {
        player.dialed.send_frame(EPOCH, seq);
    }
    until(|| server.counters.datagrams_inbox_full.count() == 2).await;
    assert_eq!(out.len(), 1);
}

#[tokio::test]
async fn frames_of_another_epoch_are_dropped() {
    let server = Server::start();
    let mut player = server.player().await;
    player.dialed.send_frame(EPOCH - 1, 1);
    player.dialed.send_frame(EPOCH + 1, 1);
    until(|| server.counters.datagrams_other_epoch.count() == 2).await;
    player.exchange().await;
}

#[tokio::test]
async fn frames_of_an_unbound_connection_go_nowhere() {
    let mut server = Server::start();
    let player = server.player().await;
    let conn = server.next_conn().await;
    conn.unbind();
    player.dialed.send_frame(EPOCH, 1);
    until(|| server.counters.datagrams_unbound.count() == 1).await;
    drop(player);
    assert!(matches!(server.next_told().await, Told::Closed(token, None) if token == conn.token()));
}

#[tokio::test]
async fn logout_is_told_and_leaves_the_end_to_the_shard() {
    let mut server = Server::start();
    let mut player = server.player().await;
    let conn = server.next_conn().await;
    player.say(&ClientMessage::Logout).await;
    assert!(matches!(server.next_told().await, Told::Logout(by) if by.token() == conn.token()));
    player.exchange().await;
}

#[tokio::test]
async fn client_that_leaves_is_told_with_its_session() {
    let mut server = Server::start();
    let player = server.player().await;
    let conn = server.next_conn().await;
    drop(player);
    let Told::Closed(token, session) = server.next_told().await else {
        panic!("not the end")
    };
    assert_eq!((token, session), (conn.token(), Some(session_of(token))));
    assert!(!conn.send_datagram(vec![1].into()));
    assert!(!conn.send_control(&everhold_protocol::ServerMessage::Wait));
}

#[tokio::test]
async fn sender_learns_that_an_older_datagram_gave_way() {
    let mut server = Server::start();
    let player = server.player().await;
    let conn = server.next_conn().await;
    // Nothing leaves between these, for this test and the connection share a thread.
    let sent = (0..100).filter(|n| conn.send_datagram(vec![*n; 1_000].into())).count();
    let kept = DATAGRAM_SEND_BYTES / 1_100..DATAGRAM_SEND_BYTES / 1_000;
    assert!(kept.contains(&sent), "{sent}");
    assert_eq!(server.counters.datagrams_congested.count(), 100 - sent as u64);
    let first = soon(player.dialed.quic.read_datagram())
        .await
        .expect("the connection lives");
    assert_eq!(usize::from(first[0]), 100 - sent, "the newest are kept");
}

#[tokio::test]
async fn datagram_that_fits_no_packet_is_counted() {
    let mut server = Server::start();
    let _player = server.player().await;
    assert!(!server.next_conn().await.send_datagram(vec![0; 2_000].into()));
    assert_eq!(server.counters.datagrams_gone.count(), 1);
}
