//! A zone is a pure function of its inputs: same state, same inputs, same state and outputs, bit for bit. It reads no clock, socket,
//! random device, or environment, and stores nothing: others journal its inputs and keep its captures.
//!
//! ```text
//!            inputs                       outputs, scene
//!   ───────► Zone::step ─────────────────────────────────►
//!            │ apply one by one (sessions, intents)
//!            │ Phase::Talk → Rest → Think → Walk → Strike → Bite → PickUp → Revive → Spawn (systems)
//!            ▼ conclude (view)
//!   World ──► freeze ──► encode ──► bytes ──► restore ──► World'      digest(World) == digest(World')
//! ```

pub mod output;
pub mod scene;
pub mod mixer;
pub mod field;
pub mod shared;
pub mod registry;
pub mod state;
pub mod config;
pub mod probe;
pub mod index;
pub mod frozen;
pub mod capture;
pub mod restore;
mod grid;
mod tell;
mod secrets;
pub mod value;
mod sessions;
mod intents;
mod systems;
mod view;
#[cfg(feature = "testing")]
pub mod rig;

use std::sync::Arc;

use bevy_ecs::error::{BevyError, ErrorContext, FallbackErrorHandler};
use bevy_ecs::prelude::*;
use everhold_protocol::{Account, SessionId, Tick};

pub use capture::{Capture, Cut};
pub use config::ZoneConfig;
pub use frozen::Frozen;
pub use output::{Outputs, Reply, Residence};
pub use probe::{Probe, Suspect};
pub use restore::RestoreError;
pub use scene::{Scene, SceneSession};

use crate::ingress::Input;
use capture::Captor;
use config::Setting;
use state::{Clock, Due, Ids};

/// A zone's state, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub u64);

/// A zone in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneStats {
    /// The last tick.
    pub tick: Tick,
    /// Sessions, attached or away.
    pub sessions: usize,
    /// Attached sessions.
    pub attached: usize,
    /// Entities: players, monsters, items.
    pub entities: usize,
}

/// One zone. World and schedule are private: no system runs outside the one chain, and nothing enters but inputs.
pub struct Zone {
    world: World,
    schedule: Schedule,
    captor: Captor,
    viewer: view::Viewer,
    hands: intents::Hands,
    probe: Arc<Probe>,
    /// Set while a step runs: a panic leaves it set, and then the World is half-stepped for good.
    poisoned: bool,
}

impl Zone {
    /// A zone at its beginning: tick 0, epoch 0, monsters and items in place, nobody in it.
    ///
    /// # Panics
    /// If the rule book has no zone of this name, or the tick rate is zero: see [`crate::rules::RuleBook::zone`].
    #[must_use]
    pub fn new(config: ZoneConfig) -> Self {
        let mut zone = Self::empty(&config, None).expect("the rule book has a zone of this name");
        zone.begin(&config);
        zone
    }

    /// A zone from a base and its deltas, in order. The next delta may follow the last of them.
    pub fn restore(config: ZoneConfig, chain: &[&[u8]]) -> Result<Self, RestoreError> {
        let mut zone = Self::empty(&config, None).ok_or(RestoreError::ZoneUnknown)?;
        zone.read(&config, chain)?;
        Ok(zone)
    }

    /// Nothing but the machinery. `shuffle_seed` shuffles systems whose order is not fixed: there are none, and tests make sure.
    fn empty(config: &ZoneConfig, shuffle_seed: Option<u64>) -> Option<Self> {
        let setting = Setting::new(config)?;
        let mut world = World::new();
        world.insert_resource(FallbackErrorHandler(rethrow));
        state::install(&mut world);
        index::install(&mut world);
        let ground = setting.map.rules();
        world.insert_resource(grid::PreyGrid::new(
            ground.width_cm,
            ground.height_cm,
            setting.rules.monster().sight_cm,
        ));
        world.insert_resource(setting);
        world.init_resource::<tell::Told>();
        world.init_resource::<intents::Wishes>();
        world.init_resource::<systems::monsters::Bites>();
        let captor = Captor::new(&mut world);
        let viewer = view::Viewer::new(&mut world);
        let hands = intents::Hands::new(&mut world);
        let schedule = systems::schedule(shuffle_seed);
        Some(Self {
            world,
            schedule,
            captor,
            viewer,
            hands,
            probe: Arc::default(),
            poisoned: false,
        })
    }

    /// The beginning of a zone's history.
    fn begin(&mut self, config: &ZoneConfig) {
        let world = &mut self.world;
        let ground = world.resource::<Setting>().map.rules().clone();
        let item_spawn = world.resource::<Setting>().pace.item_spawn;
        *world.resource_mut::<Clock>() = Clock {
            tick: 0,
            epoch: 0,
            seed: config.seed,
            rules_id: config.rules_id(),
        };
        *world.resource_mut::<Ids>() = Ids::of_epoch(ground.number, 0);
        world.resource_mut::<Due>().item = item_spawn;
        for camp in (0u16..).take(ground.camps.len()) {
            systems::monsters::spawn_monster(world, camp);
        }
        for _ in 0..ground.items_at_start {
            systems::ground::spawn_item(world);
        }
    }

    fn read(&mut self, config: &ZoneConfig, chain: &[&[u8]]) -> Result<(), RestoreError> {
        let expected = restore::read_chain(&mut self.world, chain)?;
        let found = self.captor.digest(&self.world);
        if found != expected {
            return Err(RestoreError::Digest { expected, found });
        }
        let number = self.world.resource::<Ids>().zone_number();
        if number != self.world.resource::<Setting>().map.rules().number {
            return Err(RestoreError::OtherZone { found: number });
        }
        if self.world.resource::<Clock>().rules_id != config.rules_id() {
            return Err(RestoreError::Rules);
        }
        restore::derive(&mut self.world);
        self.captor.adopt(&mut self.world);
        Ok(())
    }

    /// One tick: the inputs in order, then every system.
    ///
    /// # Panics
    /// If a rule fails. The zone is poisoned then: throw it away and restore another. Stepping it again panics at once.
    pub fn step(&mut self, inputs: &[Input]) -> Outputs {
        self.check_whole();
        self.poisoned = true;
        self.world.resource_mut::<Clock>().tick += 1;
        let mut next = 0;
        while let Some(input) = inputs.get(next) {
            let entering = |ahead: usize| self.probe.enter(next + ahead, &inputs[next + ahead]);
            let taken = intents::steer_many(&mut self.world, &mut self.hands, &inputs[next..], entering);
            if taken == 0 {
                self.probe.enter(next, input);
                apply(&mut self.world, input);
            }
            next += taken.max(1);
        }
        self.probe.leave();
        #[cfg(feature = "testing")]
        rig::spring_later();
        self.schedule.run(&mut self.world);
        let outputs = view::conclude(&mut self.world);
        self.world.clear_trackers();
        self.poisoned = false;
        outputs
    }

    /// The last tick that was stepped; 0 before the first.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.world.resource::<Clock>().tick
    }

    /// The epoch of the last `EpochStart`; 0 before the first.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.world.resource::<Clock>().epoch
    }

    /// Hash of the whole state. Costs a pass over it.
    pub fn digest(&mut self) -> Digest {
        self.check_whole();
        self.captor.digest(&self.world)
    }

    /// Cuts the state between two ticks: copies it, and leaves it to others to make bytes of it. One capture may be in flight: answer it with [`Zone::capture_confirmed`] or
    /// [`Zone::capture_failed`] before the next.
    ///
    /// # Panics
    /// If one is in flight.
    pub fn freeze(&mut self, cut: Cut) -> Frozen {
        self.check_whole();
        self.captor.freeze(&mut self.world, cut)
    }

    /// [`Zone::freeze`], and the bytes at once.
    ///
    /// # Panics
    /// If a capture is in flight.
    pub fn capture(&mut self, cut: Cut) -> Capture {
        self.freeze(cut).encode()
    }

    /// The capture in flight is the store's head: the next delta follows it. Does nothing if none is in flight.
    pub fn capture_confirmed(&mut self) {
        self.captor.confirm();
    }

    /// The capture in flight is lost: the next delta holds what it held. Does nothing if none is in flight.
    pub fn capture_failed(&mut self) {
        self.captor.give_back(&mut self.world);
    }

    /// Fills the scene with what there is to see now.
    pub fn scene(&mut self, scene: &mut Scene) {
        self.check_whole();
        self.viewer.fill(&self.world, scene);
    }

    /// The zone in numbers.
    pub fn stats(&mut self) -> ZoneStats {
        let directory = self.world.resource::<index::Directory>();
        ZoneStats {
            tick: self.tick(),
            sessions: directory.sessions(),
            entities: directory.entities(),
            attached: self.viewer.attached(&self.world),
        }
    }

    /// The account's session, if it has one here.
    #[must_use]
    pub fn session_of(&self, account: Account) -> Option<SessionId> {
        self.world.resource::<index::Directory>().session(account)
    }

    /// The accounts that have a session here, in order.
    #[must_use]
    pub fn accounts(&mut self) -> Vec<Account> {
        let mut sessions = self.world.query::<&state::Session>();
        let mut accounts: Vec<Account> = sessions.iter(&self.world).map(|session| session.account).collect();
        accounts.sort_unstable();
        accounts
    }

    /// The accounts whose characters are in the world, attached or away, in order: those that [`Residence::Taken`] would have told.
    #[must_use]
    pub fn residents(&mut self) -> Vec<Account> {
        let mut sessions = self.world.query_filtered::<&state::Session, Without<state::Resting>>();
        let mut accounts: Vec<Account> = sessions.iter(&self.world).map(|session| session.account).collect();
        accounts.sort_unstable();
        accounts
    }

    /// The tickets that were used here, each with the tick until which it is remembered, in order of id.
    #[must_use]
    pub fn spent_tickets(&self) -> Vec<([u8; 16], Tick)> {
        let tickets = &self.world.resource::<state::Tickets>().used;
        tickets.iter().map(|(ticket, forget)| (*ticket, *forget)).collect()
    }

    /// Says which input is being applied, to whoever holds it, also after a panic.
    #[must_use]
    pub fn probe(&self) -> Arc<Probe> {
        self.probe.clone()
    }

    fn check_whole(&self) {
        assert!(
            !self.poisoned,
            "the zone failed in tick {} and is not to be used again",
            self.tick()
        );
    }
}

/// Applies one input.
fn apply(world: &mut World, input: &Input) {
    match *input {
        Input::EpochStart {
            epoch,
            nonce: _,
            rules_id,
        } => sessions::start_epoch(world, epoch, rules_id),
        Input::Join {
            account,
            ticket,
            ticket_forget_tick,
            secret,
            token,
        } => {
            sessions::join(
                world,
                sessions::Login {
                    account,
                    ticket,
                    ticket_forget_tick,
                    secret,
                    token,
                },
            );
        }
        Input::Resume {
            session,
            secret,
            next_secret,
            event_seq,
            token,
        } => {
            sessions::resume(
                world,
                sessions::Return {
                    session,
                    secret,
                    next_secret,
                    event_seq,
                    token,
                },
            );
        }
        Input::Detach { session, token } => _ = sessions::detach(world, session, token),
        Input::Logout { session, token } => sessions::log_out(world, session, token),
        Input::Intent {
            session,
            seq,
            ref intent,
        } => intents::apply(world, session, seq, intent),
        Input::Invalid { session, seq } => intents::refuse_invalid(world, session, seq),
        Input::EventAck { session, event_seq } => sessions::hear_ack(world, session, event_seq),
        Input::Quarantine { session, seq } => sessions::quarantine(world, session, seq),
    }
}

/// Bevy's executor catches a system's panic and would go on with the rest of the tick: this passes it on instead.
fn rethrow(mut error: BevyError, context: ErrorContext) {
    match error.take_payload() {
        Some(payload) => std::panic::resume_unwind(payload),
        None => panic!("{} {} failed: {error}", context.kind(), context.name()),
    }
}

#[cfg(test)]
mod tests;
