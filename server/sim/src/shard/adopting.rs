//! Adoption in a simulated shard: each command of the [`Adoption`] becomes one operation at the store.

use std::sync::Arc;
use std::time::Duration;

use everhold_core::durability::adoption::{
    ANSWER_MAX, AdoptError, Adoption, AdoptionCommand, FromMemory, History, Start,
};
use everhold_core::durability::keeping::KeepCommand;
use everhold_core::durability::store::{Origin, Position, StoreError, ZoneData, ZoneOutline};
use everhold_core::durability::suspended::SuspendedZone;
use everhold_core::durability::{plan, replay};
use everhold_core::ownership::holder::command::GrantedLease;
use everhold_core::ownership::{AdoptionFailure, DataStamp, Remains, RulesId, Tenure};
use everhold_core::zone::ZoneConfig;
use everhold_protocol::ZoneName;

use super::evidence::note_outcome;
use super::{Kind, Order, SimShard};
use crate::env::Env;
use crate::event::{ShardInput, StoreAnswer};
use crate::mutant::Mutant;
use crate::services::Services;
use crate::store::MemoryStore;

/// Fences the store, and reads the outline of a zone; a mutant does not fence.
fn fence_and_read(services: &mut Services, tenure: &Tenure) -> Result<ZoneOutline, StoreError> {
    if services.mutant == Some(Mutant::ReadBeforeFence) {
        return services.store.outline(&tenure.zone, None);
    }
    services.decide(tenure, |store| store.fence(tenure))?;
    services.note_fenced(&tenure.zone);
    services.store.outline(&tenure.zone, Some(tenure.grant))
}

/// Makes the data set of a lost zone anew, and reads its outline.
fn begin_anew(services: &mut Services, tenure: &Tenure) -> Result<ZoneOutline, StoreError> {
    services.decide(tenure, |store| store.create(tenure, Origin::Nothing))?;
    services.store.outline(&tenure.zone, Some(tenure.grant))
}

/// Round trips to the store between a mutant's first read and its fence: as many as the pages of a zone of some size.
const EARLY_READS: u32 = 12;

/// The remains of evidence that was not written in time are cleared away within this.
const CLEARING_MAX: Duration = Duration::from_secs(2);

/// The adoption of one zone.
pub(super) struct Adopting {
    granted: GrantedLease,
    adoption: Adoption,
    /// Reads before the fence, of a mutant.
    early_reads: u32,
    /// The moment at which it began to keep evidence.
    keeps_since: Option<Duration>,
    /// The end of the memory that it threw away.
    dropped: Option<DataStamp>,
}

impl SimShard {
    pub(super) fn begin_adoption(&mut self, env: &mut Env, granted: GrantedLease) {
        let tenure = granted.tenure.clone();
        let place = self.place;
        env.tell(|| format!("shard {place} is granted {} epoch {}", tenure.zone, tenure.epoch()));
        env.services.forget_mended(&tenure.zone);
        let memory = self.memories.get(&tenure.zone).map(SuspendedZone::last);
        let grace = granted.reseed_grace;
        let adoption =
            Adoption::new(env.instant(), tenure.grant, grace, memory, granted.steps.clone()).promised(granted.promised);
        let adoption = match self.stamp {
            Some(rules) => adoption.under(rules),
            None => adoption,
        };
        self.adopting.insert(
            tenure.zone.clone(),
            Adopting {
                granted,
                adoption,
                early_reads: 0,
                keeps_since: None,
                dropped: None,
            },
        );
        self.look_after_adoption(env, &tenure);
    }

    /// Looks at the lease of an adoption, also while an answer is awaited.
    pub(super) fn look_after_adoption(&mut self, env: &mut Env, tenure: &Tenure) {
        self.drive_adoption(env, tenure);
        if self
            .adopting
            .get(&tenure.zone)
            .is_some_and(|adopting| adopting.granted.tenure == *tenure)
        {
            self.schedule(env, Adoption::LOOK_EVERY, ShardInput::AdoptionLook(tenure.clone()));
        }
    }

    /// Lets an adoption do what is due.
    pub(super) fn drive_adoption(&mut self, env: &mut Env, tenure: &Tenure) {
        loop {
            let adopting = self.adopting.get_mut(&tenure.zone);
            let Some(adopting) = adopting.filter(|adopting| adopting.granted.tenure == *tenure) else {
                return;
            };
            let now = env.instant();
            let state = adopting.granted.lease.ask(env.now, |lease| lease.state());
            let Some(command) = adopting.adoption.poll_command(now, state) else {
                if let Some(at) = adopting.adoption.poll_timeout() {
                    let wait = at.saturating_duration_since(now).max(Duration::from_millis(1));
                    self.schedule(env, wait, ShardInput::Adoption(tenure.clone()));
                }
                return;
            };
            if !self.carry_out_adoption(env, tenure, command) {
                return;
            }
        }
    }

    /// Returns whether the adoption may be asked for its next command at once.
    fn carry_out_adoption(&mut self, env: &mut Env, tenure: &Tenure, command: AdoptionCommand) -> bool {
        let whose = tenure.clone();
        self.check_lease(env, tenure, &command);
        match command {
            AdoptionCommand::Summarize => self.ask_store(env, (tenure, Kind::Summary), ANSWER_MAX, move |services| {
                StoreAnswer::Summary(Ok(services.store.summary(&whose.zone)))
            }),
            AdoptionCommand::Fence => self.ask_store(env, (tenure, Kind::Fence), ANSWER_MAX, move |services| {
                StoreAnswer::Done(services.decide(&whose, |store| store.fence(&whose)))
            }),
            AdoptionCommand::FenceAndRead => self.ask_store(env, (tenure, Kind::Read), ANSWER_MAX, move |services| {
                StoreAnswer::Read(fence_and_read(services, &whose))
            }),
            AdoptionCommand::BeginAnew => self.ask_store(env, (tenure, Kind::Read), ANSWER_MAX, move |services| {
                StoreAnswer::Read(begin_anew(services, &whose))
            }),
            AdoptionCommand::ReadParts(parts) => {
                self.ask_store(env, (tenure, Kind::Parts), ANSWER_MAX, move |services| {
                    StoreAnswer::Parts(services.store.read_parts(&whose.zone, Some(whose.grant), &parts))
                });
            }
            AdoptionCommand::ReadRecords(from, ticks) => {
                self.ask_store(env, (tenure, Kind::Records), ANSWER_MAX, move |services| {
                    let records = services.store.read_records(&whose.zone, Some(whose.grant), from, ticks);
                    StoreAnswer::Records(records)
                });
            }
            AdoptionCommand::FenceArchive | AdoptionCommand::ReadBlobPart(..) => {
                unreachable!("a simulated adoption asks no archive")
            }
            AdoptionCommand::ReadWanted => self.ask_for_rules(env, tenure, None),
            AdoptionCommand::ReadKept(id) => self.ask_for_rules(env, tenure, Some(id)),
            AdoptionCommand::Keep(keep, max) => self.keep_divergent(env, tenure, (keep, max)),
            AdoptionCommand::Rewind(to) => {
                self.ask_store(env, (tenure, Kind::Rewind), ANSWER_MAX, move |services| {
                    StoreAnswer::Done(services.write(&whose, |store| store.rewind(&whose, to)))
                });
            }
            AdoptionCommand::Quarantine(tick, session, seq) => {
                self.ask_store(env, (tenure, Kind::Quarantine), ANSWER_MAX, move |services| {
                    let quarantine = |store: &mut MemoryStore| store.quarantine(&whose, tick, session, seq);
                    StoreAnswer::Done(services.decide(&whose, quarantine))
                });
            }
            AdoptionCommand::Replay(data) => {
                self.replay(env, tenure, data);
                return true;
            }
            AdoptionCommand::Log(_) => return true,
            AdoptionCommand::DropMemory => {
                self.drop_superseded(env, &tenure.zone);
                return true;
            }
            AdoptionCommand::Start(start, history) => self.conclude_adoption(env, tenure, *start, history),
            AdoptionCommand::StartFromMemory(from) => self.start_from_memory(env, tenure, from),
            AdoptionCommand::Fail(error) => self.give_up_adoption(env, tenure, &error),
        }
        false
    }

    fn give_up_adoption(&mut self, env: &mut Env, tenure: &Tenure, error: &AdoptError) {
        let place = self.place;
        env.tell(|| format!("shard {place} does not adopt {}: {error}", tenure.zone));
        self.fail_adoption(env, tenure, error.failure());
    }

    /// Asks which rules are wanted, and for the kept file of these.
    fn ask_for_rules(&mut self, env: &mut Env, tenure: &Tenure, kept: Option<RulesId>) {
        let kind = if kept.is_some() { Kind::KeptFile } else { Kind::Wanted };
        self.ask_store(env, (tenure, kind), ANSWER_MAX, move |services| match kept {
            Some(id) => StoreAnswer::KeptFile(Ok(services.rules.kept_file(id))),
            None => StoreAnswer::Wanted(Ok(services.rules.wanted)),
        });
    }

    fn start_from_memory(&mut self, env: &mut Env, tenure: &Tenure, from: FromMemory) {
        let memory = self.memories.remove(&tenure.zone);
        let start = Start::from_memory(memory.expect("it stays until it is hosted"), from, tenure.grant);
        self.conclude_adoption(env, tenure, start, History::Memory(from));
    }

    fn replay(&mut self, env: &Env, tenure: &Tenure, data: ZoneData) {
        let (own, kept) = (self.zone_config(&tenure.zone), self.kept_config(&tenure.zone));
        if let Some(adopting) = self.adopting.get_mut(&tenure.zone) {
            let steps = adopting.adoption.steps();
            let config = if adopting.adoption.runs_kept_rules() { kept } else { own };
            let mut outcome = plan(data).and_then(|plan| replay(plan.counted_by(steps), config));
            if let Ok(replayed) = &mut outcome
                && env.services.mutant == Some(Mutant::DivergenceUnseen)
            {
                (replayed.digest_equal, replayed.first_divergence) = (true, None);
            }
            adopting.adoption.handle_replayed(outcome);
        }
    }

    pub(super) fn handle_adoption_stored(&mut self, env: &mut Env, tenure: &Tenure, kind: Kind, answer: StoreAnswer) {
        let now = env.instant();
        let adopting = self.adopting.get_mut(&tenure.zone);
        let Some(adopting) = adopting.filter(|adopting| adopting.granted.tenure == *tenure) else {
            return;
        };
        if let StoreAnswer::Read(Ok(outline)) = &answer
            && env.services.mutant == Some(Mutant::ReadBeforeFence)
            && adopting.early_reads < EARLY_READS
        {
            adopting.early_reads += 1;
            let fences = adopting.early_reads == EARLY_READS;
            return self.read_early(env, tenure, outline.clone(), fences);
        }
        match (kind, answer) {
            (Kind::Summary, StoreAnswer::Summary(answer)) => adopting.adoption.handle_summary(now, answer),
            (Kind::Fence, StoreAnswer::Done(answer)) => adopting.adoption.handle_fenced(now, answer),
            (Kind::Read, StoreAnswer::Read(answer)) => adopting.adoption.handle_read(now, answer),
            (Kind::Parts, StoreAnswer::Parts(answer)) => adopting.adoption.handle_parts(now, answer),
            (Kind::Records, StoreAnswer::Records(answer)) => adopting.adoption.handle_records(now, answer),
            (Kind::Rewind, StoreAnswer::Done(answer)) => adopting.adoption.handle_rewound(now, answer),
            (Kind::Wanted, StoreAnswer::Wanted(answer)) => adopting.adoption.handle_wanted(now, answer),
            (Kind::KeptFile, StoreAnswer::KeptFile(answer)) => adopting.adoption.handle_kept_file(now, answer),
            (Kind::Evidence, StoreAnswer::Kept(answer)) => adopting.adoption.handle_kept(now, answer),
            (Kind::Quarantine, StoreAnswer::Done(answer)) => adopting.adoption.handle_quarantined(now, answer),
            _ => unreachable!("an answer is of the kind that was asked"),
        }
        self.drive_adoption(env, tenure);
    }

    /// Asks the store something more, as a mutant, after the outline of a zone was read; in the end, it fences it.
    fn read_early(&mut self, env: &mut Env, tenure: &Tenure, mut outline: ZoneOutline, fences: bool) {
        let whose = tenure.clone();
        outline.fence = (tenure.epoch(), tenure.grant.nonce());
        self.ask_store(env, (tenure, Kind::Read), ANSWER_MAX, move |services| {
            let fenced = if fences {
                services.decide(&whose, |store| store.fence(&whose))
            } else {
                Ok(())
            };
            StoreAnswer::Read(fenced.map(|()| outline.clone()))
        });
    }

    fn conclude_adoption(&mut self, env: &mut Env, tenure: &Tenure, start: Start, history: History) {
        if self.has_stopped_zones && !history.is_sealed_by_stop() {
            self.fail_adoption(env, tenure, AdoptionFailure::Stopping);
            return;
        }
        self.check_keeping(env, tenure);
        let adopting = self.adopting.remove(&tenure.zone).expect("it is being adopted");
        let last = start.journal.last();
        if let Some(memory) = adopting.dropped {
            env.services.check_replaced(tenure, memory, last);
        }
        self.check_adoption(env, tenure, last, &history);
        env.services.check_end(&tenure.zone, last);
        env.services
            .note_adopted(tenure, last, matches!(history, History::Memory(_)));
        env.services.forget_mended(&tenure.zone);
        if self.has_stopped_zones {
            env.took("a suspended zone that was sealed by a stop");
        }
        self.host(env, adopting.granted, start);
    }

    /// Ends an adoption without a host. What it has in memory is suspended as before.
    fn fail_adoption(&mut self, env: &mut Env, tenure: &Tenure, failure: AdoptionFailure) {
        env.took("an adoption that failed");
        if failure == AdoptionFailure::Unfit {
            env.took("an adoption that failed: other rules");
        }
        self.check_keeping(env, tenure);
        self.adopting.remove(&tenure.zone);
        let remains = match self.memories.get(&tenure.zone) {
            Some(memory) => {
                env.took("a memory that outlived its adoption");
                let acknowledged = memory.acknowledged();
                Remains::Memory { acknowledged }
            }
            None => Remains::Nothing,
        };
        self.orders
            .push_back(Order::AdoptionFailed(tenure.clone(), failure, remains));
        self.drive_holder(env);
    }

    /// Drops the memory of a zone of which the store has newer data.
    fn drop_superseded(&mut self, env: &mut Env, zone: &ZoneName) {
        if let Some(memory) = self.memories.remove(zone) {
            self.check_dropped(env, zone);
            env.services.check_succeeded(zone, memory.last());
            if let Some(adopting) = self.adopting.get_mut(zone) {
                adopting.dropped = Some(memory.last());
            }
        }
    }

    /// Checks that an adoption writes under a lease that lasts.
    fn check_lease(&self, env: &mut Env, tenure: &Tenure, command: &AdoptionCommand) {
        let is_write = matches!(
            command,
            AdoptionCommand::Fence
                | AdoptionCommand::FenceAndRead
                | AdoptionCommand::BeginAnew
                | AdoptionCommand::Quarantine(..)
                | AdoptionCommand::Keep(..)
                | AdoptionCommand::Rewind(_)
        );
        let lease = &self.adopting[&tenure.zone].granted.lease;
        if is_write && !lease.with(|lease| lease.may_act(env.now)) {
            let detail = format!("{} epoch {}, in an adoption", tenure.zone, tenure.epoch());
            env.services
                .breach("nothing is written under a lease that is over", detail);
        }
    }

    /// Begins an operation on the evidence of a divergent zone.
    fn keep_divergent(&mut self, env: &mut Env, tenure: &Tenure, keep: (KeepCommand, Duration)) {
        if let Some(adopting) = self.adopting.get_mut(&tenure.zone) {
            adopting.keeps_since.get_or_insert(env.now);
        }
        self.keep_evidence(env, (tenure, Kind::Evidence), keep);
    }

    /// Checks that evidence held an adoption up for a ttl at most, and for what it takes to clear up after it.
    fn check_keeping(&self, env: &mut Env, tenure: &Tenure) {
        let adopting = &self.adopting[&tenure.zone];
        let held = adopting.keeps_since.map(|since| env.now - since);
        if let Some(held) = held.filter(|held| *held > self.ttl + CLEARING_MAX) {
            let detail = format!("{} epoch {}: {held:?}", tenure.zone, tenure.epoch());
            env.services.breach("evidence holds up no zone for long", detail);
        }
    }

    /// Checks what an adopted zone goes on from.
    fn check_adoption(&self, env: &mut Env, tenure: &Tenure, last: Position, history: &History) {
        let (place, zone) = (self.place, &tenure.zone);
        env.tell(|| {
            let (epoch, tick) = (tenure.epoch(), last.tick);
            format!("shard {place} adopts {zone} epoch {epoch} after tick {tick}: {history:?}")
        });
        match history {
            History::Archived(_) => unreachable!("a simulated world has no archive"),
            History::Memory(_) => env.took("a zone that went on from memory"),
            History::Stored { is_lost: true, .. } => env.took("a zone that began again"),
            History::Stored {
                checkpoints_given_up: 1..,
                ..
            } => env.took("a zone whose newest checkpoint was damaged"),
            History::Stored { .. } => env.took("a zone that was replayed"),
        }
        if let History::Stored {
            digest_equal, evidence, ..
        } = history
        {
            env.services.check_digests(tenure, last.tick, *digest_equal);
            if !digest_equal {
                env.took("a divergent zone");
            }
            evidence.iter().for_each(|outcome| note_outcome(env, zone, *outcome));
        }
        if let History::Stored {
            is_lost: false,
            rewound_ticks: 1..,
            ..
        }
        | History::Memory(FromMemory::OverDamage { .. }) = history
        {
            check_loss(env, tenure, last, history);
        }
        if env.services.note_cut_off(tenure, last) {
            env.tell(|| format!("only shards that are cut off have what was told of {zone}"));
        }
        env.services.check_told(tenure, last);
    }

    /// Returns the configuration of a zone under the rules that this shard does not have.
    fn kept_config(&self, zone: &ZoneName) -> ZoneConfig {
        let books = [&self.world.rules, &self.world.other_rules];
        let others = books.into_iter().find(|book| !Arc::ptr_eq(book, &self.rules));
        ZoneConfig {
            game: Arc::clone(others.expect("there are two")) as Arc<_>,
            ..self.zone_config(zone)
        }
    }

    pub(super) fn zone_config(&self, zone: &ZoneName) -> ZoneConfig {
        ZoneConfig {
            name: zone.clone(),
            seed: 1,
            tick_hz: self.world.tick_hz,
            game: Arc::clone(&self.rules) as Arc<_>,
        }
    }
}

/// Checks that a zone lost ticks only where the store was damaged, or went back. What was told of damaged ones may be
/// missed from then on; what the store forgot may not, if a shard has it in memory.
fn check_loss(env: &mut Env, tenure: &Tenure, last: Position, history: &History) {
    let zone = &tenure.zone;
    if env.services.is_end_damaged(zone, last.tick) {
        env.took("a zone whose journal was damaged");
        env.services.note_damaged_end(zone, last);
    } else if env.services.has_gone_back(zone) {
        env.took("a zone of which the store had lost some");
    } else {
        let detail = format!("{zone} epoch {}: {history:?}", tenure.epoch());
        env.services.breach("only what is damaged is lost", detail);
    }
}
