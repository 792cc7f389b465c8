//! A whole cluster in one thread: shards, guardians, players, store, and authority, on one clock, from one seed. After
//! a time of faults everything is healed, and the cluster must come back: a run ends with the breaches that it found.

mod archived;
mod judging;
mod striking;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use everhold_core::durability::gate::Durability;
use everhold_core::game::RuleBook;
use everhold_core::zone::Game;
use everhold_core::zone::probe::panic_text;
use everhold_protocol::rng::SplitMix64;
use everhold_protocol::{Tick, ZoneName};

use crate::archive::{ArchiveDump, MemoryArchive};
use crate::env::Env;
use crate::event::{PlayerEvent, ShardInput, SimEvent};
use crate::fault::{Fault, Plan};
use crate::mutant::Mutant;
use crate::player::SimPlayer;
use crate::services::{Breach, CommitFate};
use crate::setting::{Flags, RunSetting};
use crate::shard::{SimShard, SimWorld};
use crate::store::StoreDump;

/// The world that simulated clusters play.
const WORLD: &str = include_str!("../world.toml");
/// The line of chat that makes a rule fail.
pub const POISON: &str = "poison";
/// The checks that look at everything come this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A guardian releases what its dead shard held after this time.
const GUARDIAN_WAIT: Duration = Duration::from_millis(60);
/// A client that waits at a shard whose process ends itself, after a tick that was wedged, hears nothing for 10 s. Most
/// of that are in the ttls anyway.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Ticks between two commits of a zone to the archive.
const ARCHIVE_INTERVAL: u64 = 60;
/// Spares with other rules start at this time.
const SPARES_AT: Duration = Duration::from_secs(5);

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed, from which everything follows.
    pub seed: u64,
    /// The faults; drawn from the seed if there is no plan.
    pub plan: Option<Plan>,
    /// The instant at which the run is said to begin: only differences count.
    pub origin: Instant,
    /// Whether the history is kept in lines.
    pub tells_story: bool,
    /// The mutant that is planted.
    pub mutant: Option<Mutant>,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The broken invariants.
    pub breaches: Vec<Breach>,
    /// The faults that struck.
    pub plan: Plan,
    /// The number of times that each interesting path was taken.
    pub paths: BTreeMap<&'static str, u64>,
    /// The history in lines, if it was kept.
    pub story: Vec<String>,
    /// A hash of the history.
    pub history: u64,
    /// The last tick of each zone that is hosted at the end, the last of which clients were told, and the time for
    /// which it is hosted.
    pub ticks: BTreeMap<ZoneName, (Tick, Tick, Duration)>,
}

/// A place for a shard: a process, or none while it is dead.
struct Slot {
    flags: Flags,
    life: u64,
    shard: Option<SimShard>,
    /// The end of its pause, and what it will hear then.
    paused_until: Duration,
    missed: Vec<ShardInput>,
}

/// A cluster.
pub struct SimCluster {
    env: Env,
    world: Arc<SimWorld>,
    slots: Vec<Slot>,
    players: Vec<SimPlayer>,
    remembered: Option<StoreDump>,
    /// A backup of the archive, of the same moment.
    backup: Option<ArchiveDump>,
    setting: RunSetting,
}

impl SimCluster {
    /// Runs a cluster to its end.
    #[must_use]
    pub fn run(options: &Options) -> Outcome {
        let mut rng = SplitMix64::new(options.seed);
        let rules = RuleBook::from_toml(WORLD).expect("the world is sound");
        let zones: Vec<ZoneName> = rules.zones().cloned().collect();
        let mut setting = RunSetting::draw(&zones, &mut rng);
        let mut plan = Plan::draw(&setting, &mut rng);
        plan.draw_more(&setting, &mut SplitMix64::new(!options.seed));
        plan.draw_forgery(&setting, &mut SplitMix64::new(options.seed.rotate_left(16)));
        setting.draw_unlike(&mut SplitMix64::new(options.seed.rotate_left(32)));
        let mut chance = SplitMix64::new(options.seed.rotate_left(48));
        setting.draw_replica(&mut chance);
        setting.draw_roll(&mut SplitMix64::new(options.seed.rotate_left(40)));
        plan.draw_promotion(&setting, &mut chance);
        let mut chance = SplitMix64::new(options.seed.rotate_left(8));
        setting.draw_archive(&mut chance);
        setting.has_archive &= options.mutant.is_none_or(Mutant::is_of_archive);
        plan.draw_archive(&setting, &mut chance);
        plan.0.extend(setting.rolls_at.map(|at| (at, Fault::Apply)));
        let plan = options.plan.clone().unwrap_or(plan);
        let (ttl, healed_at) = (setting.longest_ttl(), setting.begin + setting.span);
        let mut cluster = Self::new(options, setting, rules, &mut rng);
        for (at, fault) in plan.0.clone() {
            cluster.env.at(at, SimEvent::Fault(fault));
        }
        cluster.run_until(healed_at);
        cluster.heal();
        cluster.run_until(healed_at + 12 * ttl + SILENCE_MAX);
        cluster.players.iter_mut().for_each(|player| player.is_active = false);
        cluster.run_until(healed_at + 15 * ttl + SILENCE_MAX);
        cluster.check_liveness();
        let told = |zone: &ZoneName| cluster.env.services.told(zone).unwrap_or_default();
        let hosted = cluster.shards().flat_map(SimShard::ticks);
        let now = cluster.env.now;
        let ticks = hosted.map(|(zone, tick, since)| (zone.clone(), (tick, told(zone), now - since)));
        let ticks = ticks.collect();
        let Env {
            services,
            paths,
            story,
            history,
            ..
        } = cluster.env;
        Outcome {
            breaches: services.breaches,
            plan,
            paths,
            story: story.unwrap_or_default(),
            history,
            ticks,
        }
    }

    fn new(options: &Options, setting: RunSetting, rules: RuleBook, rng: &mut SplitMix64) -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        let zones: Vec<ZoneName> = rules.zones().cloned().collect();
        let world = Arc::new(SimWorld {
            rules: Arc::new(rules),
            other_rules: Arc::new(other_rules()),
            has_record: setting.rolls_at.is_some(),
            ttl: setting.ttl,
            tick_hz: setting.tick_hz,
            ticket_key: key.verifying_key(),
            resume_key: [9; 32],
            checkpoint_ticks: (20, 100),
            durability: setting.durability,
            archive_interval: setting.has_archive.then_some(ARCHIVE_INTERVAL),
        });
        let mut env = Env::new(rng.draw(), options.origin, options.tells_story);
        env.links.loss_permille = rng.below(30);
        env.links.repeat_permille = rng.below(20);
        env.links.late_permille = rng.below(6);
        if let Some(far) = setting.far {
            env.links.set_far(far, setting.shards.len());
        }
        env.services.ttl = setting.longest_ttl();
        env.services.rules.wanted = world.has_record.then(|| world.rules.rules_id(world.tick_hz));
        env.services.mutant = options.mutant;
        env.services.store.plant(options.mutant);
        let schema = world.rules.archive_schema().expect("the world is sound");
        env.services.archive = MemoryArchive::new(schema);
        env.services.archive.plant(options.mutant);
        env.services.replica.is_asked = setting.durability == Durability::Replica;
        env.is_async = setting.durability == Durability::Async;
        let slots = setting.shards.iter().cloned().map(new_slot).collect();
        let shards = setting.shards.len();
        let player = |place: usize| {
            let zone = zones[place % zones.len()].clone();
            SimPlayer::new(place, zone, key.clone(), shards, options.seed ^ place as u64)
        };
        let players = (0..setting.players).map(player).collect();
        for place in 0..setting.players {
            let at = Duration::from_millis(1_500 + rng.below(500));
            env.at(at, SimEvent::Player(place, PlayerEvent::Start));
            env.at(at, SimEvent::Player(place, PlayerEvent::Act));
        }
        env.at(LOOK_EVERY, SimEvent::Look);
        let mut cluster = Self {
            env,
            world,
            slots,
            players,
            remembered: None,
            backup: None,
            setting,
        };
        for place in 0..shards {
            if cluster.slots[place].flags.other_rules_from == Some(1) {
                // By then there is something that it cannot run.
                cluster.env.at(SPARES_AT, SimEvent::Fault(Fault::Restart(place)));
            } else {
                cluster.start(place);
            }
        }
        cluster
    }

    fn start(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        if slot.shard.is_none() {
            slot.life += 1;
            slot.missed.clear();
            slot.paused_until = Duration::ZERO;
            slot.shard = Some(SimShard::start(
                &mut self.env,
                place,
                slot.life,
                &slot.flags,
                &self.world,
            ));
        }
    }

    fn run_until(&mut self, until: Duration) {
        while let Some(event) = self.env.next(until) {
            match event {
                SimEvent::Shard(place, life, event) => self.hear(place, life, event),
                SimEvent::Packet(place, life, event) => self.hear_packet(place, life, event),
                SimEvent::Request(request) => self.env.serve(request),
                SimEvent::Player(place, event) => self.players[place].handle(&mut self.env, event),
                SimEvent::Fault(fault) => self.strike(fault),
                SimEvent::Wake(place) => self.wake(place),
                SimEvent::Left(place) => self.leave(place),
                SimEvent::Hint => self.hint(),
                SimEvent::Guardian(place, life) => self.guard(place, life),
                SimEvent::Look => self.look(),
            }
        }
    }

    fn hear(&mut self, place: usize, life: u64, event: ShardInput) {
        let slot = &mut self.slots[place];
        if slot.life != life {
            return;
        }
        if slot.paused_until > self.env.now {
            slot.missed.push(event);
            return;
        }
        self.note_reach(place);
        let Some(shard) = &mut self.slots[place].shard else {
            return;
        };
        let heard = catch_unwind(AssertUnwindSafe(|| shard.handle(&mut self.env, event)));
        if let Err(panic) = heard {
            self.slots[place].shard = None;
            let detail = format!("shard {place}: {}", panic_text(panic.as_ref()));
            self.env.services.breach("no machine panics", detail);
        }
        if std::mem::take(&mut self.env.lost_memory) {
            self.note_forgetting();
        }
    }

    /// Notes what the shards in reach have in memory, before one hears something that may end an adoption.
    fn note_reach(&mut self, place: usize) {
        let adopter = self.slots[place].shard.as_ref();
        if !adopter.is_some_and(SimShard::is_adopting_any) {
            return;
        }
        for zone in self.world.rules.zones() {
            let shards = self.slots.iter().filter_map(|slot| slot.shard.as_ref());
            let in_reach = shards.filter(|shard| !shard.is_cut_off(self.env.now));
            let ends = in_reach.flat_map(|shard| shard.memory_ends(zone)).collect();
            self.env.services.in_reach.insert(zone.clone(), ends);
        }
    }

    fn hear_packet(&mut self, place: usize, life: Option<u64>, event: ShardInput) {
        let Some(slot) = self.slots.get(place) else { return };
        let now_in = slot.life;
        if slot.shard.is_none() {
            return;
        }
        if let (Some(life), ShardInput::Packet(player, conn, _)) = (life, &event)
            && life != now_in
        {
            // A process of another life knows nothing of the connection.
            let reset = PlayerEvent::Disconnected(*conn, None, "reset".to_owned());
            self.env
                .after(Duration::from_millis(5), SimEvent::Player(*player, reset));
            return;
        }
        self.hear(place, now_in, event);
    }

    fn hint(&mut self) {
        for place in 0..self.slots.len() {
            let life = self.slots[place].life;
            self.env
                .after(Duration::from_millis(1), SimEvent::Shard(place, life, ShardInput::Hint));
        }
    }

    /// Has the players look at their connections.
    fn look(&mut self) {
        self.env.after(LOOK_EVERY, SimEvent::Look);
        let slots = &self.slots;
        for (player, client) in self.players.iter_mut().enumerate() {
            client.look(&mut self.env, |shard, life, conn| {
                let shard = slots.get(shard).and_then(|slot| slot.shard.as_ref());
                shard.is_some_and(|shard| shard.life == life && shard.has_connection((player, conn)))
            });
        }
    }

    /// Ends all faults.
    fn heal(&mut self) {
        self.env.tell(|| "HEALED".to_owned());
        let links = &mut self.env.links;
        links.blocked.clear();
        links.slow.clear();
        links.down.clear();
        links.refusing.clear();
        links.lags.clear();
        let now = self.env.now;
        let clocks = self.env.services.stopped_clocks.values_mut();
        clocks.for_each(|until| *until = now.min(*until));
        self.env.services.store.set_full(false);
        self.env.services.store.refuse_parts(false);
        self.env.services.bring_replica_back();
        self.env.services.commit_fate = CommitFate::Answered;
        for place in 0..self.slots.len() {
            self.slots[place].paused_until = Duration::ZERO;
            self.wake(place);
            self.start(place);
        }
    }
}

/// Returns rules under which a zone that ran the world's goes on only if they are wanted, where there is a record.
fn other_rules() -> RuleBook {
    let text = WORLD.replacen("linger_ms = 10_000", "linger_ms = 10_001", 1);
    assert_ne!(text, WORLD, "they would be the same");
    RuleBook::from_toml(&text).expect("the world is sound")
}

/// A place whose shard is not started yet.
const fn new_slot(flags: Flags) -> Slot {
    Slot {
        flags,
        life: 0,
        shard: None,
        paused_until: Duration::ZERO,
        missed: Vec::new(),
    }
}
