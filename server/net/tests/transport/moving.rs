//! Players whose network gives them another address.

use std::net::{SocketAddr, UdpSocket};

use everhold_net::transport::TransportConfig;

use super::harness::{Kind, Player, Server, config};

/// From now on the player sends from another port.
fn move_away(player: &Player) {
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback can be bound");
    player.dialed.endpoint.rebind(socket).expect("the endpoint is open");
}

async fn player_who_moves_keeps_the_connection() {
    let mut server = Server::start();
    let mut player = server.player().await;
    player.exchange().await;
    let conn = server.next_conn().await;
    let before = conn.remote();
    move_away(&player);
    player.exchange().await;
    assert_ne!(conn.remote(), before);
}

on_both! {
    player_who_moves_keeps_the_connection,
}

/// The kernel chooses a socket by the peer's address, so sooner or later a new one leads to the other thread.
#[tokio::test]
async fn packets_that_come_out_of_another_threads_socket_find_their_owner() {
    Kind::NetThreads
        .run(async {
            let server = Server::with(TransportConfig {
                net_threads: 2,
                ..config()
            });
            let mut players = Vec::new();
            for _ in 0..8 {
                players.push(server.player().await);
            }
            assert_eq!(server.counters.forwarded.count(), 0, "nobody has moved");
            while server.counters.forwarded.count() == 0 {
                for player in &mut players {
                    move_away(player);
                    player.exchange().await;
                }
            }
            assert_eq!(server.counters.connections.now(), 8);
            assert_eq!(server.counters.hellos.count(), 8);
            assert_eq!(server.counters.forward_overflow.count(), 0);
        })
        .await;
}
