//! What a mind makes out of a mirror: distances, nearest things, directions. Integers only.

use everhold_protocol::client::Mirror;
use everhold_protocol::{EntityKind, EntityView, Heading};

/// A look from a player's own place, up to a distance.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    mirror: &'a Mirror,
    square_max: i64,
}

impl<'a> Sight<'a> {
    pub(super) fn of(mirror: &'a Mirror) -> Self {
        Self {
            mirror,
            square_max: i64::MAX,
        }
    }

    /// Only what is at most `cm` away.
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
            .filter(|entity| entity.kind == kind && entity.health > 0);
        let near = near
            .map(|entity| (self.square(&entity), entity))
            .filter(|(square, _)| *square <= self.square_max);
        near.min_by_key(|(square, entity)| (*square, entity.id))
            .map(|(_, entity)| entity)
    }

    /// Straight towards it at full speed; `None` on the spot.
    pub(super) fn heading_to(self, entity: &EntityView) -> Option<Heading> {
        let (dx, dy) = self.offset(entity);
        let length = (dx * dx + dy * dy).isqrt();
        if length == 0 {
            return None;
        }
        // `length` is rounded down, so an axis may come out as much as one square too long: 126 leaves room for it.
        let axis = |d: i64| (d * 126 / length).clamp(-126, 126) as i8;
        Heading::new(axis(dx), axis(dy)).ok()
    }

    fn square(self, entity: &EntityView) -> i64 {
        let (dx, dy) = self.offset(entity);
        dx * dx + dy * dy
    }

    fn offset(self, entity: &EntityView) -> (i64, i64) {
        let own = &self.mirror.own;
        (
            i64::from(entity.x) - i64::from(own.x),
            i64::from(entity.y) - i64::from(own.y),
        )
    }
}
