//! The behaviour of simulated players. A [`Decider`] sees the client machine's mirror and nothing else; it reads no
//! clock and does no I/O.
//!
//! Deciders hold their heading: a player that goes straight asks for nothing, as a person with a key held down. What
//! they want to do is decided by countdowns in frames and by a seeded generator, so a player with the same seed that
//! sees the same does the same.

pub(crate) mod chat;
mod sight;
#[cfg(test)]
mod tests;

use everhold_protocol::client::Mirror;
use everhold_protocol::{EntityId, EntityKind, Heading, Intent};
use serde::Serialize;

pub use self::sight::Spot;

use self::sight::EntityQuery;
use crate::rng::Rng;

/// Two strikes are further apart than this, and so are two other deeds, in frames: within any cooldown that a game has.
const DEED_FRAMES: (u32, u32) = (8, 16);
/// Between two turns, frames: about a second.
const TURN_FRAMES: (u32, u32) = (14, 26);
/// Between two gifts of a trader, frames: 2 to 3 s.
const GIFT_FRAMES: (u32, u32) = (40, 60);
/// One player says something once in so many frames, 300 s: 300 players make one line a second, and each line goes to a
/// whole zone.
const CHAT_FRAMES: u32 = 6_000;
/// Distance within which a player tries to take or hit a thing, cm. Trying from a little too far is part of playing.
const REACH_CM: i64 = 280;
/// Distance within which a player gives something to another, cm.
const GIFT_REACH_CM: i64 = 280;
/// A crowd mills around within this distance of its spot, cm: some steps, so that thousands see each other.
const MILL_CM: i64 = 2_000;
/// The most gold of one gift.
const GIFT_GOLD_MAX: u32 = 5;

/// The behaviour of a player.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Behavior {
    /// Goes about, fights, picks things up.
    #[default]
    Wander,
    /// Seeks company, and gives gold and things away.
    Trade,
    /// Goes to one spot, and mills around there with all the others: the most that anybody can have around it.
    Crowd,
    /// A crowd whose members strike at the player next to them.
    Fight,
}

/// Error of a text that is not the name of a behaviour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a behavior is `wander`, `trade`, `crowd`, or `fight`, not {0:?}")]
pub struct BehaviorError(String);

impl std::str::FromStr for Behavior {
    type Err = BehaviorError;

    fn from_str(text: &str) -> Result<Self, BehaviorError> {
        match text {
            "wander" => Ok(Self::Wander),
            "trade" => Ok(Self::Trade),
            "crowd" => Ok(Self::Crowd),
            "fight" => Ok(Self::Fight),
            _ => Err(BehaviorError(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Behavior {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wander => "wander",
            Self::Trade => "trade",
            Self::Crowd => "crowd",
            Self::Fight => "fight",
        })
    }
}

/// Decides what one player does, frame by frame.
#[derive(Debug)]
pub struct Decider {
    behavior: Behavior,
    spot: Spot,
    rng: Rng,
    heading: Heading,
    turn_in: u32,
    deed_in: u32,
    gift_in: u32,
    lines_said: u32,
}

impl Decider {
    /// Makes the decider of player `player` in a swarm of `seed`.
    #[must_use]
    pub fn new(behavior: Behavior, seed: u64, player: u32) -> Self {
        let mut rng = Rng::new(seed, u64::from(player));
        let (turn_in, deed_in, gift_in) = (
            rng.below(TURN_FRAMES.1),
            rng.below(DEED_FRAMES.1),
            rng.below(GIFT_FRAMES.1),
        );
        Self {
            behavior,
            spot: Spot::default(),
            rng,
            heading: Heading::STILL,
            turn_in,
            deed_in,
            gift_in,
            lines_said: 0,
        }
    }

    /// Returns the same decider, with its crowd at `spot`.
    #[must_use]
    pub fn bound_for(self, spot: Spot) -> Self {
        Self { spot, ..self }
    }

    /// Decides what the player wants in this frame, if anything. Called once a frame. Gifts go only to those that are
    /// players of the same swarm by `is_friend`: of others it is not known whether they got them.
    pub fn decide(&mut self, mirror: &Mirror, is_friend: &dyn Fn(EntityId) -> bool) -> Option<Intent> {
        self.turn_in = self.turn_in.saturating_sub(1);
        self.deed_in = self.deed_in.saturating_sub(1);
        self.gift_in = self.gift_in.saturating_sub(1);
        if mirror.own.hp == 0 {
            return None;
        }
        if self.rng.one_in(CHAT_FRAMES) {
            self.lines_said += 1;
            return Some(Intent::Say(chat::line(self.lines_said)));
        }
        if self.behavior == Behavior::Trade && self.gift_in == 0 {
            self.gift_in = self.rng.between(GIFT_FRAMES.0, GIFT_FRAMES.1);
            if let Some(gift) = self.gift(EntityQuery::of(mirror).among(is_friend), mirror) {
                return Some(gift);
            }
        }
        if self.deed_in == 0 {
            self.deed_in = self.rng.between(DEED_FRAMES.0, DEED_FRAMES.1);
            if let Some(deed) = self.deed(mirror) {
                return Some(deed);
            }
        }
        if self.turn_in == 0 {
            self.turn_in = self.rng.between(TURN_FRAMES.0, TURN_FRAMES.1);
            return self.turn(mirror, is_friend);
        }
        None
    }

    /// Takes what lies near; else hits a monster, and now and then a player. In a crowd it does nothing but stand in
    /// the way, in a fight it hits the nearest player.
    fn deed(&mut self, mirror: &Mirror) -> Option<Intent> {
        let within = EntityQuery::of(mirror).within(REACH_CM);
        match self.behavior {
            Behavior::Crowd => return None,
            Behavior::Fight => {
                let target = within.nearest(EntityKind::Player)?.id;
                return Some(Intent::Strike { target });
            }
            Behavior::Wander | Behavior::Trade => {}
        }
        if let Some(item) = within.nearest(EntityKind::Item) {
            return Some(Intent::PickUp { item: item.id });
        }
        let prey = match within.nearest(EntityKind::Monster) {
            Some(monster) => Some(monster),
            None if self.behavior == Behavior::Wander && self.rng.one_in(8) => within.nearest(EntityKind::Player),
            None => None,
        };
        prey.map(|prey| Intent::Strike { target: prey.id })
    }

    /// Gold to the nearest friend, or one time in three a thing.
    fn gift(&mut self, friends: EntityQuery<'_>, mirror: &Mirror) -> Option<Intent> {
        let to = friends.within(GIFT_REACH_CM).nearest(EntityKind::Player)?.id;
        let things = mirror.own.items.len() as u32;
        if things > 0 && self.rng.one_in(3) {
            let item = mirror.own.items[self.rng.below(things) as usize].uid;
            return Some(Intent::GiveItem { to, item });
        }
        let most = u32::try_from(mirror.own.gold).unwrap_or(u32::MAX).min(GIFT_GOLD_MAX);
        (most > 0).then(|| Intent::GiveGold {
            to,
            amount: u64::from(self.rng.between(1, most)),
        })
    }

    fn turn(&mut self, mirror: &Mirror, is_friend: &dyn Fn(EntityId) -> bool) -> Option<Intent> {
        let near = EntityQuery::of(mirror);
        let goal = match self.behavior {
            // One turn in four is any, to get around what is in the way.
            Behavior::Crowd | Behavior::Fight if !near.is_within(self.spot, MILL_CM) && !self.rng.one_in(4) => {
                Some(self.spot)
            }
            Behavior::Trade if !self.rng.one_in(4) => near.among(is_friend).nearest(EntityKind::Player).map(Spot::of),
            Behavior::Wander if self.rng.one_in(3) => near.nearest(EntityKind::Item).map(Spot::of),
            Behavior::Wander if self.rng.one_in(2) => near.nearest(EntityKind::Monster).map(Spot::of),
            _ => None,
        };
        let heading = goal
            .and_then(|goal| near.heading_to(goal))
            .unwrap_or_else(|| self.any_heading());
        if heading == self.heading {
            return None;
        }
        self.heading = heading;
        Some(Intent::Move(heading))
    }

    /// A direction at some speed, more often forward than back: who only dithers never meets anybody. One time in ten,
    /// a rest.
    fn any_heading(&mut self) -> Heading {
        if self.rng.one_in(10) {
            return Heading::STILL;
        }
        let first = self.draw_heading();
        if is_back(self.heading, first) {
            self.draw_heading()
        } else {
            first
        }
    }

    fn draw_heading(&mut self) -> Heading {
        loop {
            let mut axis = || self.rng.below(255) as i32 - 127;
            if let Ok(heading) = Heading::new(axis() as i8, axis() as i8) {
                return heading;
            }
        }
    }
}

/// Whether two headings are more than a right angle apart.
fn is_back(from: Heading, to: Heading) -> bool {
    i32::from(from.dx()) * i32::from(to.dx()) + i32::from(from.dy()) * i32::from(to.dy()) < 0
}
