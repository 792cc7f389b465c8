//! Adoption, in its order: fence, then read, then restore and replay. Whoever reads first can be overtaken by the old owner's next write.

use std::sync::Arc;
use std::time::Duration;

use crate::durability::adoption::{self, Adopted, AdoptionError};
use crate::durability::store::{StateStore, StoreError, ZoneData};
use crate::ownership::Grant;
use crate::zone::ZoneConfig;

/// The store is asked again this often, and this many times, while it does not answer.
const RETRY: Duration = Duration::from_millis(100);
const TRIES_MAX: u32 = 30;

/// Fencing and reading a whole zone takes milliseconds; a store that takes longer than this does not answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Why a zone was not adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The store said no, or nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it has cannot be brought back to life.
    #[error(transparent)]
    Adoption(#[from] AdoptionError),
    /// The replay's thread is gone.
    #[error("the replay did not end: {0}")]
    Replay(#[from] tokio::task::JoinError),
}

/// Takes the zone over under `grant`. The replay runs on a thread of its own: the zones that are hosted already must not feel it.
pub async fn adopt(store: Arc<dyn StateStore>, grant: Grant, config: ZoneConfig) -> Result<Adopted, AdoptError> {
    let data = fence_and_read(store.as_ref(), grant, &config).await?;
    let zone = config.name.clone();
    let adopted: Adopted =
        tokio::task::spawn_blocking(move || adoption::plan(data).and_then(|plan| adoption::adopt(plan, config)))
            .await??;
    if let Some(tick) = adopted.first_divergence {
        // The inputs are the truth, so the replayed state is kept; base and journal stay in the store as evidence.
        tracing::error!(%zone, tick, "the replayed world differs from the one that was recorded: this zone is divergent");
    }
    Ok(adopted)
}

async fn fence_and_read(store: &dyn StateStore, grant: Grant, config: &ZoneConfig) -> Result<ZoneData, StoreError> {
    let mut tries = 0;
    loop {
        let attempt = async {
            store.fence(&config.name, grant).await?;
            store.read_zone(&config.name).await
        };
        let outcome = tokio::time::timeout(ANSWER_MAX, attempt).await;
        let outcome =
            outcome.unwrap_or_else(|_| Err(StoreError::Unavailable(format!("no answer within {ANSWER_MAX:?}"))));
        match outcome {
            Err(StoreError::Unavailable(why)) if tries < TRIES_MAX => {
                tracing::warn!(zone = %config.name, why, "the store does not answer the adopter; it asks again");
                tries += 1;
                tokio::time::sleep(RETRY).await;
            }
            outcome => return outcome,
        }
    }
}
