//! The sight of a decider, read from a mirror: distances, nearest things, directions. Integers only.

use everhold_protocol::client::Mirror;
use everhold_protocol::{EntityId, EntityKind, EntityView, Heading};
use serde::Serialize;

/// A place in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// Distance from the west, cm.
    pub x: i32,
    /// Distance from the south, cm.
    pub y: i32,
}

impl Spot {
    /// Returns the place of an entity.
    pub(super) fn of(entity: EntityView) -> Self {
        let EntityView { x, y, .. } = entity;
        Self { x, y }
    }
}

impl Default for Spot {
    /// The middle of every zone that comes with the server.
    fn default() -> Self {
        Self { x: 30_000, y: 30_000 }
    }
}

impl std::str::FromStr for Spot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let axes = text.split_once(',').map(|(x, y)| (x.trim().parse(), y.trim().parse()));
        match axes {
            Some((Ok(x), Ok(y))) => Ok(Self { x, y }),
            _ => Err(format!(
                "a spot is two numbers of cm, from the west and from the south, such as 30000,30000; not {text:?}"
            )),
        }
    }
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.x, self.y)
    }
}

/// A query for entities around a player's own place, up to a distance.
#[derive(Clone, Copy)]
pub(super) struct EntityQuery<'a> {
    mirror: &'a Mirror,
    /// The entities that it considers; `None`: all.
    only: Option<&'a dyn Fn(EntityId) -> bool>,
    square_max: i64,
}

impl<'a> EntityQuery<'a> {
    pub(super) fn of(mirror: &'a Mirror) -> Self {
        Self {
            mirror,
            only: None,
            square_max: i64::MAX,
        }
    }

    /// Restricts the query to the entities of which `only` says so.
    pub(super) fn among(self, only: &'a dyn Fn(EntityId) -> bool) -> Self {
        Self {
            only: Some(only),
            ..self
        }
    }

    /// Restricts the query to what is at most `cm` away.
    pub(super) fn within(self, cm: i64) -> Self {
        Self {
            square_max: cm * cm,
            ..self
        }
    }

    /// The nearest of a kind that lives; the lower id of equals.
    pub(super) fn nearest(self, kind: EntityKind) -> Option<EntityView> {
        let near = self
            .mirror
            .entities()
            .filter(|entity| entity.kind == kind && entity.health > 0)
            .filter(|entity| self.only.is_none_or(|only| only(entity.id)));
        let near = near
            .map(|entity| (self.square(Spot::of(entity)), entity))
            .filter(|(square, _)| *square <= self.square_max);
        near.min_by_key(|(square, entity)| (*square, entity.id))
            .map(|(_, entity)| entity)
    }

    /// Straight towards it at full speed; `None` on the spot.
    pub(super) fn heading_to(self, spot: Spot) -> Option<Heading> {
        let (dx, dy) = self.offset(spot);
        let length = (dx * dx + dy * dy).isqrt();
        if length == 0 {
            return None;
        }
        // `length` is rounded down, so an axis may come out as much as one square too long: 126 leaves room for it.
        let axis = |d: i64| (d * 126 / length).clamp(-126, 126) as i8;
        Heading::new(axis(dx), axis(dy)).ok()
    }

    /// Whether a place is no further than that.
    pub(super) fn is_within(self, spot: Spot, cm: i64) -> bool {
        self.square(spot) <= cm * cm
    }

    fn square(self, spot: Spot) -> i64 {
        let (dx, dy) = self.offset(spot);
        dx * dx + dy * dy
    }

    fn offset(self, spot: Spot) -> (i64, i64) {
        let own = &self.mirror.own;
        (
            i64::from(spot.x) - i64::from(own.x),
            i64::from(spot.y) - i64::from(own.y),
        )
    }
}
