//! Points and rectangles in whole centimetres.

use serde::{Deserialize, Serialize};

/// A place: east and north of the zone's south-west corner, cm. Written `[x, y]` in assets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(i32, i32)", into = "(i32, i32)")]
pub struct Point {
    /// East, cm.
    pub x: i32,
    /// North, cm.
    pub y: i32,
}

impl From<(i32, i32)> for Point {
    fn from((x, y): (i32, i32)) -> Self {
        Self { x, y }
    }
}

impl From<Point> for (i32, i32) {
    fn from(point: Point) -> Self {
        (point.x, point.y)
    }
}

impl Point {
    /// The squared distance, cm². It cannot overflow: a zone is at most [`super::map::SIDE_CM_MAX`] wide.
    #[must_use]
    pub fn distance2(self, other: Self) -> i64 {
        let (dx, dy) = (
            i64::from(self.x) - i64::from(other.x),
            i64::from(self.y) - i64::from(other.y),
        );
        dx * dx + dy * dy
    }

    /// Whether `other` is at most `range_cm` away.
    #[must_use]
    pub fn reaches(self, other: Self, range_cm: i32) -> bool {
        self.distance2(other) <= i64::from(range_cm) * i64::from(range_cm)
    }
}

/// An obstacle. Its inside is closed to everybody; its edge is not. Written `[west, south, east, north]` in assets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(i32, i32, i32, i32)", into = "(i32, i32, i32, i32)")]
pub struct Rect {
    /// Least x, cm.
    pub west: i32,
    /// Least y, cm.
    pub south: i32,
    /// Greatest x, cm.
    pub east: i32,
    /// Greatest y, cm.
    pub north: i32,
}

impl From<(i32, i32, i32, i32)> for Rect {
    fn from((west, south, east, north): (i32, i32, i32, i32)) -> Self {
        Self {
            west,
            south,
            east,
            north,
        }
    }
}

impl From<Rect> for (i32, i32, i32, i32) {
    fn from(rect: Rect) -> Self {
        (rect.west, rect.south, rect.east, rect.north)
    }
}

impl Rect {
    /// Whether the point is inside, the edge excluded.
    #[must_use]
    pub fn encloses(self, point: Point) -> bool {
        self.west < point.x && point.x < self.east && self.south < point.y && point.y < self.north
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reach_includes_its_limit_and_nothing_beyond() {
        let origin = Point { x: 0, y: 0 };
        assert!(origin.reaches(Point { x: 30, y: 40 }, 50));
        assert!(!origin.reaches(Point { x: 30, y: 41 }, 50));
    }

    #[test]
    fn edge_of_an_obstacle_is_not_its_inside() {
        let wall = Rect {
            west: 0,
            south: 0,
            east: 10,
            north: 10,
        };
        assert!(wall.encloses(Point { x: 1, y: 9 }));
        assert!(!wall.encloses(Point { x: 0, y: 5 }));
        assert!(!wall.encloses(Point { x: 5, y: 10 }));
    }
}
