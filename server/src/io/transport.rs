//! The transport speaks QUIC with players. It verifies who they are and carries their bytes; it knows no zone and no game.
//!
//! One endpoint per process. Each connection has a task that reads (the handshake and `Hello` first, under one deadline, then datagrams
//! and control messages) and one that writes the control stream; snapshots go out on the caller's thread, straight into QUIC.
//!
//! ```text
//!            Hello, Logout, Closed                 InboxEntry::Frame
//!  client ──► reader task ──► events (the shard) ──► bind(route) ──► the zone's inbox
//!  client ◄── writer task ◄── Conn::send_control      client ◄── Conn::send_datagram
//! ```
//!
//! What a peer may fill has a bound in [`crate::limits`], and what a peer did wrong is counted in [`TransportCounters`], logged at
//! `debug`, and told with a [`RefusalCode`]; no other peer notices.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use everhold_protocol::{RefusalCode, SessionId};
use quinn::VarInt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::keys::{Keys, KeysError};
use crate::ingress::address::{AddressLimits, Addresses};
use crate::ingress::{AttachToken, Login};
use crate::limits::{
    CLOSE_MS_MAX, CONTROL_MESSAGES_PER_S, IDLE_MS_MAX, LOGIN_MS_MAX, RATE_EXCESS_S, SOCKET_BUFFER_BYTES,
};

mod accept;
mod admission;
mod conn;
mod counters;
mod endpoint;
mod reader;
mod writer;

pub use admission::AdmissionLimits;
pub use conn::{Conn, Route};
pub use counters::{Counter, Gauge, TransportCounters};

/// How a transport is set up. [`TransportConfig::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many connections.
    pub admission: AdmissionLimits,
    /// How many of them from one address.
    pub address: AddressLimits,
    /// First packet to verified `Hello`.
    pub login_deadline: Duration,
    /// Silence after which a connection is gone.
    pub idle_timeout: Duration,
    /// Datagrams per second that a client may send, and as many at once.
    pub datagrams_per_s: u32,
    /// Control messages per second that a client may send, and twice as many at once.
    pub control_messages_per_s: u32,
    /// Seconds of excess, at twice the allowed rate, after which a client is closed.
    pub rate_excess_s: u32,
    /// Buffers of the UDP socket, bytes each way.
    pub socket_buffer_bytes: usize,
}

impl TransportConfig {
    /// The defaults, for zones of `tick_hz`: a client may send two datagrams a tick, and ten more a second.
    #[must_use]
    pub fn new(listen: SocketAddr, tick_hz: u16) -> Self {
        Self {
            listen,
            admission: AdmissionLimits::default(),
            address: AddressLimits::default(),
            login_deadline: Duration::from_millis(LOGIN_MS_MAX),
            idle_timeout: Duration::from_millis(IDLE_MS_MAX),
            datagrams_per_s: 2 * u32::from(tick_hz) + 10,
            control_messages_per_s: CONTROL_MESSAGES_PER_S,
            rate_excess_s: RATE_EXCESS_S,
            socket_buffer_bytes: SOCKET_BUFFER_BYTES,
        }
    }
}

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// Which address.
        listen: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A duration is beyond what QUIC can say.
    #[error("the idle time-out is too long: {0}")]
    IdleTimeout(#[from] quinn::VarIntBoundsExceeded),
    /// Called outside an asynchronous runtime.
    #[error("a transport needs a runtime: {0}")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
}

/// What happens to connections. A connection that never said a good `Hello` is not heard of.
#[derive(Debug)]
pub enum ConnEvent {
    /// Somebody showed who it is. The signature and the time of a ticket are checked, whether it was used is not.
    Hello {
        /// How to answer.
        conn: Conn,
        /// Who.
        login: Login,
    },
    /// The player ends the session. Close the connection when that is done.
    Logout {
        /// Whose.
        conn: Conn,
    },
    /// The connection is over, whoever ended it. The last event of a connection.
    Closed {
        /// Which.
        token: AttachToken,
        /// The session that it was bound to.
        session: Option<SessionId>,
    },
}

/// A bound endpoint with its accept loop. Dropping it closes every connection at once.
#[derive(Debug)]
pub struct Transport {
    endpoint: quinn::Endpoint,
    local_addr: SocketAddr,
    stopping: Arc<Mutex<Option<RefusalCode>>>,
    counters: Arc<TransportCounters>,
    accept_task: JoinHandle<()>,
}

impl Transport {
    /// Listens, and serves connections on the current runtime. What they say comes out of `events`; when that is full, each connection
    /// waits for itself.
    pub fn bind(config: TransportConfig, keys: &Keys, events: mpsc::Sender<ConnEvent>) -> Result<Self, TransportError> {
        let runtime = tokio::runtime::Handle::try_current()?;
        let (endpoint, local_addr) = endpoint::open(&config, keys)?;
        let counters = Arc::new(TransportCounters::default());
        let stopping = Arc::new(Mutex::new(None));
        let served = reader::Served {
            addresses: Mutex::new(Addresses::new(config.address)),
            config,
            ticket_key: *keys.ticket_verifying_key(),
            events,
            counters: counters.clone(),
            started: tokio::time::Instant::now(),
        };
        let accept_task = runtime.spawn(accept::accept(endpoint.clone(), Arc::new(served), stopping.clone()));
        Ok(Self {
            endpoint,
            local_addr,
            stopping,
            counters,
            accept_task,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// From now on every newcomer is told `code`; those who are here stay.
    pub fn stop_accepting(&self, code: RefusalCode) {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
    }

    /// Closes every connection with `code` and waits, not for long, until the peers know.
    pub async fn close(self, code: RefusalCode) {
        self.stop_accepting(code);
        self.endpoint.close(VarInt::from_u32(code.code()), b"");
        let idle = tokio::time::timeout(Duration::from_millis(CLOSE_MS_MAX), self.endpoint.wait_idle()).await;
        if idle.is_err() {
            tracing::debug!("some peers have not acknowledged that the transport is closed");
        }
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> Arc<TransportCounters> {
        self.counters.clone()
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.accept_task.abort();
        self.endpoint.close(VarInt::from_u32(RefusalCode::Stopping.code()), b"");
    }
}
