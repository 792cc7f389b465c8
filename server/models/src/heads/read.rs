//! An adopter's look at the store: a recovery is driven to its end, as an adoption drives it, and the zone that a
//! replay would restore is a history. It writes nothing.

use everhold_core::durability::recovery::{PageRequest, Recovered, Recovery, RecoveryStep};
use everhold_core::durability::store::{CheckpointHead, CheckpointKind, Position, Rewind, StoreError, ZoneData};
use everhold_core::durability::{ReplayError, plan};
use everhold_core::ownership::Grant;
use everhold_core::zone::RestoreError;
use everhold_protocol::{Tick, ZoneName};
use everhold_sim::store::MemoryStore;

use super::HeadMutant;

/// The history that an adopter would go on from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reading {
    /// The end of the history that it goes on from. `None`: it finds none.
    pub end: Option<Position>,
    /// The ticks that it says are lost.
    pub lost_ticks: u64,
    /// The checkpoints that it gives up.
    pub given_up: u32,
    /// The checkpoints that it restores the zone from.
    pub chain: Vec<CheckpointHead>,
    /// The end that it has the store's history end with.
    pub rewind: Option<(Option<Position>, Tick)>,
    /// The tick of the store's head.
    pub head: Option<Tick>,
}

/// Reads the zone, under the grant of the fence or without one.
pub(super) fn read(
    store: &MemoryStore,
    zone: &ZoneName,
    reader: Option<Grant>,
    mutant: Option<HeadMutant>,
) -> Result<Reading, StoreError> {
    let mut outline = store.outline(zone, reader)?;
    let head = outline.chain.last().map(|head| head.position.tick);
    let mut first = Tick(0);
    if mutant == Some(HeadMutant::TrimmedToNewest)
        && let Some(base) = outline.base_of(outline.chain.len())
    {
        outline.chain.drain(..base);
        first = outline.chain[0].position.tick.next();
        outline.journal = outline.journal.filter(|(_, last)| *last >= first);
        outline.journal = outline.journal.map(|(from, last)| (from.max(first), last));
    }
    if mutant == Some(HeadMutant::EndForgotten)
        && let Some((from, last)) = &mut outline.journal
    {
        let records = store.read_records(zone, reader, *from, 64)?;
        let whole = records.iter().take_while(|record| is_whole(&record.body)).last();
        *last = whole.map_or(*from, |record| record.tick);
    }
    let mut recovery = Recovery::new(outline);
    let mut found = Reading {
        head,
        ..Reading::default()
    };
    loop {
        match recovery.poll() {
            RecoveryStep::Read(PageRequest::Parts(parts)) => {
                recovery.handle_parts(store.read_parts(zone, reader, &parts)?);
            }
            RecoveryStep::Read(PageRequest::Records(from, ticks)) => {
                let mut records = store.read_records(zone, reader, from, ticks)?;
                records.retain(|record| record.tick >= first);
                recovery.handle_records(records);
            }
            RecoveryStep::Replay(data) => match replay(&data) {
                Ok((end, damage)) => match recovery.handle_end(end.tick, damage.as_ref()) {
                    Ok(Some(recovered)) => {
                        found.end = Some(end);
                        found.chain = data.chain.iter().map(|checkpoint| checkpoint.head).collect();
                        found.conclude(recovered);
                        return Ok(found);
                    }
                    Ok(None) => {}
                    Err(_) => return Ok(found),
                },
                Err(error) => {
                    if recovery.handle_failed(error).is_err() {
                        return Ok(found);
                    }
                }
            },
            RecoveryStep::Fail(_) => return Ok(found),
        }
    }
}

impl Reading {
    fn conclude(&mut self, recovered: Recovered) {
        self.lost_ticks = recovered.lost_ticks;
        self.given_up = recovered.given_up;
        self.rewind = recovered.rewind.map(|Rewind { head, last }| (head, last));
    }
}

/// Restores a zone from its checkpoints, and replays the records: as far as they lead, and what is wrong with the next.
fn replay(data: &ZoneData) -> Result<(Position, Option<ReplayError>), ReplayError> {
    // Whether the checkpoints are a chain, a shard's replay says.
    let chain = data.chain.clone();
    plan(ZoneData {
        chain,
        ..ZoneData::default()
    })?;
    let mut state = Vec::new();
    for checkpoint in &data.chain {
        if checkpoint.head.kind == CheckpointKind::Base {
            state.clear();
        }
        state.extend_from_slice(&checkpoint.body[1..]);
    }
    let mut end = data.chain.last().map_or(Position::GENESIS, |last| last.head.position);
    let marks = usize::try_from(end.tick.0).expect("a short history");
    if state != end.hash.0[..marks] {
        return Err(ReplayError::Restore {
            tick: end.tick,
            error: RestoreError::Corrupt,
        });
    }
    for record in &data.records {
        let follows = record.tick == end.tick.next() && record.prev_hash == end.hash;
        if !follows || !is_whole(&record.body) {
            return Ok((end, Some(ReplayError::JournalBroken { tick: end.tick.next() })));
        }
        (end.tick, end.hash) = (record.tick, record.hash);
    }
    Ok((end, None))
}

fn is_whole(body: &[u8]) -> bool {
    body == crate::history::BODY
}
