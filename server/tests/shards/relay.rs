//! A network between players and a shard: UDP packets go through it both ways, as long as it is up.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// Its threads look so often whether they are to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Larger than any packet of QUIC.
const PACKET_BYTES_MAX: usize = 2_048;

pub(crate) struct Relay {
    /// The address to which players connect.
    pub(crate) addr: SocketAddr,
    net: Arc<Net>,
    front: Option<JoinHandle<()>>,
}

struct Net {
    up: AtomicBool,
    ended: AtomicBool,
    /// The address of the shard.
    target: Mutex<SocketAddr>,
    front: UdpSocket,
}

impl Relay {
    /// A relay to `target` that is up.
    pub(crate) fn to(target: SocketAddr) -> Self {
        let front = socket();
        let addr = front.local_addr().expect("a bound socket");
        let net = Arc::new(Net {
            up: AtomicBool::new(true),
            ended: AtomicBool::new(false),
            target: Mutex::new(target),
            front,
        });
        let shared = Arc::clone(&net);
        let front = Some(spawn(move || shared.forward()));
        Self { addr, net, front }
    }

    /// From now on nothing gets through.
    pub(crate) fn cut(&self) {
        self.net.up.store(false, Ordering::Relaxed);
    }

    /// Packets get through again.
    pub(crate) fn mend(&self) {
        self.net.up.store(true, Ordering::Relaxed);
    }

    /// From now on packets go to `target`, from the addresses from which earlier ones went.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.net.target.lock().expect("no panic") = target;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.net.ended.store(true, Ordering::Relaxed);
        if let Some(front) = self.front.take() {
            front.join().expect("a relay that did not panic");
        }
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    socket.set_read_timeout(Some(LOOK_EVERY)).expect("a read timeout");
    socket
}

impl Net {
    /// From players to the shard: each player's address has a socket of its own there, and a thread for what comes
    /// back.
    fn forward(self: &Arc<Self>) {
        let mut backs: BTreeMap<SocketAddr, (Arc<UdpSocket>, JoinHandle<()>)> = BTreeMap::new();
        self.carry(&self.front, |packet, from| {
            let (back, _) = backs.entry(from).or_insert_with(|| {
                let back = Arc::new(socket());
                let (net, socket) = (Arc::clone(self), Arc::clone(&back));
                let thread = spawn(move || net.carry(&socket, |packet, _| net.front.send_to(packet, from).map(drop)));
                (back, thread)
            });
            let target = *self.target.lock().expect("no panic");
            back.send_to(packet, target).map(drop)
        });
        for (_, thread) in backs.into_values() {
            thread.join().expect("a relay that did not panic");
        }
    }

    /// Hands on what comes until the relay ends. A packet that cannot be sent is lost, as packets may be.
    fn carry(&self, from: &UdpSocket, mut send: impl FnMut(&[u8], SocketAddr) -> io::Result<()>) {
        let mut packet = [0; PACKET_BYTES_MAX];
        while !self.ended.load(Ordering::Relaxed) {
            if let Ok((len, sender)) = from.recv_from(&mut packet)
                && self.up.load(Ordering::Relaxed)
            {
                let _lost = send(&packet[..len], sender);
            }
        }
    }
}
