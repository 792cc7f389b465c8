//! Walking: a step of one tick, within bounds, along obstacles and never through them.

use everhold_protocol::Heading;

use super::geometry::Point;
use super::map::ZoneMap;

/// Full speed in a heading's units.
const HEADING_FULL: i32 = 127;

/// Returns the place of a walker after one tick in this heading. `step_cm` is full speed, cm per tick.
///
/// The two axes are walked one after the other, so that a wall stops one and lets the other slide.
#[must_use]
pub fn walk(map: &ZoneMap, from: Point, heading: Heading, step_cm: i32) -> Point {
    let (dx, dy) = (
        i32::from(heading.dx()) * step_cm / HEADING_FULL,
        i32::from(heading.dy()) * step_cm / HEADING_FULL,
    );
    let near = map.obstacles_near(from);
    let mut at = from;
    at.x = slide(
        at.x,
        dx,
        near.clone()
            .filter(|o| o.south < from.y && from.y < o.north)
            .map(|o| (o.west, o.east)),
    );
    let x = at.x;
    at.y = slide(
        at.y,
        dy,
        near.filter(|o| o.west < x && x < o.east).map(|o| (o.south, o.north)),
    );
    map.clamp(at)
}

/// Moves along one axis until the first closed interval. The whole way is swept, so no speed is too fast for a thin
/// wall.
fn slide(from: i32, by: i32, walls: impl Iterator<Item = (i32, i32)>) -> i32 {
    walls.fold(from + by, |to, (low, high)| {
        if from <= low && low < to {
            low
        } else if to < high && high <= from {
            high
        } else {
            to
        }
    })
}

/// The heading at full speed from one point towards another; standing still if they are the same.
#[must_use]
pub fn towards(from: Point, to: Point) -> Heading {
    let (dx, dy) = (i64::from(to.x) - i64::from(from.x), i64::from(to.y) - i64::from(from.y));
    // Rounded up, so that the quotients never make a heading longer than full speed.
    let length = (from.distance2(to).unsigned_abs().isqrt() + 1) as i64;
    let axis = |d: i64| (d * i64::from(HEADING_FULL) / length) as i8;
    Heading::new(axis(dx), axis(dy)).unwrap_or(Heading::STILL)
}

/// One of eight headings at full speed, or standing still, by 64 random bits.
#[must_use]
pub fn stroll(bits: u64) -> Heading {
    const WAYS: [(i8, i8); 9] = [
        (0, 0),
        (127, 0),
        (89, 89),
        (0, 127),
        (-89, 89),
        (-127, 0),
        (-89, -89),
        (0, -127),
        (89, -89),
    ];
    let (dx, dy) = WAYS[super::chance::below(bits, WAYS.len() as u64) as usize];
    Heading::new(dx, dy).unwrap_or(Heading::STILL)
}

#[cfg(test)]
mod tests {
    use super::super::book::RuleBook;
    use super::*;
    use proptest::prelude::*;

    fn walled() -> ZoneMap {
        let text = "name = 'hall'\nnumber = 1\nwidth_cm = 1000\nheight_cm = 1000\nspawns = [[0, 0]]\n\
                    items_at_start = 0\nitems_max = 0\nobstacles = [[400, 400, 600, 600]]";
        ZoneMap::new(toml::from_str(text).unwrap()).unwrap()
    }

    fn heading(dx: i8, dy: i8) -> Heading {
        Heading::new(dx, dy).unwrap()
    }

    #[test]
    fn full_speed_covers_exactly_one_step() {
        let at = walk(&walled(), Point { x: 100, y: 100 }, heading(127, 0), 25);
        assert_eq!(at, Point { x: 125, y: 100 });
    }

    #[test]
    fn border_stops_a_walker() {
        let at = walk(&walled(), Point { x: 5, y: 990 }, heading(-89, 89), 25);
        assert_eq!(at, Point { x: 0, y: 1000 });
    }

    #[test]
    fn wall_stops_a_walker_who_heads_straight_for_it() {
        let at = walk(&walled(), Point { x: 390, y: 500 }, heading(127, 0), 25);
        assert_eq!(at, Point { x: 400, y: 500 });
    }

    #[test]
    fn walker_slides_along_a_wall() {
        let at = walk(&walled(), Point { x: 400, y: 500 }, heading(89, 89), 25);
        assert_eq!(at, Point { x: 400, y: 517 });
    }

    #[test]
    fn thin_wall_cannot_be_leapt() {
        let at = walk(&walled(), Point { x: 380, y: 500 }, heading(127, 0), 1_000);
        assert_eq!(at.x, 400);
    }

    #[test]
    fn default_world_has_room_at_every_spawn() {
        let book = RuleBook::default_world();
        for zone in book.zones() {
            let map = book.zone(zone).unwrap();
            assert!((0..50).all(|bits| map.is_free(map.spawn_point(bits << 57))));
            assert!((0..500u64).all(|n| map.is_free(map.any_place(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))));
        }
    }

    proptest! {
        #[test]
        fn nobody_ever_enters_a_wall_or_leaves_the_zone(
            x in 0..=1000i32,
            y in 0..=1000i32,
            step in 1..=1000i32,
            ways in prop::collection::vec((-89..=89i8, -89..=89i8), 1..60),
        ) {
            let map = walled();
            let mut at = Point { x, y };
            prop_assume!(map.is_free(at));
            for (dx, dy) in ways {
                at = walk(&map, at, heading(dx, dy), step);
                prop_assert!(map.is_free(at), "{at:?}");
            }
        }

        #[test]
        fn heading_towards_a_point_brings_one_nearer(x in 0..=9000i32, y in 0..=9000i32) {
            let (from, to) = (Point { x: 4000, y: 4000 }, Point { x, y });
            prop_assume!(from.distance2(to) > 10_000);
            let way = towards(from, to);
            let next = Point { x: from.x + i32::from(way.dx()) * 25 / 127, y: from.y + i32::from(way.dy()) * 25 / 127 };
            prop_assert!(next.distance2(to) < from.distance2(to));
        }
    }
}
