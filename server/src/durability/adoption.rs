//! Temporary.
use super::record::Record;
use super::store::{Position, ZoneData};
use crate::zone::{Zone, ZoneConfig};
use everhold_protocol::Tick;
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
/// x
pub struct AdoptionError(String);
/// x
pub struct AdoptionPlan(ZoneData);
/// x
pub struct Adopted { pub zone: Zone, pub last: Position, pub replayed_ticks: u64, pub digest_equal: bool, pub first_divergence: Option<Tick>, pub checked_digests: u64 }
/// x
pub fn plan(data: ZoneData) -> Result<AdoptionPlan, AdoptionError> { Ok(AdoptionPlan(data)) }
/// x
pub fn adopt(plan: AdoptionPlan, config: ZoneConfig) -> Result<Adopted, AdoptionError> {
    let chain: Vec<&[u8]> = plan.0.chain.iter().map(|c| c.body.as_ref()).collect();
    let mut last = plan.0.chain.last().map_or(Position::GENESIS, |c| c.head.position);
    let mut zone = if chain.is_empty() { Zone::new(config) } else { Zone::restore(config, &chain).map_err(|e| AdoptionError(e.to_string()))? };
    let (mut n, mut checked, mut div) = (0, 0, None);
    for r in &plan.0.records {
        let rec = Record::decode(r).map_err(|e| AdoptionError(e.to_string()))?;
        if let Some(d) = rec.digest_before { checked += 1; if zone.digest() != d && div.is_none() { div = Some(rec.tick); } }
        zone.step(&rec.inputs);
        last = Position { epoch: rec.epoch, tick: rec.tick, hash: r.hash };
        n += 1;
    }
    Ok(Adopted { zone, last, replayed_ticks: n, digest_equal: div.is_none(), first_divergence: div, checked_digests: checked })
}
