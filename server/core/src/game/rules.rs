//! The game, as numbers and pure functions on values. It knows no ECS, no session, and no order of systems: those are
//! the zone's.

pub mod book;
pub mod chance;
pub mod combat;
pub mod error;
pub mod geometry;
pub mod gift;
pub mod map;
pub mod movement;
pub mod tick_rules;
pub mod changes;

pub use book::{RULES_VERSION, RuleBook};
pub use error::RuleError;
pub use geometry::Point;
pub use map::ZoneMap;
pub use tick_rules::TickRules;
