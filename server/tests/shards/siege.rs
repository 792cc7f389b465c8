//! Strangers from many addresses, at two shards that serve players: they park, knock, ping, and dribble in turn.
//! Players log in meanwhile, and come back after their shard was killed.
//!
//! Both sides have networks of their own, for on loopback no address is limited.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client_sim::{Behavior, Control, SwarmConfig, SwarmProgress, SwarmReport};
use everhold_core::limits::HALF_OPEN_MAX;
use everhold_net::keys;
use everhold_protocol::message::encode_frame;
use everhold_protocol::{ClientMessage, Credential, EntityId, Epoch, PROTOCOL_VERSION};
use everhold_testing::crowd::{Crowd, PeerId};
use everhold_testing::netns::NetworkPair;
use quinn_proto::ClientConfig;

use crate::hostile::resident_bytes;
use crate::world::{PATIENCE, World, all_zones, meadow};

/// Strangers of each kind, unless `SIEGE_STRANGERS` says otherwise: ten thousand in all.
const STRANGERS: u32 = 2_500;
/// Strangers that come in a second.
const STRANGERS_PER_S: u32 = 500;
/// Addresses that they come from.
const ADDRESSES: u64 = 250;
/// Packets of garbage in a second, where strangers send nothing else, unless `SIEGE_GARBAGE_PER_S` says otherwise.
const GARBAGE_PER_S: u32 = 5_000;
/// Turns between two bytes of those who dribble: a `Hello` takes them longer than the login deadline.
const DRIBBLE_TURNS: usize = 16;
/// Pings that each of those who ping sends at once, again and again.
const PINGS: usize = 2;
/// One of so many strangers pings.
const PING_SHARE: usize = 64;
const PLAYERS: usize = 60;
/// Memory that strangers may make a shard keep, bytes: 64 KiB each, and as much as the zones take that it adopts
/// meanwhile.
const GROWN_BYTES_MAX: u64 = HALF_OPEN_MAX as u64 * 64 * 1024 + 64 * 1024 * 1024;

/// The behaviour of strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stance {
    /// They are none: bytes that are no packet of QUIC.
    Garbage,
    /// They say that they come back to a session that they never had, under an epoch that never comes.
    Park,
    /// They shake hands and say nothing.
    Knock,
    /// The same, and send PINGs without end.
    Ping,
    /// They say `Hello` byte by byte.
    Dribble,
}

/// The counts of a siege so far.
#[derive(Debug, Default)]
struct Done {
    strangers: AtomicU64,
    packets: AtomicU64,
    is_over: AtomicBool,
}

/// Strangers before each shard, on a thread in the players' network.
struct Siege {
    done: Arc<Done>,
    begun: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Siege {
    fn start(pair: &NetworkPair, stance: Stance, targets: Vec<SocketAddr>, client: ClientConfig) -> Self {
        let done = Arc::new(Done::default());
        let told = Arc::clone(&done);
        let thread = pair.players.enter(move || besiege(stance, &targets, &client, &told));
        Self {
            done,
            begun: Instant::now(),
            thread: Some(thread.expect("the players' network")),
        }
    }

    fn strangers(&self) -> u64 {
        self.done.strangers.load(Ordering::Relaxed)
    }

    fn packets_per_s(&self) -> f64 {
        self.done.packets.load(Ordering::Relaxed) as f64 / self.begun.elapsed().as_secs_f64()
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.done.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has shown so already.
            let _panicked = thread.join();
        }
    }
}

fn besiege(stance: Stance, targets: &[SocketAddr], client: &ClientConfig, done: &Done) {
    let crowd = |target: &SocketAddr| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a UDP port");
        Crowd::new(socket, *target, client.clone()).expect("a socket")
    };
    let mut crowds: Vec<Crowd> = targets.iter().map(crowd).collect();
    let begun = Instant::now();
    let garbage_per_s = number("SIEGE_GARBAGE_PER_S", GARBAGE_PER_S);
    let (mut garbage, mut turn) = (0, 0);
    while !done.is_over.load(Ordering::Relaxed) && begun.elapsed() < PATIENCE * 4 {
        let due = |per_s: u32| (begun.elapsed().as_secs_f64() * f64::from(per_s)) as u64;
        while done.strangers.load(Ordering::Relaxed) < due(STRANGERS_PER_S) {
            let n = done.strangers.fetch_add(1, Ordering::Relaxed);
            if stance != Stance::Garbage {
                crowds[n as usize % targets.len()].connect(Some(address(n)));
            }
        }
        while stance == Stance::Garbage && garbage < due(garbage_per_s) {
            crowds[garbage as usize % targets.len()].send_garbage(Some(address(garbage)), &[garbage as u8; 200]);
            garbage += 1;
        }
        turn += 1;
        for crowd in &mut crowds {
            crowd.turn();
            for id in crowd.ids() {
                act(stance, crowd, id, turn);
            }
        }
        let sent = crowds.iter().map(|crowd| crowd.sent).sum();
        done.packets.store(sent, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the number in the environment, or the default, for which continuous integration has time.
fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn address(n: u64) -> IpAddr {
    NetworkPair::crowd_v4((n % ADDRESSES) as u16 + 1)
}

fn act(stance: Stance, crowd: &mut Crowd, id: PeerId, turn: usize) {
    let peer = crowd.peer(id);
    if peer.closed.is_some() {
        return crowd.forget(id);
    }
    if !peer.is_connected {
        return;
    }
    let said = peer.written;
    match stance {
        Stance::Garbage | Stance::Knock => {}
        Stance::Park if said == 0 => crowd.say(id, &guess()),
        Stance::Park => {}
        // A few of them send as much as all others together.
        Stance::Ping if id.0.is_multiple_of(PING_SHARE) => crowd.ping(id, PINGS),
        Stance::Ping => {}
        Stance::Dribble if id.0 % DRIBBLE_TURNS != turn % DRIBBLE_TURNS => {}
        Stance::Dribble => {
            let hello = encode_frame(&guess()).expect("it fits");
            if let Some(byte) = hello.get(said..=said) {
                crowd.write(id, byte);
                crowd.flush(id);
            }
        }
    }
}

/// The `Hello` of somebody who has no session and guesses.
fn guess() -> ClientMessage {
    ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        credential: Credential::Resume {
            zone: meadow(),
            session: EntityId::new(1, 1),
            secret: [7; 32],
            epoch: Epoch(u32::MAX),
            event_seq: 0,
        },
    }
}

/// Players who log in while strangers stand before the shards, play on until `is_enough`, and are told how many of them
/// are in.
fn play(
    pair: &NetworkPair,
    swarm: SwarmConfig,
    attached: &Arc<AtomicUsize>,
    is_enough: impl Fn(&SwarmProgress) -> bool + Send + 'static,
) -> JoinHandle<SwarmReport> {
    let attached = Arc::clone(attached);
    let playing = pair.players.enter(move || {
        let mut observe = |progress: &SwarmProgress| {
            attached.store(progress.attached, Ordering::Relaxed);
            if is_enough(progress) {
                Control::Stop
            } else {
                Control::Continue
            }
        };
        client_sim::run(swarm, &mut observe).expect("all of them come in")
    });
    playing.expect("the players' network")
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE * 4, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Plays through a siege and the death of the shard that has all zones, and says how it was. Runs in the servers'
/// network.
#[expect(clippy::print_stdout, reason = "latencies are measured and told, never asserted")]
fn play_besieged(pair: &NetworkPair, stance: Stance) {
    let mut world = World::new().alone();
    world.cluster.listen = format!("{}:0", NetworkPair::SERVERS_V4);
    let owner = world.shard(&all_zones());
    let spare = world.shard(&[]);
    let addrs = vec![world.cluster.all[owner].addr, world.cluster.all[spare].addr];
    let before = resident_bytes(world.cluster.all[spare].pid);
    let client = keys::client_config(world.keys.certificates()).expect("a certificate that was just made");
    let siege = Siege::start(pair, stance, addrs.clone(), client);
    wait_until("strangers fill the places there are for them", || {
        siege.strangers() > 3 * HALF_OPEN_MAX as u64 / 2
    });
    let attached = Arc::new(AtomicUsize::new(0));
    let swarm = SwarmConfig {
        connect: addrs,
        players: PLAYERS,
        seconds: 600.0,
        zones: all_zones(),
        behavior: Behavior::Trade,
        keys: world.cluster.keys(),
        ..SwarmConfig::default()
    };
    let done = Arc::clone(&siege.done);
    let zones = all_zones().len();
    let strangers = u64::from(number("SIEGE_STRANGERS", STRANGERS));
    let playing = play(pair, swarm, &attached, move |progress| {
        progress.failovers >= zones && done.strangers.load(Ordering::Relaxed) >= strangers
    });
    wait_until("all players are in", || {
        playing.is_finished() || attached.load(Ordering::Relaxed) == PLAYERS
    });
    world.cluster.kill(owner).expect("it is killed");
    let report = playing.join().expect("the swarm runs");
    let grown = resident_bytes(world.cluster.all[spare].pid).saturating_sub(before);
    println!(
        "{stance:?}: {} strangers, {:.0} packets/s; update latency p50 {:.0} ms, p99 {:.0} ms; {} MiB more",
        siege.strangers(),
        siege.packets_per_s(),
        report.steady_latency_ms.p50,
        report.steady_latency_ms.p99,
        grown / 1024 / 1024
    );
    assert_eq!(report.errors, [] as [String; 0], "{stance:?}");
    assert_eq!((report.lost_acknowledged, report.duplicated), (0, 0), "{stance:?}");
    let came_back: usize = report.failovers.iter().map(|failover| failover.resumed).sum();
    assert!(
        came_back >= PLAYERS,
        "{stance:?}: all come back: {:?}",
        report.failovers
    );
    assert!(grown <= GROWN_BYTES_MAX, "{stance:?}: {grown} bytes more");
    world
        .cluster
        .wait_until("the spare tells what it uses", PATIENCE, |cluster| {
            cluster.all[spare].usage.is_some()
        })
        .expect("it tells every second");
    let half_open = world.cluster.all[spare].usage.as_ref().map(|usage| usage.half_open);
    assert!(half_open <= Some(HALF_OPEN_MAX), "{stance:?}: {half_open:?} strangers");
}

#[test]
fn players_come_in_and_come_back_through_ten_thousand_strangers() {
    let Some(pair) = NetworkPair::new("players_come_in_and_come_back_through_ten_thousand_strangers") else {
        return;
    };
    let pair = Arc::new(pair);
    let networks = Arc::clone(&pair);
    let plays = pair.servers.enter(move || {
        for stance in [
            Stance::Garbage,
            Stance::Park,
            Stance::Knock,
            Stance::Ping,
            Stance::Dribble,
        ] {
            play_besieged(&networks, stance);
        }
    });
    if let Err(panic) = plays.expect("the servers' network").join() {
        std::panic::resume_unwind(panic);
    }
}
