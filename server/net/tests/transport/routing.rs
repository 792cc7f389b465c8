//! Routing of datagrams: into the inbox of the connection's zone, and nowhere else.

use everhold_core::ingress::InboxEntry;
use everhold_net::transport::{DatagramBatch, Route};
use everhold_protocol::{ClientMessage, Epoch};

use super::harness::{EPOCH, Server, Told, send, session_of, soon, until};

async fn frame_comes_out_of_the_inbox_it_was_routed_to() {
    let mut server = Server::start();
    let player = server.player().await;
    let conn = server.next_conn().await;
    let (inbox, out) = crossbeam::channel::bounded(1);
    conn.bind(Route {
        session: session_of(conn.token()),
        epoch: Epoch(EPOCH),
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

async fn frames_for_a_full_inbox_are_dropped_and_counted() {
    let mut server = Server::start();
    let player = server.player().await;
    let conn = server.next_conn().await;
    let (inbox, out) = crossbeam::channel::bounded(1);
    conn.bind(Route {
        session: session_of(conn.token()),
        epoch: Epoch(EPOCH),
        inbox,
    });
    for seq in 1..=3 {
        player.dialed.send_frame(EPOCH, seq);
    }
    until(|| server.counters.datagrams_inbox_full.count() == 2).await;
    assert_eq!(out.len(), 1);
}

async fn frames_of_another_epoch_are_dropped() {
    let server = Server::start();
    let mut player = server.player().await;
    player.dialed.send_frame(EPOCH - 1, 1);
    player.dialed.send_frame(EPOCH + 1, 1);
    until(|| server.counters.datagrams_other_epoch.count() == 2).await;
    player.exchange().await;
}

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

async fn logout_is_told_and_leaves_the_end_to_the_shard() {
    let mut server = Server::start();
    let mut player = server.player().await;
    let conn = server.next_conn().await;
    player.say(&ClientMessage::Logout).await;
    assert!(matches!(server.next_told().await, Told::Logout(by) if by.token() == conn.token()));
    player.exchange().await;
}

async fn client_that_leaves_is_told_with_its_session() {
    let mut server = Server::start();
    let player = server.player().await;
    let conn = server.next_conn().await;
    drop(player);
    let Told::Closed(token, session) = server.next_told().await else {
        panic!("not the end")
    };
    assert_eq!((token, session), (conn.token(), Some(session_of(token))));
    send(&conn, vec![1].into());
    until(|| server.counters.datagrams_gone.count() == 1).await;
    assert!(!conn.send_control(&everhold_protocol::ServerMessage::Wait));
}

async fn newest_datagrams_of_a_congested_path_are_kept_and_the_others_counted() {
    let mut server = Server::start();
    let player = server.player().await;
    let conn = server.next_conn().await;
    let bytes: Vec<u8> = (0..100).flat_map(|n| [n; 1_000]).collect();
    let mut batch = DatagramBatch::new(bytes.into(), 100);
    for n in 0..100 {
        batch.push(&conn, n * 1_000..(n + 1) * 1_000);
    }
    batch.send();
    let mut received = Vec::new();
    while received.last() != Some(&99) {
        let datagram = soon(player.dialed.quic.read_datagram()).await;
        received.push(datagram.expect("the connection lives")[0]);
    }
    assert!(received.is_sorted(), "{received:?}");
    let congested = server.counters.datagrams_congested.count();
    assert!(congested > 0, "{received:?}");
    assert_eq!(received.len() as u64 + congested, 100, "{received:?}");
    assert_eq!(server.counters.datagrams_out.count(), 100);
}

async fn datagram_that_fits_no_packet_is_counted() {
    let mut server = Server::start();
    let _player = server.player().await;
    send(&server.next_conn().await, vec![0; 2_000].into());
    until(|| server.counters.datagrams_gone.count() == 1).await;
}

on_both! {
    frame_comes_out_of_the_inbox_it_was_routed_to,
    frames_for_a_full_inbox_are_dropped_and_counted,
    frames_of_another_epoch_are_dropped,
    frames_of_an_unbound_connection_go_nowhere,
    logout_is_told_and_leaves_the_end_to_the_shard,
    client_that_leaves_is_told_with_its_session,
    newest_datagrams_of_a_congested_path_are_kept_and_the_others_counted,
    datagram_that_fits_no_packet_is_counted,
}
