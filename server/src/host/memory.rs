//! A suspended zone in memory, and its way back. It acts for nobody meanwhile: no tick, no write, no byte.
//!
//! The lease ran out (the authority did not answer, or the process was stopped), which does not mean that anybody took the zone. If the
//! authority grants it to this process anew, the zone goes on under the higher epoch where it stood: the records that the store may not
//! have are in the journal's ring and are sent again, and a base under the new epoch follows at once. So a store that was away, or that
//! came back empty, costs a pause and nothing else; from the store alone an `async` zone would lose its unstored ticks.

use std::sync::Arc;
use std::time::Duration;

use everhold_core::durability::journal::Journal;
use everhold_core::durability::store::{StateStore, StoreError};
use everhold_core::ownership::Grant;
use everhold_core::zone::Zone;
use everhold_protocol::ZoneName;
use tokio::sync::mpsc;

use super::Start;
use super::adopt::{ANSWER_MAX, AdoptError, answer, retry};
use super::tick::TickMessage;

/// A tick thread that does not give its zone back within this time is wedged: a tick takes milliseconds.
const SURRENDER_MAX: Duration = Duration::from_secs(1);

/// A zone as it stood when its lease ran out.
pub struct Memory {
    zone: Zone,
    journal: Journal,
}

/// What a host had at its end: the World as the tick thread gives it back, and the records of all its ticks.
pub(super) async fn surrendered(mut journal: Journal, mut ticked: mpsc::Receiver<TickMessage>) -> Option<Memory> {
    let surrender = async {
        while let Some(message) = ticked.recv().await {
            match message {
                TickMessage::Ticked(out) => journal.push(out.record).ok()?,
                TickMessage::Surrendered(zone) => return Some(*zone),
                TickMessage::Roster(_) => {}
                TickMessage::Panicked(..) => return None,
            }
        }
        None
    };
    let Ok(zone) = tokio::time::timeout(SURRENDER_MAX, surrender).await else {
        tracing::error!("the tick thread does not give its zone back");
        return None;
    };
    let mut zone = zone?;
    // Nobody will confirm a capture that was under way.
    zone.capture_failed();
    Some(Memory { zone, journal })
}

/// Takes a suspended zone up again under `grant`: fences the store, and gives what a host starts with. `Ok(None)`: the store has seen an
/// epoch between the old grant and this one, so the memory is not the newest history; adopt what the store has.
pub async fn reclaim(
    store: &Arc<dyn StateStore>,
    name: &ZoneName,
    grant: Grant,
    memory: Memory,
) -> Result<Option<Start>, AdoptError> {
    let Memory { zone, journal } = memory;
    let fence = retry(name, || answer(ANSWER_MAX, store.summary(name))).await;
    let newest = match fence {
        Ok(summary) => summary.is_none_or(|summary| summary.fence_epoch <= journal.epoch()),
        // Memory is all there is: the host has the data set made anew at its first append.
        Err(StoreError::Lost) => true,
        Err(error) => return Err(error.into()),
    };
    if !newest {
        return Ok(None);
    }
    match retry(name, || answer(ANSWER_MAX, store.fence(name, grant))).await {
        Ok(()) | Err(StoreError::Lost) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Some(Start {
        zone,
        journal: journal.reclaimed(grant.epoch.number()),
        chain: Vec::new(),
        // The zone was stepped here to its last tick, and did not fail.
        quarantine: Vec::new(),
    }))
}
