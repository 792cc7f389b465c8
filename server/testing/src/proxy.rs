//! A network with faults between processes of a test: TCP connections or UDP packets go through it both ways, late,
//! slowly, one way only, or not at all. It reads nothing of what it carries and changes no byte.
//!
//! ```text
//!   client ──► addr() ── there: delay, jitter, loss, rate, stall ──► target
//!   client ◄────────── back:  the same, on its own ───────────────── target
//! ```
//!
//! What is wrong is said at any time by [`Proxy::set`], and holds for what comes from then on; a stall also holds what
//! is on its way. What is drawn (jitter, losses) is drawn from the seed of the proxy.

mod datagrams;
mod lane;
mod streams;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

/// The state of a network in one direction. By default nothing is wrong with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Everything is late by this.
    pub delay: Duration,
    /// And by up to this, drawn anew for each packet. Packets overtake each other by it; bytes of a connection do not.
    pub jitter: Duration,
    /// Packets of a thousand that are lost. A connection loses no byte.
    pub loss_per_mille: u16,
    /// Bytes that get through in a second; `None`: all. Packets that would wait for over a second are lost.
    pub bytes_per_s: Option<u32>,
    /// Whether nothing gets through: a connection's bytes wait until it does again, packets are lost.
    pub is_stalled: bool,
}

/// The fate of connections that are new, and of no packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// They reach the target.
    #[default]
    Open,
    /// They are accepted, and nothing is read or answered. They are reset when that changes.
    HalfOpen,
    /// They are reset at once.
    Shut,
}

/// The faults of a network. By default it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The direction to the target.
    pub there: Way,
    /// The direction from the target.
    pub back: Way,
    /// New connections.
    pub door: Door,
}

impl Faults {
    /// Nothing gets through either way, as if a cable was pulled out.
    pub const CUT: Self = Self {
        there: Way::STALLED,
        back: Way::STALLED,
        door: Door::Open,
    };

    /// Returns faults that are the same both ways.
    #[must_use]
    pub const fn both(way: Way) -> Self {
        Self {
            there: way,
            back: way,
            door: Door::Open,
        }
    }
}

impl Way {
    /// Nothing gets through.
    pub const STALLED: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss_per_mille: 0,
        bytes_per_s: None,
        is_stalled: true,
    };
}

/// A direction through a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    There,
    Back,
}

impl Direction {
    const fn way(self, faults: &Faults) -> Way {
        match self {
            Self::There => faults.there,
            Self::Back => faults.back,
        }
    }
}

/// State that a proxy and its tasks share.
#[derive(Debug)]
struct FaultyNet {
    target: Mutex<SocketAddr>,
    faults: watch::Sender<Faults>,
    /// The number of times that all connections were reset.
    resets: watch::Sender<u64>,
    seed: u64,
}

impl FaultyNet {
    fn target(&self) -> SocketAddr {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A network with faults. It ends with this value, and every connection through it.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    net: Arc<FaultyNet>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a network to a TCP server.
    ///
    /// # Panics
    /// If no port can be had.
    #[must_use]
    pub fn tcp(target: SocketAddr, seed: u64) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        listener.set_nonblocking(true).expect("a socket");
        let addr = listener.local_addr().expect("a bound socket");
        Self::start(addr, target, seed, |net| streams::run(listener, net))
    }

    /// Starts a network to a UDP server. Each address of a client has one of its own there.
    ///
    /// # Panics
    /// If no port can be had.
    #[must_use]
    pub fn udp(target: SocketAddr, seed: u64) -> Self {
        let front = datagrams::socket().expect("a loopback port");
        let addr = front.local_addr().expect("a bound socket");
        Self::start(addr, target, seed, |net| datagrams::run(front, net))
    }

    fn start<F, R>(addr: SocketAddr, target: SocketAddr, seed: u64, run: R) -> Self
    where
        R: FnOnce(Arc<FaultyNet>) -> F + Send + 'static,
        F: Future<Output = ()>,
    {
        let net = Arc::new(FaultyNet {
            target: Mutex::new(target),
            faults: watch::Sender::new(Faults::default()),
            resets: watch::Sender::new(0),
            seed,
        });
        let (end, ended) = oneshot::channel::<()>();
        let shared = Arc::clone(&net);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                tokio::select! {
                    () = run(shared) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            addr,
            net,
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// Returns the address for clients.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on the network leads to `target`: packets do, and connections that are new.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.net.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// From now on these faults are there, and no others.
    pub fn set(&self, faults: Faults) {
        self.net.faults.send_replace(faults);
    }

    /// From now on nothing is wrong.
    pub fn heal(&self) {
        self.set(Faults::default());
    }

    /// Resets all connections that there are.
    pub fn reset(&self) {
        self.net.resets.send_modify(|resets| *resets += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has shown so already.
            let _panicked = thread.join();
        }
    }
}
