//! A flood for tests: garbage, and handshakes that never finish, at one UDP port of this host.
//!
//! It is bounded in rate and in time, ends when it is dropped, and sends nothing to an address that is not loopback.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use everhold_protocol::rng::SplitMix64;
use quinn_proto::{ClientConfig, Endpoint, EndpointConfig};

/// Longest flood, also if a test does not end it.
const FLOOD_MAX: Duration = Duration::from_secs(60);
/// Sockets, so that one source port is not all there is.
const SOCKETS: usize = 16;
/// Pause between two bursts.
const BURST_EVERY: Duration = Duration::from_millis(2);
/// A burst is what is due after so long at most: a flooder that the machine has held up does not make up for it with a
/// larger one.
const BURST_MAX: Duration = Duration::from_millis(50);
/// Bytes of a garbage datagram: like a small packet of QUIC.
const GARBAGE_BYTES: usize = 200;

/// Rates of a flood, per second.
#[derive(Clone, Copy, Debug)]
pub struct FloodRates {
    /// Datagrams of random bytes.
    pub garbage_per_s: u32,
    /// Valid first packets of handshakes that do not go on.
    pub half_open_per_s: u32,
}

/// A flood under way.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Begins a flood.
    ///
    /// # Panics
    /// If `target` is not on this host, or there is no socket.
    #[must_use]
    pub fn start(target: SocketAddr, rates: FloodRates, client: ClientConfig) -> Self {
        assert!(
            target.ip().is_loopback(),
            "a flood is for this host alone, not for {target}"
        );
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&sent));
        let sockets: Vec<UdpSocket> = (0..SOCKETS)
            .map(|_| UdpSocket::bind(("127.0.0.1", 0)).expect("a UDP port"))
            .collect();
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut source = Source::new(client, target);
            let mut last = begun;
            // Packets that are due, and parts of one.
            let (mut garbage, mut half_open) = (0.0, 0.0);
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) && begun.elapsed() < FLOOD_MAX {
                let since = last.elapsed().min(BURST_MAX).as_secs_f64();
                last = Instant::now();
                garbage += since * f64::from(rates.garbage_per_s);
                half_open += since * f64::from(rates.half_open_per_s);
                while garbage >= 1.0 {
                    source.send_garbage(&sockets[count as usize % SOCKETS]);
                    (garbage, count) = (garbage - 1.0, count + 1);
                }
                while half_open >= 1.0 {
                    source.send_half_open(&sockets[count as usize % SOCKETS]);
                    (half_open, count) = (half_open - 1.0, count + 1);
                }
                counted.store(count, Ordering::Relaxed);
                std::thread::sleep(BURST_EVERY);
            }
        });
        Self {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    /// Returns the number of packets so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A flooder that panicked has shown so already.
            let _panicked = thread.join();
        }
    }
}

struct Source {
    endpoint: Endpoint,
    client: ClientConfig,
    target: SocketAddr,
    random: SplitMix64,
}

impl Source {
    fn new(client: ClientConfig, target: SocketAddr) -> Self {
        Self {
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None),
            client,
            target,
            random: SplitMix64::new(1),
        }
    }

    fn send_garbage(&mut self, socket: &UdpSocket) {
        let mut bytes = [0; GARBAGE_BYTES];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.random.draw().to_le_bytes()[..chunk.len()]);
        }
        // A full socket drops it, as a network would.
        let _dropped = socket.send_to(&bytes, self.target);
    }

    fn send_half_open(&mut self, socket: &UdpSocket) {
        let now = Instant::now();
        let connecting = self.endpoint.connect(now, self.client.clone(), self.target, "everhold");
        let (_handle, mut connection) = connecting.expect("a handshake can begin");
        let mut first = Vec::with_capacity(1_500);
        if let Some(transmit) = connection.poll_transmit(now, 1, &mut first) {
            let _dropped = socket.send_to(&first[..transmit.size], self.target);
        }
    }
}
