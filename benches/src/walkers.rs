//! Players on foot: the direction of each, and the ticks at which it turns.

use everhold_core::zone::Scene;
use everhold_protocol::rng::SplitMix64;

/// Ticks per second.
const TICK_HZ: u64 = 20;
/// The longest step in a tick, percent of a direction: 30 cm, which is 6 m/s.
const STEP_PERCENT: i32 = 34;

/// The rate at which players turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turning {
    /// Once a second, each at its own moment, as the simulator's wanderers do.
    Seldom,
    /// In every tick, so that no velocity holds that was sent: the worst case.
    Always,
}

impl Turning {
    /// Returns the end of a bench's name.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Seldom => "",
            Self::Always => "_restless",
        }
    }
}

/// The direction in which each player walks. Each goes back by the way that it came, so that crowds stay as they are
/// however long this goes on.
#[derive(Clone, Debug)]
pub struct Walkers {
    walkers: Vec<Walker>,
    turning: Turning,
    tick: u64,
    random: SplitMix64,
}

#[derive(Clone, Debug)]
struct Walker {
    direction: (i8, i8),
    is_away: bool,
    phase: u64,
}

impl Walkers {
    /// Returns players that all stand.
    #[must_use]
    pub fn new(players: usize, turning: Turning) -> Self {
        let mut random = SplitMix64::new(11);
        let mut standing = |_| Walker {
            direction: (0, 0),
            is_away: false,
            phase: random.below(TICK_HZ),
        };
        Self {
            walkers: (0..players).map(&mut standing).collect(),
            turning,
            tick: 0,
            random,
        }
    }

    /// Advances by a tick: returns the players that turn, by number, and their new direction, each axis in ±89.
    pub fn turn(&mut self) -> Vec<(usize, (i8, i8))> {
        self.tick += 1;
        let mut turned = Vec::with_capacity(self.walkers.len());
        for (player, walker) in self.walkers.iter_mut().enumerate() {
            let is_due = match self.turning {
                Turning::Always => true,
                Turning::Seldom => (self.tick + walker.phase).is_multiple_of(TICK_HZ),
            };
            if !is_due {
                continue;
            }
            walker.direction = if walker.is_away {
                (-walker.direction.0, -walker.direction.1)
            } else {
                let bits = self.random.draw();
                let axis = |bits: u64| ((bits & 0xFFFF) % 179) as i8;
                (axis(bits).wrapping_sub(89), axis(bits >> 32).wrapping_sub(89))
            };
            walker.is_away = !walker.is_away;
            turned.push((player, walker.direction));
        }
        turned
    }

    /// Advances by a tick: each player of the scene takes a step.
    pub fn walk(&mut self, scene: &mut Scene) {
        self.turn();
        let rows = scene.entities.iter_mut().zip(&mut scene.sessions);
        for ((entity, session), walker) in rows.zip(&self.walkers) {
            entity.x += i32::from(walker.direction.0) * STEP_PERCENT / 100;
            entity.y += i32::from(walker.direction.1) * STEP_PERCENT / 100;
            (session.x, session.y) = (entity.x, entity.y);
        }
    }
}
