//! Adoption, in its order: fence, then read, then restore and replay. Whoever reads first can be overtaken by the old owner's next write.

use std::sync::Arc;
use std::time::Duration;

use everhold_core::durability::replay::{self, ReplayError, Replayed};
use everhold_core::durability::store::{Origin, StateStore, StoreError, ZoneData};
use everhold_core::durability::tries::RETRY;
use everhold_core::ownership::Grant;
use everhold_core::zone::ZoneConfig;
use everhold_protocol::ZoneName;

use super::asking::{answer, retry};

/// Fencing and reading a whole zone takes milliseconds; a store that takes longer than this does not answer.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);

/// So many inputs of one journal may fail in its replay. More are no accident, and no use in skipping.
const POISON_MAX: u32 = 8;

/// Why a zone was not adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The store said no, or nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it has cannot be brought back to life.
    #[error(transparent)]
    Adoption(#[from] ReplayError),
    /// One stored input after the other fails here.
    #[error("the replay fails at {POISON_MAX} inputs, one after the other")]
    PoisonedTooOften,
    /// The replay's thread is gone.
    #[error("the replay did not end")]
    Replay(#[from] tokio::task::JoinError),
}

/// Whether an adopted zone's history was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It was, as far as the store had it; or the zone is new.
    Nothing,
    /// The store has lost it, nobody wrote it anew within the grace, and the zone begins again at tick 0.
    Everything,
}

/// Takes the zone over under `grant`. The replay runs on a thread of its own: the zones that are hosted already must not feel it.
///
/// If the store has lost the zone, it may come back (a disk that is mounted, a backup that is restored); only after `reseed_grace` is the
/// zone begun again. A shard that had the zone in memory needs no such grace here: it claims its own lease before a spare may.
pub async fn adopt(
    store: Arc<dyn StateStore>,
    grant: Grant,
    config: ZoneConfig,
    reseed_grace: Duration,
) -> Result<(Replayed, Lost), AdoptError> {
    let (data, lost) = read_or_begin(store.as_ref(), grant, &config.name, reseed_grace).await?;
    #[cfg(feature = "testing")]
    crate::failpoint::reach(crate::failpoint::Failpoint::Replay, &config.name);
    let zone = config.name.clone();
    let adopted = replay(store.as_ref(), grant, data, config).await?;
    if let Some(tick) = adopted.first_divergence {
        // The inputs are the truth, so the replayed state is kept; base and journal stay in the store as evidence.
        tracing::error!(%zone, tick, "the replayed world differs from the one that was recorded: this zone is divergent");
    }
    Ok((adopted, lost))
}

/// Replays on a thread of its own. A stored input at which the zone fails here, though it did not where it was stepped first (another build
/// did that), is quarantined like one that fails now: it costs that input, not the zone.
async fn replay(
    store: &dyn StateStore,
    grant: Grant,
    mut data: ZoneData,
    config: ZoneConfig,
) -> Result<Replayed, AdoptError> {
    for _ in 0..POISON_MAX {
        let (tried, config, zone) = (data.clone(), config.clone(), config.name.clone());
        let replay = move || {
            #[cfg(feature = "testing")]
            crate::failpoint::stick_at(&config.name);
            replay::plan(tried).and_then(|plan| replay::replay(plan, config))
        };
        match tokio::task::spawn_blocking(replay).await? {
            Err(ReplayError::Poison {
                tick,
                suspect: Some((session, seq)),
                reason,
            }) => {
                tracing::error!(%zone, tick, session = session.0, seq, reason, "the replay fails at this input; it is quarantined");
                let write = || answer(ANSWER_MAX, store.quarantine(&zone, grant, tick, session, seq));
                retry(&zone, write).await?;
                data.quarantine.push((session, seq));
            }
            outcome => return Ok(outcome?),
        }
    }
    Err(AdoptError::PoisonedTooOften)
}

async fn read_or_begin(
    store: &dyn StateStore,
    grant: Grant,
    zone: &ZoneName,
    reseed_grace: Duration,
) -> Result<(ZoneData, Lost), StoreError> {
    let fence_and_read = || {
        answer(ANSWER_MAX, async {
            store.fence(zone, grant).await?;
            store.read_zone(zone).await
        })
    };
    let patience = tokio::time::Instant::now() + reseed_grace;
    let mut told = false;
    loop {
        match retry(zone, fence_and_read).await {
            Ok(data) => return Ok((data, Lost::Nothing)),
            Err(StoreError::Lost) if tokio::time::Instant::now() < patience => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%zone, "the store has lost this zone; it is asked again for a while");
                }
                tokio::time::sleep(RETRY).await;
            }
            Err(StoreError::Lost) => break,
            Err(error) => return Err(error),
        }
    }
    tracing::error!(%zone, epoch = grant.epoch.number(), "the store has lost this zone, and nobody has it in memory: it begins again, all its players' progress is gone");
    let begin = || {
        answer(ANSWER_MAX, async {
            store.create(zone, grant, Origin::Nothing).await?;
            store.read_zone(zone).await
        })
    };
    Ok((retry(zone, begin).await?, Lost::Everything))
}
