//! Blows: whether a strike reaches its target now, and how many hit points it leaves.

use everhold_protocol::Tick;

use super::geometry::Point;

/// The outcome of a blow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// This many hit points are left, at least one.
    Hurt(u16),
    /// None is left.
    Killed,
}

/// Takes `damage` from `hp`.
#[must_use]
pub fn blow(hp: u16, damage: u16) -> Blow {
    match hp.saturating_sub(damage) {
        0 => Blow::Killed,
        left => Blow::Hurt(left),
    }
}

/// Whether somebody who may strike again from `ready` on reaches the target now.
#[must_use]
pub fn may_strike(now: Tick, ready: Tick, from: Point, target: Point, range_cm: i32) -> bool {
    now >= ready && from.reaches(target, range_cm)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Point = Point { x: 0, y: 0 };
    const NEAR: Point = Point { x: 200, y: 0 };

    #[test]
    fn blow_that_takes_the_last_hit_point_kills() {
        assert_eq!(blow(20, 19), Blow::Hurt(1));
        assert_eq!(blow(20, 20), Blow::Killed);
        assert_eq!(blow(20, 30), Blow::Killed);
    }

    #[test]
    fn strike_waits_for_its_cooldown() {
        assert!(!may_strike(Tick(9), Tick(10), HERE, NEAR, 250));
        assert!(may_strike(Tick(10), Tick(10), HERE, NEAR, 250));
    }

    #[test]
    fn strike_ends_at_its_range() {
        assert!(may_strike(Tick(10), Tick(0), HERE, NEAR, 200));
        assert!(!may_strike(Tick(10), Tick(0), HERE, NEAR, 199));
    }
}
