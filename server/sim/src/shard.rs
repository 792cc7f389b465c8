//! A simulated shard process: the real machines of a shard, driven by events of the agenda. It decides nothing that a
//! shard's drivers do not decide.

mod adopting;
mod archiving;
mod ending;
mod evidence;
mod keeping;
mod piping;
mod routing;
mod zone;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use everhold_core::cluster::routing::AccountReply;
use everhold_core::cluster::{Directory, Routing, RoutingConfig};
use everhold_core::durability::gate::Durability;
use everhold_core::durability::store::{AppendAnswer, StoreError};
use everhold_core::durability::suspended::SuspendedZone;
use everhold_core::game::RuleBook;
use everhold_core::ingress::{AttachToken, ResumeKeys};
use everhold_core::limits::LOGIN_ROUND_MS;
use everhold_core::ownership::contender::ContenderConfig;
use everhold_core::ownership::holder::command::Request as HolderRequest;
use everhold_core::ownership::{
    AdoptionFailure, DataStamp, EndReason, Holder, HolderConfig, KeyFingerprints, LeaseConfig, Nonce, Remains,
    RulesStamp, RulesTag, Tenure,
};
use everhold_protocol::{Account, Tick, ZoneName};

use self::adopting::Adopting;
pub(crate) use self::archiving::COMMIT_ANSWER_MAX;
use self::archiving::Questions;
use self::ending::Ending;
use self::evidence::ForkedZone;
use self::routing::SimLocal;
use crate::env::Env;
use crate::event::{ShardInput, SimEvent, SimRequest, StoreAnswer};
use crate::links::{Party, address};
use crate::mutant::Mutant;
use crate::setting::Flags;

/// The settings that all shards of a world share.
pub struct SimWorld {
    /// The rules.
    pub rules: Arc<RuleBook>,
    /// The rules of shards that can run nothing of what those ran.
    pub other_rules: Arc<RuleBook>,
    /// Whether the store has the rules on record that the world is to run.
    pub has_record: bool,
    /// The ttl of a shard's leases, if it has none of its own.
    pub ttl: Duration,
    /// Ticks per second.
    pub tick_hz: u16,
    /// The key that tickets are signed with.
    pub ticket_key: VerifyingKey,
    /// The key of resume secrets.
    pub resume_key: [u8; 32],
    /// Ticks between deltas, and at most between bases.
    pub checkpoint_ticks: (u64, u64),
    /// The level of durability of every zone.
    pub durability: Durability,
    /// Ticks between two commits to the archive, if there is one.
    pub archive_interval: Option<u64>,
}

/// The kind of an operation under way at the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Summary,
    Fence,
    Read,
    Parts,
    Records,
    Quarantine,
    Rewind,
    Wanted,
    KeptFile,
    Evidence,
    Forked,
    Blame,
    Append,
    Write,
    Create,
    Home(Account),
    Rest(Account),
}

/// An order of the shard to its holder, which hears it when it is at rest.
enum Order {
    Hosted(Tenure),
    Ended(Tenure, EndReason, Remains),
    AdoptionFailed(Tenure, AdoptionFailure, Remains),
    Close,
    Stop,
}

/// A shard process in one of its lives.
pub struct SimShard {
    place: usize,
    pub(crate) life: u64,
    nonce: Nonce,
    addr: SocketAddr,
    world: Arc<SimWorld>,
    rules: Arc<RuleBook>,
    tag: RulesTag,
    /// Its rules, if the world has its rules on record.
    stamp: Option<RulesStamp>,
    ttl: Duration,
    holder: Holder,
    orders: VecDeque<Order>,
    asked: BTreeMap<u64, HolderRequest>,
    /// The moment at which the authority last answered in time.
    authority_heard_at: Duration,
    turn_at: Option<Duration>,
    is_hinted: bool,
    /// Whether the zones were stopped: none is hosted any more but from memory.
    has_stopped_zones: bool,
    /// The zones that a stop did not have stored in time.
    given_up: BTreeSet<ZoneName>,
    routing: Routing,
    local: SimLocal,
    peers: Vec<SocketAddr>,
    resume_keys: ResumeKeys,
    adopting: BTreeMap<ZoneName, Adopting>,
    /// Zones of which a tick does not end here: this process leaves them to others, in the end for long.
    wedged: BTreeSet<ZoneName>,
    /// Suspended zones.
    memories: BTreeMap<ZoneName, SuspendedZone>,
    ending: BTreeMap<ZoneName, Ending>,
    forked: BTreeMap<ZoneName, ForkedZone>,
    /// Operations under way at the store, by number.
    operations: BTreeMap<u64, (Tenure, Kind)>,
    /// Operations under way at the archive.
    questions: Questions,
    /// Questions about the home of a connection's account, by number.
    homes: BTreeMap<u64, AttachToken>,
    next_number: u64,
    next_token: u64,
    /// The zones that a mutant claims never again.
    left_for_ever: BTreeSet<ZoneName>,
    /// All appends, by number, if a mutant takes the late answers of some for those of others.
    appends: BTreeMap<u64, Tenure>,
}

fn routing_config(world: &SimWorld) -> RoutingConfig {
    RoutingConfig {
        tick_hz: world.tick_hz,
        players_max: 1_000,
        has_archive: world.archive_interval.is_some(),
    }
}

impl SimShard {
    /// Starts a process: it declares the zones that it prefers, enters the directory, and begins to contend.
    pub fn start(env: &mut Env, place: usize, life: u64, flags: &Flags, world: &Arc<SimWorld>) -> Self {
        let nonce = Nonce(env.rng.draw() >> 1);
        let addr = address(place);
        let (rules, stamp) = rules_at_start(env, life, flags, world);
        let tag = RulesTag::new(&rules.rules_id(world.tick_hz));
        let ttl = flags.ttl.unwrap_or(world.ttl);
        let lease = LeaseConfig::new(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX), world.tick_hz);
        let contender = ContenderConfig::new(ttl, flags.room, tag, flags.preferred.clone(), nonce.0);
        let holder = Holder::new(HolderConfig {
            me: nonce,
            keys: KeyFingerprints::default(),
            lease,
            contender,
            rules: stamp,
            zones: world.rules.zones().cloned().collect(),
            reseed_grace: lease.reseed_grace(),
        });
        let directory = Directory::new(nonce, ttl, world.rules.zones().cloned());
        let shard = Self {
            place,
            life,
            nonce,
            addr,
            rules: Arc::clone(rules),
            tag,
            stamp,
            ttl,
            holder,
            orders: VecDeque::new(),
            asked: BTreeMap::new(),
            authority_heard_at: env.now,
            turn_at: None,
            is_hinted: false,
            has_stopped_zones: false,
            given_up: BTreeSet::new(),
            routing: Routing::new(routing_config(world), directory),
            local: SimLocal::default(),
            peers: Vec::new(),
            resume_keys: ResumeKeys::new(world.resume_key, Vec::new()),
            adopting: BTreeMap::new(),
            wedged: BTreeSet::new(),
            memories: BTreeMap::new(),
            ending: BTreeMap::new(),
            forked: BTreeMap::new(),
            operations: BTreeMap::new(),
            questions: Questions::default(),
            homes: BTreeMap::new(),
            next_number: 0,
            next_token: life << 32,
            left_for_ever: BTreeSet::new(),
            appends: BTreeMap::new(),
            world: Arc::clone(world),
        };
        env.tell(|| format!("shard {place} starts, life {life}"));
        shard.declare(env, flags);
        shard.schedule(env, Duration::from_millis(5), ShardInput::Turn);
        shard.schedule(env, Duration::from_millis(LOGIN_ROUND_MS), ShardInput::Round);
        shard
    }

    fn declare(&self, env: &mut Env, flags: &Flags) {
        for zone in flags.preferred.clone() {
            self.request(env, (Party::Authority, None), move |services| {
                let _known = services.authority.declare_zone(&zone);
                ShardInput::Nothing
            });
        }
    }

    /// Hears an event.
    pub fn handle(&mut self, env: &mut Env, event: ShardInput) {
        match event {
            ShardInput::Turn => self.drive_holder(env),
            ShardInput::Hint => {
                self.is_hinted = true;
                self.drive_holder(env);
            }
            ShardInput::Answered(number, answer) => self.handle_answered(env, number, answer),
            ShardInput::Expired(number) => self.handle_expired(env, number),
            ShardInput::Stored(number, answer) => self.handle_stored(env, number, answer),
            ShardInput::Adoption(tenure) => self.drive_adoption(env, &tenure),
            ShardInput::AdoptionLook(tenure) => self.look_after_adoption(env, &tenure),
            ShardInput::Inquiry(tenure) => self.drive_inquiry(env, &tenure),
            ShardInput::Evidence(tenure) => self.drive_evidence(env, &tenure),
            ShardInput::Tick(tenure) => self.tick(env, &tenure),
            ShardInput::Pulse(tenure) => self.pulse(env, &tenure),
            ShardInput::Archived(number, answer) => self.handle_archived(env, number, answer),
            ShardInput::Captured(tenure, capture, facts) => self.handle_captured(env, &tenure, (*capture, facts)),
            ShardInput::Round => self.round(env),
            ShardInput::AskAccount(conn, account, query) => self.ask_account(env, (conn, account), query),
            ShardInput::Account(number, reply) => self.handle_account(env, number, reply),
            ShardInput::Packet(player, conn, packet) => self.handle_packet(env, (player, conn), packet),
            ShardInput::Gone(token) => self.handle_gone(env, token),
            ShardInput::NotSurrendered(tenure, reason) => self.tell_end(env, &tenure, reason, Remains::Nothing),
            ShardInput::Stop => self.stop(env),
            ShardInput::Nothing => {}
        }
    }

    /// Returns the zones that it hosts and that tick.
    pub fn hosted(&self) -> impl Iterator<Item = &Tenure> {
        self.local.zones.values().map(|zone| &zone.tenure)
    }

    /// Returns the last tick of each zone that it hosts, and since when it does.
    pub fn ticks(&self) -> impl Iterator<Item = (&ZoneName, Tick, Duration)> {
        let zones = self.local.zones.iter();
        zones.map(|(zone, hosted)| (zone, hosted.tick(), hosted.since))
    }

    /// Returns the process's nonce.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Returns the number of suspended zones.
    #[must_use]
    pub fn memories(&self) -> usize {
        self.memories.len()
    }

    /// Whether this process has the zone in memory and can go on from there.
    #[must_use]
    pub fn remembers(&self, zone: &ZoneName) -> bool {
        let hosted = self.local.zones.get(zone).is_some_and(|hosted| !hosted.is_wedged());
        hosted || self.memories.contains_key(zone)
    }

    /// Whether the authority has answered nothing in time for half a lease: in the rest of one it may not be able to
    /// claim what it has in memory.
    #[must_use]
    pub fn is_cut_off(&self, now: Duration) -> bool {
        now.saturating_sub(self.authority_heard_at) >= self.ttl / 2
    }

    /// Whether this process is about to go on with any zone.
    #[must_use]
    pub fn is_adopting_any(&self) -> bool {
        !self.adopting.is_empty()
    }

    /// Whether this process is about to go on with the zone.
    #[must_use]
    pub fn is_adopting(&self, zone: &ZoneName) -> bool {
        self.adopting.contains_key(zone)
    }

    /// Returns where the histories end that this process has of a zone in memory and can go on from.
    pub fn memory_ends(&self, zone: &ZoneName) -> impl Iterator<Item = DataStamp> + use<> {
        let hosted = self.local.zones.get(zone).filter(|hosted| !hosted.is_wedged());
        let hosted = hosted.map(|hosted| DataStamp {
            epoch: hosted.tenure.epoch(),
            tick: hosted.tick(),
        });
        let suspended = self.memories.get(zone).map(SuspendedZone::last);
        hosted.into_iter().chain(suspended)
    }

    /// Whether this process said that it stops without having stored the zone.
    #[must_use]
    pub fn has_given_up(&self, zone: &ZoneName) -> bool {
        self.given_up.contains(zone)
    }

    /// Whether this process can run a zone whose data is of these rules, if there is data, or may begin it.
    #[must_use]
    pub fn is_able(&self, services: &crate::services::Services, zone: &ZoneName, rules: Option<RulesTag>) -> bool {
        let is_fit = match (rules, self.stamp) {
            (Some(rules), _) if rules == self.tag => true,
            (Some(rules), Some(ours)) => services.may_go_on(zone, ours, rules),
            (None, Some(ours)) => ours.may_begin(services.rules.wanted).is_ok(),
            (rules, None) => rules.is_none(),
        };
        !self.wedged.contains(zone) && (is_fit || self.remembers(zone))
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn schedule(&self, env: &mut Env, wait: Duration, event: ShardInput) {
        env.after(wait, SimEvent::Shard(self.place, self.life, event));
    }

    fn request(
        &self,
        env: &mut Env,
        (to, number): (Party, Option<u64>),
        operation: impl Fn(&mut crate::services::Services) -> ShardInput + 'static,
    ) {
        env.request(SimRequest {
            from: (Party::Shard(self.place), self.life),
            to,
            number,
            operation: std::rc::Rc::new(operation),
        });
    }

    /// Begins an operation at the store, with a bound for its answer.
    fn ask_store(
        &mut self,
        env: &mut Env,
        (tenure, kind): (&Tenure, Kind),
        within: Duration,
        operation: impl Fn(&mut crate::services::Services) -> StoreAnswer + 'static,
    ) {
        let number = self.number();
        self.operations.insert(number, (tenure.clone(), kind));
        if kind == Kind::Append && env.services.mutant == Some(Mutant::AnswerOfAnother) {
            self.appends.insert(number, tenure.clone());
        }
        let to = if kind == Kind::Append {
            Party::Journal
        } else {
            Party::Store
        };
        self.request(env, (to, Some(number)), move |services| {
            ShardInput::Stored(number, operation(services))
        });
        self.schedule(env, within, ShardInput::Expired(number));
    }

    fn handle_expired(&mut self, env: &mut Env, number: u64) {
        if let Some(request) = self.asked.remove(&number) {
            self.handle_unanswered(env, request);
            return;
        }
        if self.homes.contains_key(&number) {
            let away = StoreError::Unavailable("no answer in time".to_owned());
            self.handle_account(env, number, AccountReply::of_store_error(&away));
            return;
        }
        if self.handle_archive_expired(env, number) {
            return;
        }
        let Some((_, kind)) = self.operations.get(&number) else {
            return;
        };
        env.took("a store operation without an answer");
        let away = || StoreError::Unavailable("no answer in time".to_owned());
        let answer = match kind {
            Kind::Summary => StoreAnswer::Summary(Err(away())),
            Kind::Read => StoreAnswer::Read(Err(away())),
            Kind::Parts => StoreAnswer::Parts(Err(away())),
            Kind::Records => StoreAnswer::Records(Err(away())),
            Kind::Wanted => StoreAnswer::Wanted(Err(away())),
            Kind::KeptFile => StoreAnswer::KeptFile(Err(away())),
            Kind::Append if env.services.mutant == Some(Mutant::SilenceIsYes) => {
                StoreAnswer::Appended(Ok(AppendAnswer::Ok))
            }
            Kind::Append => StoreAnswer::Appended(Err(away())),
            Kind::Evidence | Kind::Forked => StoreAnswer::Kept(Err(away())),
            Kind::Rest(_) => StoreAnswer::RestKept(Err(away())),
            Kind::Fence
            | Kind::Quarantine
            | Kind::Rewind
            | Kind::Blame
            | Kind::Write
            | Kind::Create
            | Kind::Home(_) => StoreAnswer::Done(Err(away())),
        };
        self.handle_stored(env, number, answer);
    }

    fn handle_stored(&mut self, env: &mut Env, mut number: u64, answer: StoreAnswer) {
        if let Some(tenure) = self
            .appends
            .get(&number)
            .filter(|_| !self.operations.contains_key(&number))
        {
            let whose = (tenure.clone(), Kind::Append);
            let mut operations = self.operations.iter();
            let under_way = operations.find(|(_, operation)| **operation == whose);
            number = under_way.map_or(number, |(other, _)| *other);
        }
        let Some((tenure, kind)) = self.operations.remove(&number) else {
            return;
        };
        match (kind, answer) {
            (Kind::Append | Kind::Write | Kind::Create | Kind::Home(_) | Kind::Rest(_), answer) => {
                self.handle_zone_stored(env, &tenure, kind, answer);
            }
            (Kind::Blame, StoreAnswer::Done(answer)) => self.handle_blame_stored(env, &tenure, answer),
            (Kind::Forked, StoreAnswer::Kept(answer)) => self.handle_forked_stored(env, &tenure, answer),
            (_, answer) => self.handle_adoption_stored(env, &tenure, kind, answer),
        }
    }
}

/// Returns the rules of a process that starts now: those on record, if that changed, or those of its flags; and their
/// stamp, if the world has a record.
fn rules_at_start<'a>(
    env: &mut Env,
    life: u64,
    flags: &Flags,
    world: &'a SimWorld,
) -> (&'a Arc<RuleBook>, Option<RulesStamp>) {
    let other = world.other_rules.rules_id(world.tick_hz);
    let is_applied = world.has_record && env.services.rules.wanted == Some(other);
    let is_other = is_applied || flags.other_rules_from.is_some_and(|first| life >= first);
    let rules = if is_other { &world.other_rules } else { &world.rules };
    let stamp = world.has_record.then(|| rules.stamp(world.tick_hz));
    stamp.iter().for_each(|stamp| env.services.rules.keep(*stamp));
    (rules, stamp)
}
