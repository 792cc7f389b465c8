//! A zone whose lease ran out: given back by its tick thread, and taken up again. What it is meanwhile, and whether it may go on, is the
//! suspended zone's to say.

use std::sync::Arc;

use everhold_core::durability::store::{StateStore, StoreError};
use everhold_core::durability::suspended::{SURRENDER_MAX, Surrender, SuspendedZone};
use everhold_core::ownership::Grant;
use everhold_protocol::ZoneName;
use tokio::sync::mpsc;

use super::Start;
use super::adopt::{ANSWER_MAX, AdoptError};
use super::asking::{answer, retry};
use super::tick::TickMessage;

/// What a host had at its end: the World as the tick thread gives it back, and the records of all its ticks.
pub(super) async fn surrendered(
    mut surrender: Surrender,
    mut ticked: mpsc::Receiver<TickMessage>,
) -> Option<SuspendedZone> {
    let surrendered = async {
        while let Some(message) = ticked.recv().await {
            match message {
                TickMessage::Ticked(out) => surrender.handle_record(out.record).ok()?,
                TickMessage::Surrendered(zone) => return Some(surrender.handle_zone(*zone)),
                TickMessage::Roster(_) => {}
                TickMessage::Panicked(..) => return None,
            }
        }
        None
    };
    let Ok(suspended) = tokio::time::timeout(SURRENDER_MAX, surrendered).await else {
        tracing::error!("the tick thread does not give its zone back");
        return None;
    };
    suspended
}

/// Takes a suspended zone up again under `grant`: fences the store, and gives what a host starts with. `Ok(None)`: the store has seen an
/// epoch between the old grant and this one, so the memory is not the newest history; adopt what the store has.
pub async fn reclaim(
    store: &Arc<dyn StateStore>,
    name: &ZoneName,
    grant: Grant,
    memory: SuspendedZone,
) -> Result<Option<Start>, AdoptError> {
    let summary = retry(name, || answer(ANSWER_MAX, store.summary(name))).await;
    if !memory.is_newest(summary)? {
        return Ok(None);
    }
    match retry(name, || answer(ANSWER_MAX, store.fence(name, grant))).await {
        Ok(()) | Err(StoreError::Lost) => {}
        Err(error) => return Err(error.into()),
    }
    let (zone, journal) = memory.reclaimed(grant);
    Ok(Some(Start {
        zone,
        journal,
        chain: Vec::new(),
        // The zone was stepped here to its last tick, and did not fail.
        quarantine: Vec::new(),
    }))
}
