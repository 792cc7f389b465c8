//! Carries out the operations on a zone's evidence. It decides nothing.

use std::time::Instant;

use everhold_core::durability::evidence::EvidenceAnswer;
use everhold_core::durability::keeping::{KeepCommand, KeepOutcome, Keeping};
use everhold_core::durability::store::{StoreError, ZoneStore};
use everhold_core::ownership::Tenure;

use super::{LeaseGuard, notices};
use crate::deadline::answer;

/// Keeps a piece of evidence, as long as the lease lasts.
pub(super) async fn keep_all(store: &dyn ZoneStore, tenure: &Tenure, guard: &LeaseGuard, mut keeping: Keeping) {
    while keeping.outcome().is_none() && !guard.state().is_over() {
        let Some((command, max)) = keeping.poll(Instant::now()) else {
            let at = keeping.poll_timeout().expect("every operation was answered");
            tokio::time::sleep_until(at.into()).await;
            continue;
        };
        let kept = answer(max, keep(store, tenure, command)).await;
        if let Err(error) = keeping.handle(Instant::now(), kept) {
            notices::log_evidence(&tenure.zone, KeepOutcome::GivenUp(error.to_string()));
            return;
        }
    }
    let outcome = keeping.outcome().cloned();
    let outcome = outcome.unwrap_or_else(|| KeepOutcome::GivenUp("the lease is over".to_owned()));
    notices::log_evidence(&tenure.zone, outcome);
}

pub(super) async fn keep(
    store: &dyn ZoneStore,
    tenure: &Tenure,
    command: KeepCommand,
) -> Result<EvidenceAnswer, StoreError> {
    match command {
        KeepCommand::Put(index, bytes) => store.put_evidence(tenure, index, bytes).await,
        KeepCommand::Seal(mark) => store.seal_evidence(tenure, mark).await,
        KeepCommand::Drop => store.drop_evidence(tenure).await.map(|()| EvidenceAnswer::Kept),
    }
}
