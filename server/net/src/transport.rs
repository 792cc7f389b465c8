//! The transport speaks QUIC with players. It verifies who they are and carries their bytes; it knows no zone and no
//! game.
//!
//! Net threads carry the connections, each its own on a socket of its own. The rest of the process leaves in a thread's
//! mailbox what it wants of a connection, and a tick's datagrams in one batch; what players send goes from the thread
//! straight into their zone's inbox.
//!
//! ```text
//!            Hello, Logout, Closed                InboxEntry::Frame
//!  client ──► net thread ──► events (the shard) ──► bind(route) ──► the zone's inbox
//!  client ◄── net thread ◄── mailbox ◄── Conn::send_control, Conn::close
//!                               └◄── DatagramBatch::send, once a tick
//! ```
//!
//! What a peer may fill has a bound in [`everhold_core::limits`], and what a peer did wrong is counted in
//! [`TransportCounters`], logged at `debug`, and told with a [`RefusalCode`]; no other peer notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use everhold_core::ingress::address::AddressLimits;
use everhold_core::ingress::{AttachToken, Login};
use everhold_core::limits::{
    CONTROL_MESSAGES_PER_S, DATAGRAMS_EXTRA_PER_S, DATAGRAMS_PER_TICK, IDLE_MS_MAX, LOGIN_MS_MAX, NET_THREADS,
    PACKETS_PER_S, RATE_EXCESS_S, SOCKET_BUFFER_BYTES,
};
use everhold_protocol::{RefusalCode, SessionId};
use quinn_proto::VarIntBoundsExceeded;
use tokio::sync::mpsc;

use self::net::{NetThreads, OpenSockets};
use self::shared::TransportShared;
use crate::keys::{Keys, KeysError};

mod admission;
mod batch;
mod cid;
mod congestion;
mod conn;
mod counters;
mod half_open;
mod intake;
mod mailbox;
mod net;
#[cfg(feature = "testing")]
mod reference;
mod shared;
mod settings;

pub use admission::AdmissionLimits;
pub use batch::DatagramBatch;
pub use conn::{Conn, Route};
pub use counters::{Counter, Gauge, TransportCounters};

/// Settings of a transport. [`TransportConfig::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Bounds on all connections together.
    pub admission: AdmissionLimits,
    /// Bounds on connections from one address.
    pub address: AddressLimits,
    /// Time from the first packet to a verified `Hello`.
    pub login_deadline: Duration,
    /// Silence after which a connection is gone.
    pub idle_timeout: Duration,
    /// Datagrams per second that a client may send, and as many at once.
    pub datagrams_per_s: u32,
    /// Packets per second that a client may send, and as many at once.
    pub packets_per_s: u32,
    /// Control messages per second that a client may send, and twice as many at once.
    pub control_messages_per_s: u32,
    /// Seconds of excess, at twice the allowed rate, after which a client is closed.
    pub rate_excess_s: u32,
    /// Buffers of a UDP socket, bytes each way.
    pub socket_buffer_bytes: usize,
    /// Threads that carry connections, each with a socket of its own.
    pub net_threads: usize,
}

impl TransportConfig {
    /// Returns the defaults for zones of `tick_hz`: a client may send two datagrams a tick, and ten more a second.
    #[must_use]
    pub fn new(listen: SocketAddr, tick_hz: u16) -> Self {
        Self {
            listen,
            admission: AdmissionLimits::default(),
            address: AddressLimits::default(),
            login_deadline: Duration::from_millis(LOGIN_MS_MAX),
            idle_timeout: Duration::from_millis(IDLE_MS_MAX),
            datagrams_per_s: DATAGRAMS_PER_TICK * u32::from(tick_hz) + DATAGRAMS_EXTRA_PER_S,
            packets_per_s: PACKETS_PER_S.max(8 * u32::from(tick_hz)),
            control_messages_per_s: CONTROL_MESSAGES_PER_S,
            rate_excess_s: RATE_EXCESS_S,
            socket_buffer_bytes: SOCKET_BUFFER_BYTES,
            net_threads: NET_THREADS,
        }
    }
}

/// Error of binding a transport.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address that was asked for.
        listen: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A duration is beyond what QUIC can say.
    #[error("the idle time-out is too long")]
    IdleTimeout(#[from] VarIntBoundsExceeded),
    /// The reference transport was bound outside an asynchronous runtime.
    #[cfg(feature = "testing")]
    #[error("a transport of tasks needs a runtime")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
}

/// An event of a connection. Only connections with a verified `Hello` have events.
#[derive(Debug)]
pub enum ConnEvent {
    /// The peer sent a verified `Hello`. The signature and the time of a ticket are checked, whether it was used is
    /// not.
    Hello {
        /// Handle to answer by.
        conn: Conn,
        /// The log-in that the verified `Hello` asks for.
        login: Login,
    },
    /// The player ends the session. Close the connection when that is done.
    Logout {
        /// The player's connection.
        conn: Conn,
    },
    /// The connection is over. The last event of a connection.
    Closed {
        /// The connection.
        token: AttachToken,
        /// The session that it was bound to.
        session: Option<SessionId>,
    },
}

/// A transport that serves. Dropping it closes every connection at once.
#[derive(Debug)]
pub struct Transport {
    shared: Arc<TransportShared>,
    backend: Backend,
}

/// The carrier of the connections.
#[derive(Debug)]
enum Backend {
    Net(NetThreads),
    #[cfg(feature = "testing")]
    Reference(reference::Reference),
}

/// A transport that has its address and answers no packet yet: what comes meanwhile waits in the sockets' buffers.
#[derive(Debug)]
pub struct BoundTransport {
    shared: Arc<TransportShared>,
    sockets: OpenSockets,
}

impl BoundTransport {
    /// Returns the address that it will listen on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.sockets.local_addr()
    }

    /// Serves connections from now on, on threads of its own.
    pub fn serve(self) -> Result<Transport, TransportError> {
        let backend = Backend::Net(self.sockets.start()?);
        let shared = self.shared;
        Ok(Transport { shared, backend })
    }
}

impl Transport {
    /// Takes the address. Events of connections will come out of `events`; when that is full, each connection waits for
    /// itself.
    pub fn open(
        config: TransportConfig,
        keys: &Keys,
        events: mpsc::Sender<ConnEvent>,
    ) -> Result<BoundTransport, TransportError> {
        settings::warn_of_memory(&config);
        let shared = Arc::new(TransportShared::new(config, keys, events));
        let sockets = OpenSockets::open(&shared, keys)?;
        Ok(BoundTransport { shared, sockets })
    }

    /// Takes the address, as [`Transport::open`] does, and serves connections at once.
    pub fn bind(config: TransportConfig, keys: &Keys, events: mpsc::Sender<ConnEvent>) -> Result<Self, TransportError> {
        Self::open(config, keys, events)?.serve()
    }

    /// Binds the reference transport instead: stock quinn on the current runtime, with two tasks for each connection.
    #[cfg(feature = "testing")]
    pub fn bind_reference(
        config: TransportConfig,
        keys: &Keys,
        events: mpsc::Sender<ConnEvent>,
    ) -> Result<Self, TransportError> {
        settings::warn_of_memory(&config);
        let shared = Arc::new(TransportShared::new(config, keys, events));
        let backend = Backend::Reference(reference::Reference::start(&shared, keys)?);
        Ok(Self { shared, backend })
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        match &self.backend {
            Backend::Net(net) => net.local_addr,
            #[cfg(feature = "testing")]
            Backend::Reference(reference) => reference.local_addr,
        }
    }

    /// Refuses every new connection with `code` from now on; those that are there stay.
    pub fn stop_accepting(&self, code: RefusalCode) {
        self.shared.stop_accepting(code);
    }

    /// Closes every connection with `code` and waits, not for long, until the peers know.
    pub async fn close(mut self, code: RefusalCode) {
        self.stop_accepting(code);
        match &mut self.backend {
            Backend::Net(net) => net.close(code).await,
            #[cfg(feature = "testing")]
            Backend::Reference(reference) => reference.close(code).await,
        }
    }

    /// Returns the transport's counters.
    #[must_use]
    pub fn counters(&self) -> Arc<TransportCounters> {
        Arc::clone(&self.shared.counters)
    }
}
