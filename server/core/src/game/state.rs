//! What the game remembers from one tick to the next, declared once: where things are, how they are, and what they
//! have.
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
        /// Where an entity is.
        1 Everyone Body {
            /// East, cm.
            x: i32,
            /// North, cm.
            y: i32,
        }
        /// Where a walker is heading, until it is told otherwise.
        2 Everyone Course {
            /// The heading.
            heading: Heading,
        }
        /// Hit points.
        3 Everyone Health {
            /// Now; zero is dead.
            hp: u16,
            /// Whole.
            max: u16,
        }
        /// What a player owns. Only [`super::value`] changes it, and tells the owner each time.
        4 Owner Belongings {
            /// The purse.
            gold: u64,
            /// The inventory, in order of uid.
            items: Shared<Vec<Item>>,
        }
        /// When a player may act again.
        8 Owner Readiness {
            /// From this tick on a strike.
            strike: Tick,
            /// From this tick on a line of chat.
            chat: Tick,
        }
        /// A dead player. Its course is kept, not followed.
        9 Everyone Downed {
            /// Lives again at this tick.
            until: Tick,
        }
        /// What a monster is up to.
        11 Nobody Mind {
            /// Where it lives: an index into the zone's camps.
            camp: u16,
            /// Whom it chases.
            prey: Option<EntityId>,
            /// From this tick on it may bite.
            bite: Tick,
        }
        /// An item on the ground. Its uid is the entity's id.
        12 Everyone Lying {
            /// What it is.
            kind: u16,
        }
    }
    resources {
        /// What will come into being.
        6 Nobody Due {
            /// When which camp gets its monster back.
            monsters: BTreeSet<(Tick, u16)>,
            /// When the next item may appear.
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
