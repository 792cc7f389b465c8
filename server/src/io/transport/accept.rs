//! The accept loop: admits connection attempts, and starts a task for each that is served.

use std::sync::{Arc, Mutex, PoisonError};

use everhold_protocol::RefusalCode;
use quinn::{Endpoint, Incoming};

use super::admission::{Admission, Standing};
use super::counters::GaugeGuard;
use super::reader::{self, Served};
use crate::ingress::address::AddressVerdict;

/// What a connection is counted in.
#[derive(Debug)]
pub(super) struct Slots {
    /// Until the connection is over.
    pub(super) connection: GaugeGuard,
    /// Until its `Hello` is verified.
    pub(super) half_open: GaugeGuard,
}

/// Runs until the endpoint is closed.
pub(super) async fn accept(endpoint: Endpoint, served: Arc<Served>, stopping: Arc<Mutex<Option<RefusalCode>>>) {
    while let Some(incoming) = endpoint.accept().await {
        let stopping = *stopping.lock().unwrap_or_else(PoisonError::into_inner);
        admit(incoming, &served, stopping);
    }
}

fn admit(incoming: Incoming, served: &Arc<Served>, stopping: Option<RefusalCode>) {
    let counters = &served.counters;
    counters.attempts.bump();
    let standing = Standing {
        connections: counters.connections.now(),
        half_open: counters.half_open.now(),
        validated: incoming.remote_address_validated(),
        stopping,
    };
    let ip = incoming.remote_address().ip();
    let is_validated = standing.validated;
    // The whole server's limits first: while they refuse, nobody's allowance is used up.
    let admission = match served.config.admission.admit(standing) {
        Admission::Serve => {
            let now = served.started.elapsed();
            match served.addresses().judge(ip, is_validated, now) {
                AddressVerdict::Take => Admission::Serve,
                AddressVerdict::Validate => Admission::Retry,
                AddressVerdict::Refuse => {
                    counters.attempts_over_rate.bump();
                    return incoming.refuse();
                }
            }
        }
        other => other,
    };
    let turn_away = match admission {
        Admission::Serve => None,
        Admission::TurnAway(code) => Some(code),
        Admission::Retry => {
            counters.attempts_retried.bump();
            // It can fail only for an address that is validated, and then nobody asked for a retry.
            if let Err(e) = incoming.retry() {
                e.into_incoming().refuse();
            }
            return;
        }
        Admission::Refuse => {
            counters.attempts_refused.bump();
            return incoming.refuse();
        }
    };
    // Counted before the handshake begins, so that no burst of attempts can pass the limits together.
    let slots = Slots {
        connection: GaugeGuard::new(counters, |c| &c.connections),
        half_open: GaugeGuard::new(counters, |c| &c.half_open),
    };
    match incoming.accept() {
        Ok(connecting) => {
            tokio::spawn(reader::serve(connecting, served.clone(), slots, turn_away));
        }
        Err(e) => {
            counters.handshakes_failed.bump();
            tracing::debug!(error = %e, "a connection attempt cannot be accepted");
        }
    }
}
