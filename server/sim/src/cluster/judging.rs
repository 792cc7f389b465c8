//! The checks of a cluster that has been whole for a while: every zone is served, every player plays, nothing of value
//! was lost or made, and nothing has grown. The checks of every single moment stand where something happens.

use std::collections::BTreeSet;

use everhold_core::durability::evidence::EvidenceMark;
use everhold_core::durability::history::{EvidenceNote, HistoryFrame, HistoryReader};
use everhold_protocol::ZoneName;

use super::SimCluster;
use crate::player::SimPlayer;
use crate::shard::SimShard;
use crate::store::MemoryStore;

/// The gold that every player begins with; the items are one each.
const START_GOLD: u64 = 100;
/// Records of a zone in the store at most: those since the base before the newest, a base being due every 100 ticks,
/// and as many while the newest is written.
const RECORDS_MAX: usize = 300;
/// Checkpoints of a zone in the store at most: two bases, each with the deltas of 100 ticks, one every 20.
const CHECKPOINTS_MAX: usize = 16;
/// Parts at most of the one checkpoint of a zone that is under way.
const LEFTOVER_PARTS_MAX: usize = 4;

impl SimCluster {
    /// Checks what must hold 15 leases after the last fault.
    pub(super) fn check_liveness(&mut self) {
        self.check_zones();
        self.check_players();
        self.check_value();
        self.check_growth();
        self.check_evidence();
        self.check_archive();
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = &SimShard> {
        self.slots.iter().filter_map(|slot| slot.shard.as_ref())
    }

    /// Whether some living shard can run a zone.
    fn is_any_able(&self, zone: &ZoneName) -> bool {
        let rules = self.env.services.stored_rules(zone);
        self.shards()
            .any(|shard| shard.is_able(&self.env.services, zone, rules))
    }

    /// Every zone that some shard can run has an owner.
    fn check_zones(&mut self) {
        let served: BTreeSet<_> = self
            .shards()
            .flat_map(SimShard::hosted)
            .map(|tenure| &tenure.zone)
            .collect();
        let zones = self.world.rules.zones();
        let orphans: Vec<_> = zones
            .filter(|zone| !served.contains(zone) && self.is_any_able(zone))
            .collect();
        for zone in orphans {
            let detail = format!("{zone}, 15 leases after the last fault");
            self.env.services.breach("every zone has an owner", detail);
        }
    }

    fn check_players(&mut self) {
        let now = self.env.now;
        for (place, player) in self.players.iter().enumerate() {
            let heard = player
                .heard_at
                .is_some_and(|at| now.saturating_sub(at) < 3 * self.setting.longest_ttl());
            if (!player.is_attached() || !heard) && self.is_any_able(player.zone()) {
                let detail = format!("player {place}, 15 leases after the last fault");
                self.env.services.breach("every player plays", detail);
            }
        }
    }

    fn check_value(&mut self) {
        let are_all_able = self.world.rules.zones().all(|zone| self.is_any_able(zone));
        let services = &mut self.env.services;
        if !services.breaches.is_empty() || !are_all_able {
            return;
        }
        let players = self.players.len();
        let gold: u64 = self.players.iter().map(SimPlayer::gold).sum();
        let all = START_GOLD * players as u64;
        if gold != all {
            services.breach("gold is conserved", format!("{gold} of {all}"));
        }
        let items: Vec<_> = self.players.iter().flat_map(SimPlayer::items).collect();
        let different: BTreeSet<_> = items.iter().map(|item| item.uid).collect();
        if (items.len(), different.len()) != (players, players) {
            let detail = format!("{} of {players}, {} different ones", items.len(), different.len());
            services.breach("items are conserved", detail);
        }
    }

    /// Checks that evidence is whole, and tells what its mark says, or that there is none.
    fn check_evidence(&mut self) {
        let services = &mut self.env.services;
        for (zone, usage) in services.store.usage().zones {
            let what = match services.store.evidence(&zone) {
                None if usage.unsealed_parts == 0 => None,
                None => Some(format!("{} parts are not sealed", usage.unsealed_parts)),
                Some(kept) => read_evidence(&services.store, &zone, kept.mark).err(),
            };
            if let Some(what) = what {
                services.breach("evidence is whole, or absent", format!("{zone}: {what}"));
            }
        }
    }

    /// Checks that neither store nor authority nor memory has more than a healthy cluster needs.
    fn check_growth(&mut self) {
        let memories: usize = self.shards().map(SimShard::memories).sum();
        let (store, authority) = (self.env.services.store.usage(), self.env.services.authority.usage());
        let mut grown = Vec::new();
        for (zone, usage) in &store.zones {
            let is_large = usage.records > RECORDS_MAX
                || usage.checkpoints > CHECKPOINTS_MAX
                || usage.leftover_parts > LEFTOVER_PARTS_MAX
                || usage.quarantine > 0;
            grown.extend(is_large.then(|| format!("{zone}: {usage:?}")));
        }
        let zones = self.world.rules.zones().count();
        let is_large = store.homes > self.players.len()
            || authority.leases > zones
            || authority.shards > self.slots.len()
            || memories > 0;
        if is_large {
            let homes = store.homes;
            grown.push(format!("{homes} homes, {memories} suspended zones, {authority:?}"));
        }
        for detail in grown {
            self.env.services.breach("store and memory are bounded", detail);
        }
    }
}

/// Reads sealed evidence to its end.
///
/// # Errors
/// It cannot be read, or is not of its mark.
fn read_evidence(store: &MemoryStore, zone: &ZoneName, mark: EvidenceMark) -> Result<(), String> {
    let (mut reader, mut note) = (HistoryReader::default(), None);
    for index in 0..mark.parts {
        let part = store.read_evidence(zone, index);
        reader.push(&part.ok_or_else(|| format!("part {index} is not there"))?);
        while let Some(frame) = reader.poll().map_err(|error| error.to_string())? {
            if let HistoryFrame::Header(header) = frame {
                note = header.evidence;
            }
        }
    }
    reader.finish().map_err(|error| error.to_string())?;
    let EvidenceMark { epoch, tick, why, .. } = mark;
    let is_its = note == Some(EvidenceNote { epoch, tick, why });
    is_its.then_some(()).ok_or_else(|| format!("{mark:?} has {note:?}"))
}
