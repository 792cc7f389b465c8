//! Faults as they strike a cluster. Which of them strike when is drawn elsewhere.

use std::time::Duration;

use everhold_core::ownership::DataStamp;
use everhold_protocol::rng::SplitMix64;
use everhold_protocol::{RefusalCode, ZoneName};

use super::{GUARDIAN_WAIT, POISON, SimCluster};
use crate::env::Env;
use crate::event::{ShardInput, SimEvent, SimRequest};
use crate::fault::Fault;
use crate::links::Party;
use crate::services::{CommitFate, RulesRecord};
use crate::setting::draw_below;
use crate::shard::SimShard;
use crate::store::{MemoryStore, StoredKind, StoredPlace};

impl SimCluster {
    pub(super) fn strike(&mut self, fault: Fault) {
        if fault != Fault::Remember {
            self.env.tell(|| format!("FAULT {fault:?}"));
        }
        if let Some(kind) = fault.kind() {
            self.env.took(kind);
        }
        match fault {
            Fault::Kill(place) => self.kill(place),
            Fault::Restart(place) => self.start(place),
            Fault::Stop(place) => {
                let life = self.slots[place].life;
                self.hear(place, life, ShardInput::Stop);
            }
            Fault::Damage => self.damage(MemoryStore::flip_bit),
            Fault::Tear => self.damage(MemoryStore::tear),
            Fault::Forge => self.forge(),
            Fault::EarlyExpiry(place) => self.expire(place),
            Fault::LateExpiry(place, wait) => {
                let nonce = self.slots[place].shard.as_ref().map(SimShard::nonce);
                let until = self.env.now + wait;
                self.env
                    .services
                    .stopped_clocks
                    .extend(nonce.map(|nonce| (nonce, until)));
            }
            Fault::Storm => {
                for player in &mut self.players {
                    player.start_again(&mut self.env, RefusalCode::Superseded);
                }
            }
            Fault::Stall(place, wait) => self.stall(place, wait),
            Fault::Pause(place, wait) => self.pause(place, wait),
            Fault::AuthorityForgets => self.env.services.authority.forget_everything(),
            Fault::Poison(player) => self.players[player].poison = Some(POISON.to_owned()),
            Fault::Wedge(place) => self.wedge(place),
            Fault::Apply => {
                let other = &self.world.other_rules;
                let rules = &mut self.env.services.rules;
                rules.keep(other.stamp(self.world.tick_hz));
                rules.wanted = Some(other.rules_id(self.world.tick_hz));
            }
            other => self.strike_store(other),
        }
    }

    fn strike_store(&mut self, fault: Fault) {
        match fault {
            Fault::PartsRefused(wait) => {
                self.env.services.store.refuse_parts(true);
                self.env.after(wait, SimEvent::Fault(Fault::PartsTaken));
            }
            Fault::PartsTaken => self.env.services.store.refuse_parts(false),
            Fault::Full(wait) => {
                self.env.services.store.set_full(true);
                self.env.after(wait, SimEvent::Fault(Fault::Room));
            }
            Fault::Room => self.env.services.store.set_full(false),
            Fault::StoreForgets => {
                self.env.services.store.forget_everything();
                self.env.services.rules = RulesRecord::default();
                self.env.services.note_rewound();
                self.note_forgetting();
            }
            Fault::StoreRewinds => {
                if let Some(dump) = &self.remembered {
                    self.env.services.store.restore_to(dump);
                    self.env.services.note_rewound();
                    self.note_forgetting();
                }
            }
            Fault::ReplicaAway(wait) => {
                self.env.services.cut_replica_off();
                self.env.after(wait, SimEvent::Fault(Fault::ReplicaBack));
            }
            Fault::ReplicaBack => self.env.services.bring_replica_back(),
            Fault::Promotion => {
                if self.env.services.promote_replica() {
                    self.note_forgetting();
                }
            }
            Fault::Remember => {
                self.remembered = Some(self.env.services.store.dump());
                self.backup = Some(self.env.services.archive.dump());
            }
            Fault::ArchiveRewinds => {
                if let Some(dump) = &self.backup {
                    self.env.services.rewind_archive(Some(dump));
                }
            }
            Fault::ArchiveForgets => self.env.services.rewind_archive(None),
            Fault::CommitsUnheard(wait) => {
                self.env.services.commit_fate = CommitFate::Unheard;
                self.env.after(wait, SimEvent::Fault(Fault::CommitsHeard));
            }
            Fault::CommitsLost(wait) => {
                self.env.services.commit_fate = CommitFate::Lost;
                self.env.after(wait, SimEvent::Fault(Fault::CommitsHeard));
            }
            Fault::CommitsHeard => self.env.services.commit_fate = CommitFate::Answered,
            link => self.strike_link(link),
        }
    }

    fn strike_link(&mut self, fault: Fault) {
        let links = &mut self.env.links;
        match fault {
            Fault::Block(from, to, wait) => {
                links.blocked.insert((from, to));
                self.env.after(wait, SimEvent::Fault(Fault::Unblock(from, to)));
            }
            Fault::Unblock(from, to) => _ = links.blocked.remove(&(from, to)),
            Fault::Down(party, wait) => {
                links.down.insert(party);
                self.env.after(wait, SimEvent::Fault(Fault::Up(party)));
            }
            Fault::Up(party) => _ = links.down.remove(&party),
            Fault::Slow(party, delay, wait) => {
                links.slow.insert(party, delay);
                self.env.after(wait, SimEvent::Fault(Fault::Quick(party)));
            }
            Fault::Quick(party) => _ = links.slow.remove(&party),
            Fault::Refuse(party, wait) => {
                links.refusing.insert(party);
                self.env.after(wait, SimEvent::Fault(Fault::Accept(party)));
            }
            Fault::Accept(party) => _ = links.refusing.remove(&party),
            _ => unreachable!("it strikes no link"),
        }
    }

    /// Notes whether something is in no memory and in no store any more: only then may it be missed.
    pub(super) fn note_forgetting(&mut self) {
        let Self { env, slots, world, .. } = self;
        for zone in world.rules.zones() {
            let shards = slots.iter().filter_map(|slot| slot.shard.as_ref());
            let memories: Vec<DataStamp> = shards.flat_map(|shard| shard.memory_ends(zone)).collect();
            if memories.is_empty() {
                env.services.forget_writers(zone);
            }
            if env.services.told(zone).is_none() {
                if memories.is_empty() {
                    env.services.note_unknown(zone);
                }
            } else if !env.services.is_anywhere(zone, &memories) {
                env.tell(|| format!("what was told of {zone} is nowhere any more"));
                env.took("a loss of what was told");
                env.services.note_nowhere(zone, &memories);
            }
        }
    }

    /// Takes a process away that stopped in good order. It took nothing with it that the store lacks, but what it said
    /// that it had no time to store.
    pub(super) fn leave(&mut self, place: usize) {
        self.env.tell(|| format!("shard {place} has stopped"));
        let Some(shard) = self.slots[place].shard.take() else {
            return;
        };
        let others = self.slots.iter().filter_map(|slot| slot.shard.as_ref());
        let others: Vec<&SimShard> = others.collect();
        for zone in self.world.rules.zones().filter(|zone| shard.remembers(zone)) {
            if !shard.has_given_up(zone) && !others.iter().any(|other| other.remembers(zone)) {
                let how = || format!("shard {place} stopped with {zone} in memory");
                self.env.services.check_kept(zone, how);
            }
        }
        self.note_forgetting();
    }

    fn kill(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        if slot.shard.take().is_none() {
            return;
        }
        self.note_forgetting();
        let slot = &self.slots[place];
        if slot.flags.is_guarded {
            self.env.after(GUARDIAN_WAIT, SimEvent::Guardian(place, slot.life));
        }
    }

    /// Does what the guardian of a dead shard does: it releases what the shard held.
    pub(super) fn guard(&mut self, place: usize, life: u64) {
        let holdings = self.env.services.holdings.get(&place).cloned();
        if self.slots[place].life != life {
            return;
        }
        for tenure in holdings.iter().flat_map(everhold_core::ownership::Holdings::tenures) {
            self.env.request(SimRequest {
                from: (Party::Guardian(place), life),
                to: Party::Authority,
                number: None,
                operation: std::rc::Rc::new(move |services| {
                    let _held = services.authority.release(&tenure);
                    ShardInput::Nothing
                }),
            });
        }
        self.env.after(Duration::from_millis(5), SimEvent::Hint);
    }

    fn pause(&mut self, place: usize, wait: Duration) {
        let slot = &mut self.slots[place];
        slot.paused_until = slot.paused_until.max(self.env.now + wait);
        self.env.after(wait, SimEvent::Wake(place));
    }

    /// Lets a process hear what it missed while it stood still, in order.
    pub(super) fn wake(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        if slot.paused_until <= self.env.now {
            for event in std::mem::take(&mut slot.missed) {
                self.env.after(Duration::ZERO, SimEvent::Shard(place, slot.life, event));
            }
        }
    }

    /// Has the authority end the leases of a shard that lives.
    fn expire(&mut self, place: usize) {
        let shard = self.slots[place].shard.as_ref();
        for tenure in shard.into_iter().flat_map(SimShard::hosted) {
            let _held = self.env.services.authority.release(tenure);
        }
        self.env.after(Duration::from_millis(3), SimEvent::Hint);
    }

    fn stall(&mut self, place: usize, wait: Duration) {
        let until = self.env.now + wait;
        if let Some(shard) = &mut self.slots[place].shard {
            let zone = shard.hosted().next().map(|tenure| tenure.zone.clone());
            zone.iter().for_each(|zone| shard.stall(zone, until));
        }
    }

    /// Damages a record or a checkpoint that the store has of some zone.
    fn damage(&mut self, how: fn(&mut MemoryStore, &ZoneName, StoredPlace, &mut SplitMix64) -> bool) {
        let Env { services, rng, .. } = &mut self.env;
        let zones: Vec<&ZoneName> = self.world.rules.zones().collect();
        let zone = zones[draw_below(zones.len() as u64, rng)];
        let kinds = [StoredKind::Record, StoredKind::Base, StoredKind::Delta];
        let kind = kinds[draw_below(3, rng)];
        let Some(place) = services.store.draw_place(zone, kind, rng) else {
            return;
        };
        let is_needed = services.store.is_needed(zone, place);
        let previous = services.store.places(zone, StoredKind::PreviousChain);
        let is_only_base =
            kind == StoredKind::Base && (is_needed && previous.is_empty() || services.is_damaged_in(zone, &previous));
        // Of a base with neither a whole base nor the journal before it nothing could be read any more.
        if !is_only_base && how(&mut services.store, zone, place, rng) {
            services.note_damaged(zone, place, is_needed);
        }
    }

    /// Forges the newest records of a zone that no shard is about to go on with: of one without an owner, if there is
    /// any. What an owner said of them stays true.
    fn forge(&mut self) {
        let Env { services, rng, .. } = &mut self.env;
        let shards = || self.slots.iter().filter_map(|slot| slot.shard.as_ref());
        let is_hosted = |zone: &ZoneName| shards().any(|shard| shard.hosted().any(|tenure| tenure.zone == *zone));
        let is_free =
            |zone: &&ZoneName| services.store.is_forgeable(zone) && !shards().any(|shard| shard.is_adopting(zone));
        let zones: Vec<&ZoneName> = self.world.rules.zones().filter(is_free).collect();
        let orphans: Vec<&ZoneName> = zones.iter().copied().filter(|zone| !is_hosted(zone)).collect();
        let zones = if orphans.is_empty() { zones } else { orphans };
        if zones.is_empty() {
            return;
        }
        let zone = zones[draw_below(zones.len() as u64, rng)];
        if let Some(forgery) = services.store.forge(zone, rng) {
            services.note_forged(zone, &forgery);
        }
    }

    fn wedge(&mut self, place: usize) {
        if let Some(shard) = &mut self.slots[place].shard {
            let zone = shard.hosted().next().map(|tenure| tenure.zone.clone());
            zone.iter().for_each(|zone| shard.wedge(zone));
            self.note_forgetting();
        }
    }
}
