//! The state that the game keeps from one tick to the next, declared once: places, conditions, and belongings.
//!
//! Kinds and the order of fields are the layout of captures: a change raises [`crate::limits::STATE_LAYOUT`]. Engine
//! and game number their kinds together, so that none is used twice: the engine's are in [`crate::zone::state`].

use std::collections::BTreeSet;

use everhold_protocol::{EntityId, Heading, Item, Tick};

use super::rules::Point;
use crate::zone::declare::state;
use crate::zone::shared::Shared;

state! {
    components {
        /// The place of an entity.
        1 Everyone Body {
            /// East, cm.
            x: i32,
            /// North, cm.
            y: i32,
        }
        /// The direction in which a walker goes, until it is told otherwise.
        2 Everyone Course {
            /// The heading.
            heading: Heading,
        }
        /// Hit points.
        3 Everyone Health {
            /// Now; zero is dead.
            hp: u16,
            /// Full hit points, at least 1.
            max: u16,
        }
        /// The gold and the items of a player. Only [`super::value`] changes it, and tells the owner each time.
        4 Owner Belongings {
            /// The purse.
            gold: u64,
            /// The inventory, in order of uid.
            items: Shared<Vec<Item>>,
        }
        /// The ticks from which a player may act again.
        8 Owner Readiness {
            /// It may strike from this tick on.
            strike: Tick,
            /// It may say a line of chat from this tick on.
            chat: Tick,
        }
        /// A dead player. Its course is kept, not followed.
        9 Everyone Downed {
            /// Lives again at this tick.
            until: Tick,
        }
        /// The home of a monster, and its aim.
        11 Nobody Mind {
            /// The camp where it lives: an index into the zone's camps.
            camp: u16,
            /// The player that it chases.
            prey: Option<EntityId>,
            /// It may bite from this tick on.
            bite: Tick,
        }
        /// An item on the ground. Its uid is the entity's id.
        12 Everyone Lying {
            /// The kind: an index into the world's item kinds.
            kind: u16,
        }
    }
    resources {
        /// The monsters and items that will come into being.
        6 Nobody Due {
            /// Each camp that lost its monster, with the tick at which it gets another.
            monsters: BTreeSet<(Tick, u16)>,
            /// The tick from which the next item may appear.
            item: Tick,
        }
    }
}

impl Body {
    /// The place as a point.
    #[must_use]
    pub fn point(&self) -> Point {
        Point { x: self.x, y: self.y }
    }
}

impl From<Point> for Body {
    fn from(point: Point) -> Self {
        Self { x: point.x, y: point.y }
    }
}
