//! State that all connections of a transport share: keys, bounds, counters, and the channel of events. It knows no
//! socket.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ed25519_dalek::VerifyingKey;
use everhold_core::ingress::Refusal;
use everhold_core::ingress::ResumeKeys;
use everhold_core::ingress::address::{AddressVerdict, Addresses};
use everhold_os::clock;
use everhold_protocol::RefusalCode;
use everhold_protocol::limits::{DATAGRAM_BYTES_MAX, DATAGRAM_FRAME_BYTES_MIN};
use tokio::sync::mpsc;

use super::admission::{AttemptDecision, Occupancy};
use super::counters::{GaugeGuard, TransportCounters};
use super::intake::PeerPolicy;
use super::{ConnEvent, TransportConfig};
use crate::keys::Keys;

/// State that all connections of a transport share.
#[derive(Debug)]
pub(super) struct TransportShared {
    pub(super) config: TransportConfig,
    pub(super) ticket_keys: Vec<VerifyingKey>,
    resume_keys: ResumeKeys,
    pub(super) events: mpsc::Sender<ConnEvent>,
    pub(super) counters: Arc<TransportCounters>,
    addresses: Mutex<Addresses>,
    /// The refusal of every newcomer, once the transport takes no more.
    stopping: Mutex<Option<RefusalCode>>,
    /// The origin of this transport's time.
    pub(super) started: Instant,
}

/// The gauges that a connection is counted in.
#[derive(Debug)]
pub(super) struct Slots {
    /// Counts the connection until it is over.
    _connection: GaugeGuard,
    /// Counts it among the half-open ones, later among the proven.
    _stage: GaugeGuard,
    is_proven: bool,
}

impl Slots {
    /// Moves the connection from the half-open ones to the players, when its `Hello` is verified. `false`: there is no
    /// place.
    pub(super) fn prove(&mut self, shared: &TransportShared) -> bool {
        if !self.is_proven {
            let max = shared.config.admission.connections_max;
            let Some(place) = GaugeGuard::below(max, &shared.counters, |c| &c.proven) else {
                return false;
            };
            (self._stage, self.is_proven) = (place, true);
        }
        true
    }
}

/// The answer to a connection attempt.
#[derive(Debug)]
pub(super) enum AttemptAnswer {
    /// Accept it; with a code, only to refuse it in a message that the client can read.
    Accept(Slots, Option<RefusalCode>),
    /// Accept it if another stranger goes for it.
    Replace(Slots),
    /// Have it show its address first.
    Retry,
    /// Refuse it, without a message that the client can read.
    Refuse,
}

impl TransportShared {
    pub(super) fn new(config: TransportConfig, keys: &Keys, events: mpsc::Sender<ConnEvent>) -> Self {
        Self {
            addresses: Mutex::new(Addresses::new(config.address)),
            config,
            ticket_keys: keys.ticket_verifying_keys().to_vec(),
            resume_keys: keys.resume_keys(),
            events,
            counters: Arc::default(),
            stopping: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// Refuses every newcomer with `code` from now on.
    pub(super) fn stop_accepting(&self, code: RefusalCode) {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
    }

    /// Decides on a connection attempt from `ip`, and counts it.
    pub(super) fn answer(&self, ip: IpAddr, is_validated: bool) -> AttemptAnswer {
        let counters = &self.counters;
        counters.attempts.bump();
        let occupancy = Occupancy {
            proven: counters.proven.now(),
            half_open: counters.half_open.now(),
            validated: is_validated,
            stopping: *self.stopping.lock().unwrap_or_else(PoisonError::into_inner),
        };
        // The whole server's limits first: while they refuse, nobody's allowance is used up.
        let admission = match self.config.admission.admit(occupancy) {
            admission @ (AttemptDecision::Serve | AttemptDecision::Replace) => {
                match self.judge_address(ip, is_validated) {
                    AddressVerdict::Take => admission,
                    AddressVerdict::Validate => AttemptDecision::Retry,
                    AddressVerdict::Refuse => {
                        counters.attempts_over_rate.bump();
                        return AttemptAnswer::Refuse;
                    }
                }
            }
            other => other,
        };
        match admission {
            AttemptDecision::Serve => AttemptAnswer::Accept(self.slots(), None),
            AttemptDecision::Replace => AttemptAnswer::Replace(self.slots()),
            AttemptDecision::TurnAway(code) => AttemptAnswer::Accept(self.slots(), Some(code)),
            AttemptDecision::Retry => {
                counters.attempts_retried.bump();
                AttemptAnswer::Retry
            }
            AttemptDecision::Refuse => {
                counters.attempts_refused.bump();
                AttemptAnswer::Refuse
            }
        }
    }

    fn judge_address(&self, ip: IpAddr, is_validated: bool) -> AddressVerdict {
        self.addresses().judge(ip, is_validated, self.started.elapsed())
    }

    /// Counts a connection before the handshake begins, so that no burst of attempts can pass the limits together.
    fn slots(&self) -> Slots {
        Slots {
            _connection: GaugeGuard::new(&self.counters, |c| &c.connections),
            _stage: GaugeGuard::new(&self.counters, |c| &c.half_open),
            is_proven: false,
        }
    }

    /// Returns what peers are judged by at this moment.
    pub(super) fn policy(&self, now: Duration) -> PeerPolicy<'_> {
        PeerPolicy {
            config: &self.config,
            ticket_keys: &self.ticket_keys,
            resume_keys: &self.resume_keys,
            counters: &self.counters,
            now,
            unix_s: clock::unix_s,
        }
    }

    /// Locks the addresses; the guard is never held over anything that waits.
    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        // Each entry is whole after each change, so a panic while it was held cannot have left half of one.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the refusal of a client that takes datagrams of `bytes_max` at most, if those are too small.
pub(super) fn refuse_datagrams(bytes_max: Option<usize>) -> Option<Refusal> {
    if bytes_max.is_some_and(|bytes| bytes >= DATAGRAM_BYTES_MAX) {
        return None;
    }
    let detail = format!("max_datagram_frame_size must be {DATAGRAM_FRAME_BYTES_MIN} or more");
    Some(Refusal::new(RefusalCode::Malformed, detail))
}

/// A place among the connections of an address, held until dropped.
#[derive(Debug)]
pub(super) struct AddressPlace {
    shared: Arc<TransportShared>,
    ip: IpAddr,
}

impl AddressPlace {
    /// Takes a place. `None`: the address has as many as it may.
    pub(super) fn take(shared: &Arc<TransportShared>, ip: IpAddr) -> Option<Self> {
        let shared = Arc::clone(shared);
        let taken = shared.addresses().connect(ip, shared.started.elapsed());
        // Made only if taken: dropping one gives a place back.
        taken.then(|| Self { shared, ip })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        self.shared.addresses().disconnect(self.ip);
    }
}
