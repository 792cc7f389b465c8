//! The accept loop: starts a task for each connection attempt that is accepted.

use std::sync::Arc;

use quinn::{Endpoint, Incoming};

use super::reader;
use crate::transport::shared::{AttemptAnswer, TransportShared};

/// Runs until the endpoint is closed.
pub(super) async fn accept(endpoint: Endpoint, shared: Arc<TransportShared>) {
    while let Some(incoming) = endpoint.accept().await {
        admit(incoming, &shared);
    }
}

fn admit(incoming: Incoming, shared: &Arc<TransportShared>) {
    let ip = incoming.remote_address().ip();
    match shared.answer(ip, incoming.remote_address_validated()) {
        AttemptAnswer::Refuse => incoming.refuse(),
        // Its tasks do not give way to each other.
        AttemptAnswer::Replace(slots) => {
            drop(slots);
            shared.counters.attempts_refused.bump();
            incoming.refuse();
        }
        AttemptAnswer::Retry => {
            // It can fail only for an address that is validated, and then nobody asked for a retry.
            if let Err(e) = incoming.retry() {
                e.into_incoming().refuse();
            }
        }
        AttemptAnswer::Accept(slots, turn_away) => match incoming.accept() {
            Ok(connecting) => {
                tokio::spawn(reader::serve(connecting, Arc::clone(shared), slots, turn_away));
            }
            Err(e) => {
                shared.counters.handshakes_failed.bump();
                tracing::debug!(error = %e, "a connection attempt cannot be accepted");
            }
        },
    }
}
