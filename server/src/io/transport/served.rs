//! What all connections of a transport share: whom it lets in, what it counts, whom it tells. It knows no socket.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ed25519_dalek::VerifyingKey;
use everhold_protocol::RefusalCode;
use tokio::sync::mpsc;

use super::admission::{Admission, Standing};
use super::counters::{GaugeGuard, TransportCounters};
use super::intake::Bench;
use super::{ConnEvent, TransportConfig};
use crate::ingress::address::{AddressVerdict, Addresses};
use crate::io::clock;
use crate::io::keys::Keys;

/// See the module.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) config: TransportConfig,
    pub(super) ticket_key: VerifyingKey,
    pub(super) events: mpsc::Sender<ConnEvent>,
    pub(super) counters: Arc<TransportCounters>,
    addresses: Mutex<Addresses>,
    /// Set when no newcomer is served any more.
    stopping: Mutex<Option<RefusalCode>>,
    /// The origin of this transport's time.
    pub(super) started: Instant,
}

/// What a connection is counted in.
#[derive(Debug)]
pub(super) struct Slots {
    /// Until the connection is over.
    _connection: GaugeGuard,
    /// Until its `Hello` is verified.
    pub(super) half_open: Option<GaugeGuard>,
}

/// What becomes of a connection attempt.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is accepted; with a code only to be told why not.
    Accept(Slots, Option<RefusalCode>),
    /// It must show its address first.
    Retry,
    /// Not a word.
    Refuse,
}

impl Served {
    pub(super) fn new(config: TransportConfig, keys: &Keys, events: mpsc::Sender<ConnEvent>) -> Self {
        Self {
            addresses: Mutex::new(Addresses::new(config.address)),
            config,
            ticket_key: *keys.ticket_verifying_key(),
            events,
            counters: Arc::default(),
            stopping: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// From now on every newcomer is told `code`.
    pub(super) fn stop_accepting(&self, code: RefusalCode) {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
    }

    /// Decides on a connection attempt from `ip`, and counts it.
    pub(super) fn answer(&self, ip: IpAddr, is_validated: bool) -> Answer {
        let counters = &self.counters;
        counters.attempts.bump();
        let standing = Standing {
            connections: counters.connections.now(),
            half_open: counters.half_open.now(),
            validated: is_validated,
            stopping: *self.stopping.lock().unwrap_or_else(PoisonError::into_inner),
        };
        // The whole server's limits first: while they refuse, nobody's allowance is used up.
        let admission = match self.config.admission.admit(standing) {
            Admission::Serve => match self.addresses().judge(ip, is_validated, self.started.elapsed()) {
                AddressVerdict::Take => Admission::Serve,
                AddressVerdict::Validate => Admission::Retry,
                AddressVerdict::Refuse => {
                    counters.attempts_over_rate.bump();
                    return Answer::Refuse;
                }
            },
            other => other,
        };
        let turn_away = match admission {
            Admission::Serve => None,
            Admission::TurnAway(code) => Some(code),
            Admission::Retry => {
                counters.attempts_retried.bump();
                return Answer::Retry;
            }
            Admission::Refuse => {
                counters.attempts_refused.bump();
                return Answer::Refuse;
            }
        };
        // Counted before the handshake begins, so that no burst of attempts can pass the limits together.
        let slots = Slots {
            _connection: GaugeGuard::new(counters, |c| &c.connections),
            half_open: Some(GaugeGuard::new(counters, |c| &c.half_open)),
        };
        Answer::Accept(slots, turn_away)
    }

    /// By what peers are judged at this moment.
    pub(super) fn bench(&self, now: Duration) -> Bench<'_> {
        Bench {
            config: &self.config,
            ticket_key: &self.ticket_key,
            counters: &self.counters,
            now,
            unix_s: clock::unix_s,
        }
    }

    /// Never held over anything that waits.
    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        // Each entry is whole after each change, so a panic while it was held cannot have left half of one.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the connections of an address, until dropped.
#[derive(Debug)]
pub(super) struct AddressPlace {
    served: Arc<Served>,
    ip: IpAddr,
}

impl AddressPlace {
    /// `None`: the address has as many as it may.
    pub(super) fn take(served: &Arc<Served>, ip: IpAddr) -> Option<Self> {
        let served = Arc::clone(served);
        let taken = served.addresses().connect(ip, served.started.elapsed());
        // Made only if taken: dropping one gives a place back.
        taken.then(|| Self { served, ip })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        self.served.addresses().disconnect(self.ip);
    }
}
