//! A zone is a pure function of its inputs: same state, same inputs, same state and outputs, bit for bit. It reads no
//! clock, socket, random device, or environment, and stores nothing: others journal its inputs and keep its captures.
//! What its inputs and ticks mean to those who play, it leaves to a [`Game`].
//!
//! ```text
//!            inputs                       outputs, scene
//!   ───────► Zone::step ─────────────────────────────────►
//!            │ apply one by one (sessions, turns ──► the game)
//!            │ systems (the game's phases, and among them Upkeep)
//!            ▼ conclude (effects)
//!   World ──► freeze ──► encode ──► bytes ──► restore ──► World'      digest(World) == digest(World')
//! ```

pub mod archive_schema;
pub mod output;
pub mod scene;
pub mod hasher;
pub mod field;
pub mod shared;
pub mod removals;
pub mod registry;
pub mod frozen;
mod rows;
mod kinds;
pub mod declare;
pub mod state;
pub mod facts;
pub mod probe;
pub mod game;
pub mod config;
pub mod index;
mod capture;
pub mod restore;
mod secrets;
pub(crate) mod effects;
pub mod payload;
mod lodging;
mod sessions;
pub mod turns;
pub mod rest;
#[cfg(feature = "testing")]
pub mod growth;
#[cfg(feature = "testing")]
mod testing;

use std::sync::Arc;

use bevy_ecs::prelude::*;
use everhold_protocol::{Account, Epoch, SessionId, Tick};

pub use config::ZoneConfig;
pub use declare::ZoneBuilder;
pub use frozen::{Capture, Cut, Frozen};
pub use game::{Game, GameZone};
pub use hasher::Digest;
pub use output::{Outputs, Reply, Residence, ValueMove, Welcome};
pub use probe::{Probe, Suspect};
pub use restore::{CaptureTitle, RestoreError};
pub use scene::{Scene, SceneSession};

use crate::ingress::Input;
use crate::ownership::{RulesId, RulesStamp, state_layout};
use capture::Captor;
use declare::Built;
use game::Terms;
use kinds::Kinds;
use probe::InputRun;
use registry::Declared;
use state::{Clock, Ids, Session};

/// A zone in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneStats {
    /// The last tick.
    pub tick: Tick,
    /// Sessions, attached or away.
    pub sessions: usize,
    /// Attached sessions.
    pub attached: usize,
    /// Entities: sessions' and all others.
    pub entities: usize,
}

/// One zone. World and schedule are private: no system runs outside the one chain, and nothing enters but inputs.
pub struct Zone {
    world: World,
    schedule: Schedule,
    captor: Captor,
    game: Box<dyn GameZone>,
    sessions: QueryState<&'static Session>,
    declared: Vec<Declared>,
    rules: RulesStamp,
    probe: Arc<Probe>,
    /// Set while a step runs: a panic leaves it set, and then the World is half-stepped for good.
    poisoned: bool,
}

impl Zone {
    /// A zone at its beginning: tick 0, epoch 0, what the game puts there in place, no player in it.
    ///
    /// # Panics
    /// If the game has no zone of this name, or the tick rate is zero: see [`Game::build`].
    #[must_use]
    pub fn new(config: ZoneConfig) -> Self {
        Self::begun(config).expect("the game has a zone of this name")
    }

    /// A zone at its beginning, as [`Zone::new`] makes it; `None` if the game has no zone of this name.
    #[must_use]
    pub fn begun(config: ZoneConfig) -> Option<Self> {
        let mut zone = Self::empty(&config, None)?;
        zone.begin(&config);
        Some(zone)
    }

    /// A zone from a base and its deltas, in order. The next delta may follow the last of them.
    pub fn restore(config: ZoneConfig, chain: &[&[u8]]) -> Result<Self, RestoreError> {
        let id = config.rules_id();
        let zone = Self::take_over(config, chain)?;
        if zone.rules_id() == id {
            Ok(zone)
        } else {
            Err(RestoreError::Rules)
        }
    }

    /// A zone as [`Zone::restore`] makes it, whichever rules it ran. If they are others, only an epoch under these may
    /// begin next: its first input, `EpochStart`, fits the state to them.
    pub fn take_over(config: ZoneConfig, chain: &[&[u8]]) -> Result<Self, RestoreError> {
        let mut zone = Self::empty(&config, None).ok_or(RestoreError::ZoneUnknown)?;
        zone.read(chain)?;
        Ok(zone)
    }

    /// Nothing but the machinery. `shuffle_seed` shuffles systems whose order is not fixed: there are none, and tests
    /// make sure.
    fn empty(config: &ZoneConfig, shuffle_seed: Option<u64>) -> Option<Self> {
        let mut zone = ZoneBuilder::new(&config.name, config.tick_hz, shuffle_seed);
        state::declare_state(&mut zone);
        index::declare(&mut zone);
        zone.output::<effects::Effects>();
        rest::declare(&mut zone);
        #[cfg(feature = "testing")]
        growth::declare(&mut zone);
        let game = Arc::clone(&config.game).build(&mut zone)?;
        zone.derived(game.terms());
        let Built {
            mut world,
            schedule,
            kinds,
            declared,
        } = zone.finish();
        let captor = Captor::new(&mut world, kinds);
        let sessions = world.query();
        Some(Self {
            world,
            schedule,
            captor,
            game,
            sessions,
            declared,
            rules: config.rules(),
            probe: Arc::default(),
            poisoned: false,
        })
    }

    /// The beginning of a zone's history.
    fn begin(&mut self, config: &ZoneConfig) {
        *self.world.resource_mut::<Clock>() = Clock {
            tick: Tick(0),
            epoch: Epoch::NONE,
            seed: config.seed,
            rules_id: config.rules_id(),
        };
        let zone_number = self.world.resource::<Terms>().zone_number;
        *self.world.resource_mut::<Ids>() = Ids::of_epoch(zone_number, Epoch::NONE);
        self.game.begin(&mut self.world);
    }

    fn read(&mut self, chain: &[&[u8]]) -> Result<(), RestoreError> {
        let (layout, expected) = restore::read_chain(&mut self.world, self.captor.kinds(), chain)?;
        // The digest was made of what its layout has, and not of what was added since.
        let found = self.captor.digest(&self.world, layout);
        if found != expected {
            return Err(RestoreError::Digest { expected, found });
        }
        let number = self.world.resource::<Ids>().zone_number();
        if number != self.world.resource::<Terms>().zone_number {
            return Err(RestoreError::OtherZone { found: number });
        }
        // Only for a state whose digest is right: damaged values may break what it relies on.
        self.game.derive(&mut self.world);
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
            let run = InputRun::new(inputs, next, &self.probe);
            let taken = turns::apply_run(&mut self.world, &mut *self.game, run);
            if taken == 0 {
                self.probe.enter(next, input);
                apply(&mut self.world, &*self.game, self.captor.kinds(), input);
            }
            next += taken.max(1);
        }
        self.probe.leave();
        if self.world.resource::<effects::Effects>().is_refit_due {
            self.game.refit(&mut self.world);
        }
        self.schedule.run(&mut self.world);
        let outputs = effects::conclude(&mut self.world, &*self.game);
        self.world.clear_trackers();
        self.poisoned = false;
        outputs
    }

    /// The last tick that was stepped; 0 before the first.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.world.resource::<Clock>().tick
    }

    /// The id of the rules that the zone ran in its last tick.
    #[must_use]
    pub fn rules_id(&self) -> RulesId {
        self.world.resource::<Clock>().rules_id
    }

    /// Returns the rules that the zone has, and that an epoch which begins now runs.
    #[must_use]
    pub const fn rules(&self) -> RulesStamp {
        self.rules
    }

    /// Returns the ticks per second that those rules are for.
    #[must_use]
    pub fn tick_hz(&self) -> u16 {
        self.world.resource::<Terms>().tick_hz
    }

    /// The epoch of the last `EpochStart`; 0 before the first.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.world.resource::<Clock>().epoch
    }

    /// Hash of the whole state. Costs a pass over it.
    pub fn digest(&mut self) -> Digest {
        self.check_whole();
        self.captor.digest(&self.world, state_layout())
    }

    /// Cuts the state between two ticks: copies it, and leaves it to others to make bytes of it. One capture may be in
    /// flight: answer it with [`Zone::capture_confirmed`] or [`Zone::capture_failed`] before the next.
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
        self.game.show(&self.world, scene);
    }

    /// The zone in numbers.
    pub fn stats(&mut self) -> ZoneStats {
        let attached = self.sessions.iter(&self.world);
        let attached = attached.filter(|session| session.presence.is_attached()).count();
        let entity_index = self.world.resource::<index::EntityIndex>();
        ZoneStats {
            tick: self.tick(),
            sessions: entity_index.sessions(),
            entities: entity_index.entities(),
            attached,
        }
    }

    /// The account's session, if it has one here.
    #[must_use]
    pub fn session_of(&self, account: Account) -> Option<SessionId> {
        self.world.resource::<index::EntityIndex>().session(account)
    }

    /// Writes a session's declared state for people, the engine's and the game's: each component with the name of its
    /// type. `None`: there is no such session.
    #[must_use]
    pub fn describe(&self, session: SessionId) -> Option<Vec<(&'static str, String)>> {
        self.check_whole();
        let entity = self.world.resource::<index::EntityIndex>().entity(session)?;
        self.world.get::<Session>(entity)?;
        Some(self.captor.kinds().describe(&self.world, entity))
    }

    /// The accounts that have a session here, in order.
    #[must_use]
    pub fn accounts(&mut self) -> Vec<Account> {
        let sessions = self.sessions.iter(&self.world);
        let mut accounts: Vec<Account> = sessions.map(|session| session.account).collect();
        accounts.sort_unstable();
        accounts
    }

    /// The accounts whose characters are in the world, attached or away, in order: those that [`Residence::Taken`]
    /// would have told.
    #[must_use]
    pub fn residents(&mut self) -> Vec<Account> {
        let mut sessions = self.world.query_filtered::<&Session, Without<state::Resting>>();
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

    /// Returns the probe, which says to other threads which input is being applied, also after a panic.
    #[must_use]
    pub fn probe(&self) -> Arc<Probe> {
        self.probe.clone()
    }

    /// Every type that the zone's World may hold, bevy's own aside.
    #[must_use]
    pub fn declared(&self) -> &[Declared] {
        &self.declared
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
fn apply(world: &mut World, game: &dyn GameZone, kinds: &Kinds, input: &Input) {
    match *input {
        Input::EpochStart {
            epoch,
            nonce: _,
            rules_id,
        } => sessions::start_epoch(world, game, epoch, rules_id),
        Input::Join(join) => sessions::join(world, game, join),
        Input::Lodge(ref lodge) => lodging::lodge(world, game, kinds, lodge),
        Input::Evict { account, generation } => lodging::evict(world, account, generation),
        Input::Outrank { account, generation } => lodging::outrank(world, account, generation),
        Input::Resume(resume) => sessions::resume(world, game, resume),
        Input::Detach { session, token } => _ = sessions::detach(world, game, session, token),
        Input::Logout { session, token } => sessions::log_out(world, game, session, token),
        Input::Dismiss { account, code } => sessions::dismiss(world, game, account, code),
        Input::Intent { .. } => turns::apply(world, game, input),
        Input::Invalid { session, seq } => turns::refuse_invalid(world, session, seq),
        Input::EventAck { session, event_seq } => sessions::hear_ack(world, session, event_seq),
        Input::Quarantine { session, seq } => sessions::quarantine(world, session, seq),
    }
}

#[cfg(test)]
mod tests;
