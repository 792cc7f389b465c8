//! The end of what an adopter can read of a zone. Checkpoints and records that are damaged are given up here as in an
//! adoption; which checkpoints are damaged is known, for nothing is replayed.

use everhold_core::durability::plan;
use everhold_core::durability::recovery::{PageRequest, Recovery, RecoveryStep};
use everhold_core::durability::replay::ReplayError;
use everhold_core::durability::store::{Position, ZoneData};
use everhold_core::ownership::DataStamp;
use everhold_protocol::ZoneName;

use crate::store::MemoryStore;

/// Returns the end of the history that an adopter of a zone goes on from. `None`: nothing of the zone can be read, or
/// the store has nothing of it.
pub(super) fn readable_end(
    store: &MemoryStore,
    zone: &ZoneName,
    is_damaged: impl Fn(Position) -> bool,
) -> Option<DataStamp> {
    let outline = store.outline(zone, None).ok()?;
    if outline.chain.is_empty() && outline.journal.is_none() {
        return None;
    }
    let is_broken = |data: &ZoneData| {
        let mut positions = data.chain.iter().map(|checkpoint| checkpoint.head.position);
        positions.find(|position| is_damaged(*position))
    };
    let mut recovery = Recovery::new(outline);
    loop {
        let data = match recovery.poll() {
            RecoveryStep::Read(PageRequest::Parts(parts)) => {
                recovery.handle_parts(store.read_parts(zone, None, &parts).ok()?);
                continue;
            }
            RecoveryStep::Read(PageRequest::Records(from, ticks)) => {
                recovery.handle_records(store.read_records(zone, None, from, ticks).ok()?);
                continue;
            }
            RecoveryStep::Replay(data) => data,
            RecoveryStep::Fail(_) => return None,
        };
        let planned = match is_broken(&data) {
            Some(Position { tick, .. }) => Err(ReplayError::ChainBroken { tick }),
            None => plan(data),
        };
        match planned {
            Ok(plan) => {
                let last = plan.last();
                if recovery.handle_end(last.tick, plan.damage()).ok()?.is_some() {
                    return Some(last.stamp());
                }
            }
            Err(error) => recovery.handle_failed(error).ok()?,
        }
    }
}
