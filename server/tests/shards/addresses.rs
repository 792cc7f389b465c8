//! The addresses to which players are sent, of shards that listen on every address, in a network of their own, and by
//! IPv6.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::panic::resume_unwind;

use everhold_protocol::{Credential, Epoch};
use everhold_testing::netns::{NetworkPair, note};
use everhold_testing::player::{OldConnections, Player, ticket};

use crate::world::{World, all_zones, meadow, shard_that_ends};

/// Number of players.
const PLAYERS: u64 = 5;

/// All log in at a shard that does not hold their zone, and play on when the one that does is killed; and again, when
/// only a shard is left of which they have but been told. `arguments` are each shard's; it is reached at `ip`.
async fn log_in_through_the_wrong_shard_and_lose_the_right_one(mut world: World, arguments: &[&str], ip: IpAddr) {
    let right = world.shard_with(&all_zones(), arguments);
    let wrong = world.shard_with(&[], arguments);
    let wrong_addr = world.cluster.all[wrong].addr;
    assert_eq!((world.cluster.all[right].addr.ip(), wrong_addr.ip()), (ip, ip));
    let login = |account| Player::login(&world.keys, vec![wrong_addr], account, &meadow(), OldConnections::Close);
    let mut players: Vec<Player> = (1..=PLAYERS).map(login).collect();
    let mut epoch = Epoch::NONE;
    for player in &mut players {
        epoch = epoch.max(player.until_attached_above(Epoch::NONE).await);
        player.until_told_of(wrong_addr).await;
    }
    world.cluster.kill(right).expect("a kill");
    let (epoch, _) = world.until_adopted(&meadow(), wrong, epoch);
    let heir = world.shard_with(&[], arguments);
    let heir_addr = world.cluster.all[heir].addr;
    for player in &mut players {
        assert_eq!(player.until_attached_above(Epoch(epoch.0 - 1)).await, epoch);
        player.until_snapshot().await;
        player.until_told_of(heir_addr).await;
    }
    world.cluster.kill(wrong).expect("a kill");
    let (epoch, _) = world.until_adopted(&meadow(), heir, epoch);
    for player in &mut players {
        assert_eq!(player.until_attached_above(Epoch(epoch.0 - 1)).await, epoch);
        player.until_snapshot().await;
    }
    world.cluster.stop().expect("in good order");
}

/// Runs a test inside a namespace, on a thread and a runtime of its own.
fn inside<F: Future<Output = ()>>(pair: &NetworkPair, test: impl FnOnce(World) -> F + Send + 'static) {
    let prefix = pair.servers.prefix();
    let run = pair.players.enter(move || {
        let mut world = World::with_default_leases();
        world.cluster.prefix = prefix;
        // Threads that are started inside are inside; the players go on while the test waits for a process.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(test(world));
    });
    if let Err(panic) = run.expect("the namespace is there").join() {
        resume_unwind(panic);
    }
}

#[test]
fn players_of_another_network_are_sent_to_the_advertised_address() {
    let name = "players_of_another_network_are_sent_to_the_advertised_address";
    let Some(pair) = NetworkPair::new(name) else { return };
    inside(&pair, |mut world| async {
        world.cluster.listen = "0.0.0.0:0".to_owned();
        let ip = NetworkPair::SERVERS_V4;
        let advertise = ip.to_string();
        log_in_through_the_wrong_shard_and_lose_the_right_one(world, &["--advertise", &advertise], ip.into()).await;
    });
}

#[test]
fn players_of_another_network_play_by_ipv6() {
    let name = "players_of_another_network_play_by_ipv6";
    let Some(pair) = NetworkPair::new(name) else { return };
    inside(&pair, |mut world| async {
        world.cluster.listen = "[::]:0".to_owned();
        let ip = NetworkPair::SERVERS_V6;
        let advertise = ip.to_string();
        log_in_through_the_wrong_shard_and_lose_the_right_one(world, &["--advertise", &advertise], ip.into()).await;
    });
}

/// On a socket of both families, all IPv4 addresses look like hosts of one IPv6 network.
#[test]
fn ipv4_players_of_a_socket_of_both_families_are_limited_by_their_own_addresses() {
    let name = "ipv4_players_of_a_socket_of_both_families_are_limited_by_their_own_addresses";
    let Some(pair) = NetworkPair::new(name) else { return };
    inside(&pair, |mut world| async move {
        world.cluster.listen = "[::]:0".to_owned();
        let advertise = NetworkPair::SERVERS_V6;
        let lines = format!("advertise = \"{advertise}\"\n[login]\naddress_connections_max = 1\n");
        let shard = world.shard_configured(&all_zones(), &lines);
        let port = world.cluster.all[shard].addr.port();
        let (v4, v6) = (NetworkPair::SERVERS_V4.into(), NetworkPair::SERVERS_V6.into());
        let mut players = Vec::new();
        for (account, from, to) in [
            (1, NetworkPair::PLAYERS_V4.into(), v4),
            (2, NetworkPair::crowd_v4(2), v4),
            (3, NetworkPair::crowd_v4(3), v4),
            (4, NetworkPair::PLAYERS_V6.into(), v6),
        ] {
            let credential = Credential::Ticket(ticket(&world.keys, account, &meadow()));
            let to = vec![SocketAddr::new(to, port)];
            let mut player = Player::start_from(from, &world.keys, to, (credential, account), OldConnections::Close);
            player.until_attached_above(Epoch::NONE).await;
            players.push(player);
        }
        world.cluster.stop().expect("in good order");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_on_the_ipv6_loopback_redirect_and_fail_over() {
    if let Err(error) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
        return note(&format!(
            "shards_on_the_ipv6_loopback_redirect_and_fail_over: SKIPPED, no IPv6: {error}"
        ));
    }
    let mut world = World::with_default_leases();
    world.cluster.listen = "[::1]:0".to_owned();
    log_in_through_the_wrong_shard_and_lose_the_right_one(world, &[], Ipv6Addr::LOCALHOST.into()).await;
}

/// Runs a shard in a world of its own until it ends by itself. Returns its exit code and what it said.
fn refusal(arguments: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    shard_that_ends(&dir.path().join("world"), &dir.path().join("keys"), arguments)
}

#[test]
fn shard_on_every_address_says_at_start_what_it_must_be_told() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        for guardian in [&[][..], &["--no-guardian"]] {
            let (code, said) = refusal(&[&["--listen", listen][..], guardian].concat());
            assert_eq!(code, Some(64), "{said}");
            assert!(
                said.contains("shard.advertise") && said.contains("--advertise"),
                "{said}"
            );
        }
    }
}

#[test]
fn host_name_that_nobody_knows_is_named_with_its_key() {
    let (code, said) = refusal(&[
        "--listen",
        "127.0.0.1:0",
        "--advertise",
        "no-such-host.invalid",
        "--no-guardian",
    ]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("shard.advertise") && said.contains("no-such-host.invalid"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn shard_that_listens_on_a_name_is_found_at_its_address() {
    let mut world = World::with_default_leases();
    world.cluster.listen = "localhost:0".to_owned();
    let shard = world.shard(&all_zones());
    assert!(world.cluster.all[shard].addr.ip().is_loopback());
    let mut player = world.player(1, &meadow(), OldConnections::Close);
    player.until_attached_above(Epoch::NONE).await;
}
