//! Interest decides whom each viewer sees: the nearest within a radius, up to a budget. It encodes nothing, opens no socket, and
//! reads no clock.
//!
//! Once a tick [`Interest::rebuild`] sorts the scene into a uniform `grid` by counting; then every viewer is looked up in it:
//!
//! * **Few candidates** (the cells that its circle touches hold at most five budgets): one exact distance filter over
//!   a handful of contiguous rows, and a selection only if more are visible than the budget holds.
//! * **A crowd**: cells that hold many are split into quarters, down to a 32nd of the radius, and searched nearest first
//!   (`crowd`). The cost follows the budget, not the crowd.
//!
//! What is seen is exactly the first `budget` by (distance, id), with one exception. A smallest square (2.56 m at a radius of 100 m)
//! that alone holds more than the budget takes part with a window of `budget` ids that moves on by that many each tick: within an
//! arm's reach distance says nothing about importance, so that all who stand there take turns instead of the same few being shown
//! for ever. The window depends on the tick, the ids, and the square alone.
//!
//! All arithmetic is in integers, and nothing depends on the order in which a scene lists its entities.

mod crowd;
mod grid;
mod lanes;
#[cfg(test)]
mod tests;

use std::ops::{Range, RangeInclusive};

use everhold_protocol::Tick;

use crate::limits::SCENE_ENTITIES_MAX;
use crate::zone::Scene;
use crowd::Crowds;
use grid::{Grid, Window};
use lanes::LANES;

/// Candidates, in budgets, up to which filtering them all is cheaper than searching. Found by measuring.
const FILTER_BUDGETS: usize = 5;

/// How far and how much a viewer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Entities at most this far away are visible, cm; see [`Reach::RADIUS_CM`] for what is allowed.
    pub radius_cm: i32,
    /// At most this many of them are shown.
    pub budget: usize,
}

impl Reach {
    /// Radii that a [`Reach`] may have. The lower end keeps the smallest square above one centimetre; the upper one keeps a squared
    /// distance within the 30 bits that a sort key has for it.
    pub const RADIUS_CM: RangeInclusive<i32> = 64..=32_767;
}

/// One who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// Its index in [`Scene::sessions`].
    pub session: usize,
    /// Its own entity's place in grid order, which it does not see. `None`: it has no visible entity.
    own: Option<u32>,
    /// East, cm.
    x: i32,
    /// North, cm.
    y: i32,
}

impl Viewer {
    /// The squared distance to an entity of a cell that this viewer's circle touches.
    #[inline]
    fn distance_squared(&self, x: i32, y: i32) -> u64 {
        // Such an entity is at most a radius and a cell away, so that nothing wraps whatever the map.
        let (dx, dy) = (i64::from(x) - i64::from(self.x), i64::from(y) - i64::from(self.y));
        dx.wrapping_mul(dx).wrapping_add(dy.wrapping_mul(dy)).cast_unsigned()
    }
}

/// What one viewer sees, and the memory to find it in; reused from viewer to viewer.
#[derive(Debug, Default)]
pub struct Sight {
    /// Places of those within reach; behind `len` there is garbage, so that a filter can write without branching.
    places: Vec<u32>,
    len: usize,
    /// One for each candidate that is within reach, zero for the others.
    marks: Vec<u8>,
    /// Keys of those among whom the nearest are to be chosen.
    keys: Vec<u64>,
    frontier: std::collections::BinaryHeap<std::cmp::Reverse<u64>>,
}

/// A key packs what entities are ordered by, and where they are: squared distance (30 bits), rank of the id (17), place (17).
const PLACE_BITS: u32 = 17;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
const DISTANCE_SHIFT: u32 = 2 * PLACE_BITS;
const _: () = assert!(SCENE_ENTITIES_MAX <= 1 << PLACE_BITS);
const _: () = assert!((*Reach::RADIUS_CM.end() as i64).pow(2) < 1 << (u64::BITS - DISTANCE_SHIFT));

impl Sight {
    /// Places in grid order of the seen entities. Which ones they are is exact; their order says nothing.
    #[must_use]
    pub fn places(&self) -> &[u32] {
        &self.places[..self.len]
    }

    /// Makes room for `more` places behind the present ones, and for the lanes that a filter writes beyond them.
    fn reserve(&mut self, more: usize) {
        let end = self.len + more + LANES;
        if self.places.len() < end {
            self.places.resize(end, 0);
            self.marks.resize(end, 0);
        }
    }

    /// Moves the places found so far to the keys.
    fn key_places(&mut self, grid: &Grid, viewer: &Viewer) {
        self.keys.extend(
            self.places[..self.len]
                .iter()
                .map(|&place| grid.key(place as usize, viewer)),
        );
        self.len = 0;
    }

    /// Makes the `count` first of the keys by (distance, id), or all if there are not more, what is seen.
    fn see_nearest(&mut self, count: usize) {
        if self.keys.len() > count {
            self.keys.select_nth_unstable(count);
            self.keys.truncate(count);
        }
        self.len = 0;
        let count = self.keys.len();
        self.reserve(count);
        for (place, key) in self.places.iter_mut().zip(&self.keys) {
            *place = (key & PLACE_MASK) as u32;
        }
        self.len = count;
    }
}

/// The scene of one tick, sorted by place.
#[derive(Debug)]
pub struct Interest {
    reach: Reach,
    grid: Grid,
    crowds: Crowds,
    viewers: Vec<Viewer>,
}

impl Interest {
    /// # Panics
    /// If the radius is outside [`Reach::RADIUS_CM`] or the budget is zero: both come from checked configuration.
    #[must_use]
    pub fn new(reach: Reach) -> Self {
        assert!(
            Reach::RADIUS_CM.contains(&reach.radius_cm),
            "a view's radius is {:?} cm",
            Reach::RADIUS_CM
        );
        assert!(reach.budget > 0, "a view has room for an entity");
        Self {
            reach,
            grid: Grid::default(),
            crowds: Crowds::default(),
            viewers: Vec::new(),
        }
    }

    /// Sorts a tick's scene into the grid.
    ///
    /// # Panics
    /// If the scene holds more than [`SCENE_ENTITIES_MAX`] entities, which the rules rule out.
    pub fn rebuild(&mut self, scene: &Scene) {
        let radius = self.reach.radius_cm.unsigned_abs();
        self.grid.rebuild(&scene.entities, radius);
        self.crowds
            .rebuild(&mut self.grid, (radius / 32).ilog2(), self.reach.budget);
        self.grid.place_viewers(&scene.sessions, &mut self.viewers);
    }

    /// For each place in grid order, the entity's index in [`Scene::entities`].
    #[must_use]
    pub fn order(&self) -> &[u32] {
        self.grid.order()
    }

    /// All viewers of the scene, neighbours after neighbours.
    #[must_use]
    pub fn viewers(&self) -> &[Viewer] {
        &self.viewers
    }

    /// Finds what a viewer of this scene sees.
    pub fn look(&self, viewer: &Viewer, tick: Tick, sight: &mut Sight) {
        sight.len = 0;
        sight.keys.clear();
        let Some(window) = self.grid.window(viewer.x, viewer.y, self.reach.radius_cm) else {
            return;
        };
        if !self.filter_window(viewer, &window, sight) {
            self.search(viewer, &window, tick, sight);
        } else if sight.len <= self.reach.budget {
            return;
        } else {
            sight.key_places(&self.grid, viewer);
        }
        sight.see_nearest(self.reach.budget);
    }

    /// Finds all within reach, unless there are so many candidates, or a stack among them, that a search must choose.
    fn filter_window(&self, viewer: &Viewer, window: &Window, sight: &mut Sight) -> bool {
        let mut room = FILTER_BUDGETS * self.reach.budget;
        sight.reserve(room);
        for row in window.rows() {
            let range = self.grid.row(window, row);
            if range.len() > room {
                sight.len = 0;
                return false;
            }
            room -= range.len();
            self.filter_others(range, viewer, self.radius_squared(), sight);
        }
        let whole = !self.crowds.stack_within(&self.grid, window);
        if !whole {
            sight.len = 0;
        }
        whole
    }

    /// Adds those of `range` to the sight that are within the distance, the viewer excepted. The sight has room for the whole range.
    #[inline]
    fn filter_others(&self, mut range: Range<usize>, viewer: &Viewer, limit: u64, sight: &mut Sight) {
        let own = viewer.own.map(|place| place as usize);
        if let Some(own) = own.filter(|place| range.contains(place)) {
            self.grid.filter(range.start..own, viewer, limit, sight);
            range.start = own + 1;
        }
        self.grid.filter(range, viewer, limit, sight);
    }

    fn radius_squared(&self) -> u64 {
        u64::from(self.reach.radius_cm.unsigned_abs()).pow(2)
    }
}
