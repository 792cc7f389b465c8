//! UDP packets through a network with faults. It decides no fault: [`Lane`] does.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::net::sockopt::set_socket_recv_buffer_size;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use super::lane::{Cargo, Lane};
use super::{Direction, FaultyNet};

/// Larger than any packet of QUIC.
const PACKET_BYTES_MAX: usize = 2_048;

/// Packets that are on their way in one direction; beyond it they are lost. So many come in a second, from thousands of
/// players.
const WAITING_MAX: usize = 100_000;

/// Asked for, so that a burst for all players of a shard is not lost before a fault says so; the kernel may give less.
const RECEIVE_BYTES: usize = 4 * 1024 * 1024;

/// Binds a socket on a free port of loopback.
pub(super) fn socket() -> io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    set_socket_recv_buffer_size(&socket, RECEIVE_BYTES)?;
    Ok(socket)
}

/// Packets on their way, by arrival.
struct Waiting {
    packets: BTreeMap<(Instant, u64), (Vec<u8>, SocketAddr)>,
    number: u64,
    lane: Lane,
    direction: Direction,
}

impl Waiting {
    const fn new(lane: Lane, direction: Direction) -> Self {
        Self {
            packets: BTreeMap::new(),
            number: 0,
            lane,
            direction,
        }
    }

    fn take(&mut self, net: &FaultyNet, packet: &[u8], to: SocketAddr) {
        let way = self.direction.way(&net.faults.borrow());
        let at = self.lane.admit(std::time::Instant::now(), packet.len(), &way);
        if let Some(at) = at.filter(|_| self.packets.len() < WAITING_MAX) {
            self.number += 1;
            self.packets.insert((at.into(), self.number), (packet.to_vec(), to));
        }
    }

    fn next_at(&self) -> Option<Instant> {
        self.packets.first_key_value().map(|((at, _), _)| *at)
    }

    /// Returns the next packet that has arrived. A way that is stalled by now loses it.
    fn due(&mut self, net: &FaultyNet) -> Option<(Vec<u8>, SocketAddr)> {
        while self.next_at().is_some_and(|at| at <= Instant::now()) {
            let (_, packet) = self.packets.pop_first()?;
            if !self.direction.way(&net.faults.borrow()).is_stalled {
                return Some(packet);
            }
        }
        None
    }
}

/// Carries packets until the proxy ends: each client's address has a socket at the target's side, and a task for what
/// comes back.
pub(super) async fn run(front: std::net::UdpSocket, net: Arc<FaultyNet>) {
    let front = Arc::new(UdpSocket::from_std(front).expect("a socket that does not block"));
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut waiting = Waiting::new(Lane::new(Cargo::Packets, net.seed, 0), Direction::There);
    let mut buffer = [0; PACKET_BYTES_MAX];
    loop {
        while let Some((packet, client)) = waiting.due(&net) {
            // A packet that cannot be sent is lost, as packets may be.
            let _lost = backs[&client].send_to(&packet, net.target()).await;
        }
        let next_at = waiting.next_at();
        tokio::select! {
            received = front.recv_from(&mut buffer) => {
                let Ok((bytes, client)) = received else { continue };
                if !backs.contains_key(&client) {
                    let Ok(back) = socket().and_then(UdpSocket::from_std) else { continue };
                    let back = Arc::new(back);
                    let lane = Lane::new(Cargo::Packets, net.seed, 1 + backs.len() as u64);
                    tokio::spawn(bring_back(Arc::clone(&back), Arc::clone(&front), client, (Arc::clone(&net), lane)));
                    backs.insert(client, back);
                }
                waiting.take(&net, &buffer[..bytes], client);
            }
            () = sleep_until(next_at.unwrap_or_else(Instant::now)), if next_at.is_some() => {}
        }
    }
}

/// Carries what comes back for one client.
async fn bring_back(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    client: SocketAddr,
    (net, lane): (Arc<FaultyNet>, Lane),
) {
    let mut waiting = Waiting::new(lane, Direction::Back);
    let mut buffer = [0; PACKET_BYTES_MAX];
    loop {
        while let Some((packet, client)) = waiting.due(&net) {
            let _lost = front.send_to(&packet, client).await;
        }
        let next_at = waiting.next_at();
        tokio::select! {
            received = back.recv_from(&mut buffer) => {
                if let Ok((bytes, _)) = received {
                    waiting.take(&net, &buffer[..bytes], client);
                }
            }
            () = sleep_until(next_at.unwrap_or_else(Instant::now)), if next_at.is_some() => {}
        }
    }
}
