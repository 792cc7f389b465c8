//! The overload ladder: each step costs players a little less than the next one, and is taken only if those before did
//! not help.
//!
//! ```text
//!  Normal ─► Seldom ─► Small ─► Slower (×5/4, ×3/2, ×7/4, ×2) ─► Queue ─► Refuse
//!         ◄─        ◄─       ◄─                               ◄─       ◄─
//!          up: strained for a moment    down: calm for some seconds, and it would stay calm
//! ```
//!
//! It goes one step at a time, quickly up and slowly down. A step down that did not hold makes the next one wait twice
//! as long, so that a load which fits one step but not the one below does not swing between them.

use serde::{Deserialize, Serialize};

use crate::limits::{
    LOAD_BUSY_PERMILLE_MAX, LOAD_CALM_DOUBLINGS_MAX, LOAD_CALM_MS, LOAD_CPU_PERMILLE_MAX, LOAD_HYSTERESIS_PERMILLE,
    LOAD_IDLE_PERMILLE, LOAD_LEFT_SELDOM_PERMILLE, LOAD_QUEUE_PERMILLE, LOAD_REFUSE_PERMILLE, LOAD_RISE_MS,
    LOAD_SELDOM_PERMILLE, LOAD_SLOW_RISE_MS, LOAD_SLOWER_HYSTERESIS_PERMILLE, LOAD_SLOWER_PERMILLE,
    LOAD_SMALL_PERMILLE, STRETCH_PERMILLE_MAX,
};
use crate::replication::Detail;

/// A step of the overload ladder: what a zone leaves out. Each rung includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Leaves out nothing.
    #[default]
    Normal,
    /// Players are shown every second tick.
    Seldom,
    /// A player is told of fewer entities.
    Small,
    /// Game time runs slower.
    Slower,
    /// Newcomers wait.
    Queue,
    /// Newcomers are refused.
    Refuse,
}

impl Rung {
    /// Every rung, in order.
    pub const ALL: [Self; 6] = [
        Self::Normal,
        Self::Seldom,
        Self::Small,
        Self::Slower,
        Self::Queue,
        Self::Refuse,
    ];

    /// Returns the rung with this index in [`Rung::ALL`].
    #[must_use]
    pub fn from_place(place: u8) -> Option<Self> {
        Self::ALL.get(usize::from(place)).copied()
    }

    /// Returns the rung's index in [`Rung::ALL`].
    #[must_use]
    pub const fn place(self) -> u8 {
        self as u8
    }

    /// Returns the detail at which players are told of the world.
    #[must_use]
    pub const fn detail(self) -> Detail {
        match self {
            Self::Normal => Detail::Full,
            Self::Seldom => Detail::Seldom,
            Self::Small | Self::Slower | Self::Queue | Self::Refuse => Detail::Small,
        }
    }
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Seldom => "snapshots less often",
            Self::Small => "fewer entities",
            Self::Slower => "slower time",
            Self::Queue => "newcomers wait",
            Self::Refuse => "newcomers are refused",
        })
    }
}

/// A step of the ladder. [`Rung::Slower`] has several.
struct LadderStep {
    rung: Rung,
    /// A tick's length, ‰ of normal.
    stretch_permille: u32,
    /// The strain at which the step is taken, ‰.
    enter_permille: u32,
}

impl LadderStep {
    /// Returns the share of a normal tick's load that is left, ‰ of a normal period.
    const fn load_permille(&self) -> u32 {
        let cost = match self.rung.detail() {
            Detail::Full => 1_000,
            Detail::Seldom | Detail::Small => LOAD_LEFT_SELDOM_PERMILLE,
        };
        cost * 1_000 / self.stretch_permille
    }
}

const fn step(rung: Rung, stretch_permille: u32, enter_permille: u32) -> LadderStep {
    LadderStep {
        rung,
        stretch_permille,
        enter_permille,
    }
}

const STEPS: [LadderStep; 9] = [
    step(Rung::Normal, 1_000, 0),
    step(Rung::Seldom, 1_000, LOAD_SELDOM_PERMILLE),
    step(Rung::Small, 1_000, LOAD_SMALL_PERMILLE),
    step(Rung::Slower, 1_250, LOAD_SLOWER_PERMILLE),
    step(Rung::Slower, 1_500, LOAD_SLOWER_PERMILLE),
    step(Rung::Slower, 1_750, LOAD_SLOWER_PERMILLE),
    step(Rung::Slower, STRETCH_PERMILLE_MAX, LOAD_SLOWER_PERMILLE),
    step(Rung::Queue, STRETCH_PERMILLE_MAX, LOAD_QUEUE_PERMILLE),
    step(Rung::Refuse, STRETCH_PERMILLE_MAX, LOAD_REFUSE_PERMILLE),
];

/// The measurements of one tick. [`crate::load`] says why these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickLoad {
    /// The tick's stretched period, µs.
    pub period_us: u32,
    /// Work of the tick thread and of the egress, µs.
    pub busy_us: u32,
    /// Delay of the tick's begin plus the wait of what was finished before, or delay of the last tick's datagrams, µs.
    pub waited_us: u32,
    /// Share of its cores that the process used, ‰.
    pub cpu_permille: u32,
}

/// A zone's place on the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderState {
    /// The rung.
    pub rung: Rung,
    /// A tick's length, ‰ of normal.
    pub stretch_permille: u32,
    /// The zone's work, ‰ of what it can do.
    pub strain_permille: u32,
}

impl LadderState {
    /// The state of a zone that has nothing to do.
    pub const IDLE: Self = Self {
        rung: Rung::Normal,
        stretch_permille: 1_000,
        strain_permille: 0,
    };

    /// Returns the speed of game time in 255ths, as snapshots carry it.
    #[must_use]
    pub const fn dilation(&self) -> u8 {
        // At most 255, because time never runs faster than normal.
        (255_000 / self.stretch_permille) as u8
    }
}

/// A moving mean over about eight ticks, in 256ths.
#[derive(Clone, Copy, Debug, Default)]
struct Mean(u32);

impl Mean {
    const SHIFT: u32 = 3;

    const fn take(&mut self, value: u32) {
        self.0 = self.0 - (self.0 >> Self::SHIFT) + ((value << 8) >> Self::SHIFT);
    }

    const fn now(self) -> u32 {
        self.0 >> 8
    }

    /// Converts the mean to another unit.
    const fn rescale(&mut self, from: u32, to: u32) {
        self.0 = (self.0 as u64 * from as u64 / to as u64) as u32;
    }
}

/// The overload ladder of one zone. Time is counted in ticks.
#[derive(Clone, Debug)]
pub struct Ladder {
    rise_ticks: u32,
    slow_rise_ticks: u32,
    calm_ticks: u32,
    place: usize,
    busy: Mean,
    waited: Mean,
    cpu_permille: u32,
    /// Ticks in a row that were strained enough for the next step.
    strained: u32,
    /// Ticks in a row that were calm enough for the step before.
    calm: u32,
    /// Times that the calm of a step down was doubled.
    doublings: u32,
    /// Ticks since the last step down.
    since_fall: u32,
}

impl Ladder {
    /// Returns a ladder at its lowest rung, for a zone with `tick_hz` ticks per second.
    #[must_use]
    pub fn new(tick_hz: u16) -> Self {
        let ticks = |ms: u32| (ms * u32::from(tick_hz)).div_ceil(1_000);
        Self {
            rise_ticks: ticks(LOAD_RISE_MS),
            slow_rise_ticks: ticks(LOAD_SLOW_RISE_MS),
            calm_ticks: ticks(LOAD_CALM_MS),
            place: 0,
            busy: Mean::default(),
            waited: Mean::default(),
            cpu_permille: 0,
            strained: 0,
            calm: 0,
            doublings: 0,
            since_fall: u32::MAX,
        }
    }

    /// Takes a tick's measurements, and returns the zone's place on the ladder from now on.
    ///
    /// # Panics
    /// If the period is zero.
    pub fn handle_tick(&mut self, load: &TickLoad) -> LadderState {
        self.busy
            .take(permille(load.busy_us, load.period_us).min(LOAD_BUSY_PERMILLE_MAX));
        self.waited.take(permille(load.waited_us, load.period_us).min(1_000));
        self.cpu_permille = load.cpu_permille;
        self.since_fall = self.since_fall.saturating_add(1);
        self.strained = if self.wants_up() { self.strained + 1 } else { 0 };
        self.calm = if self.wants_down() { self.calm + 1 } else { 0 };
        if self.strained >= self.rise_needed() {
            self.rise();
        } else if self.calm >= self.calm_needed() {
            self.fall();
        }
        self.state()
    }

    /// Returns the zone's place on the ladder.
    #[must_use]
    pub fn state(&self) -> LadderState {
        LadderState {
            rung: self.step().rung,
            stretch_permille: self.step().stretch_permille,
            strain_permille: self.strain(),
        }
    }

    fn step(&self) -> &'static LadderStep {
        &STEPS[self.place]
    }

    fn strain(&self) -> u32 {
        self.pressure().max(self.processor().min(LOAD_CPU_PERMILLE_MAX))
    }

    /// Returns the strain of what is late, or will be.
    fn pressure(&self) -> u32 {
        self.busy.now().max(self.waited.now())
    }

    /// Returns how busy the zone keeps its process. A zone without work of its own is no reason for that.
    fn processor(&self) -> u32 {
        if self.busy.now() >= LOAD_IDLE_PERMILLE {
            self.cpu_permille
        } else {
            0
        }
    }

    fn wants_up(&self) -> bool {
        STEPS
            .get(self.place + 1)
            .is_some_and(|next| self.strain() >= next.enter_permille)
    }

    /// Whether a step down would hold: the strain that is expected on the step before is well below its entry.
    fn wants_down(&self) -> bool {
        let Some(before) = self.place.checked_sub(1) else {
            return false;
        };
        let expected = |strain: u32| strain * STEPS[before].load_permille() / self.step().load_permille();
        let enter = self.step().enter_permille;
        match self.step().rung {
            Rung::Normal | Rung::Seldom | Rung::Small => expected(self.strain()) < enter - LOAD_HYSTERESIS_PERMILLE,
            // A full core alone did not slow time, and does not keep it slow; demand beyond a core does.
            Rung::Slower | Rung::Queue | Rung::Refuse => {
                expected(self.pressure()) < enter - LOAD_SLOWER_HYSTERESIS_PERMILLE
                    && expected(self.processor()) < enter
            }
        }
    }

    /// Returns the ticks in a row that must be strained enough for the next step.
    fn rise_needed(&self) -> u32 {
        match STEPS.get(self.place + 1).map_or(Rung::Refuse, |next| next.rung) {
            Rung::Normal | Rung::Seldom | Rung::Small => self.rise_ticks,
            Rung::Slower | Rung::Queue | Rung::Refuse => self.slow_rise_ticks,
        }
    }

    const fn calm_needed(&self) -> u32 {
        self.calm_ticks << self.doublings
    }

    fn rise(&mut self) {
        // A step up so soon after a step down: that one was too early.
        if self.since_fall < 2 * self.calm_needed() {
            self.doublings = (self.doublings + 1).min(LOAD_CALM_DOUBLINGS_MAX);
        }
        self.go(self.place + 1);
    }

    fn fall(&mut self) {
        // The last step down has held.
        if self.since_fall >= 2 * self.calm_needed() {
            self.doublings = self.doublings.saturating_sub(1);
        }
        self.since_fall = 0;
        self.go(self.place - 1);
    }

    fn go(&mut self, place: usize) {
        let before = self.step().stretch_permille;
        self.place = place;
        let after = self.step().stretch_permille;
        self.busy.rescale(before, after);
        self.waited.rescale(before, after);
        (self.strained, self.calm) = (0, 0);
    }
}

fn permille(part: u32, whole: u32) -> u32 {
    let permille = u64::from(part) * 1_000 / u64::from(whole);
    u32::try_from(permille).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
