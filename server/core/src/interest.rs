//! Interest selects the entities that each viewer is told of: the nearest within a radius, up to a budget. It encodes
//! nothing, opens no socket, and reads no clock.
//!
//! Once a tick [`Interest::rebuild`] sorts the entities of which there is news into a uniform `grid` by counting.
//! Viewers are grouped by position ([`Viewers`]), and for each group [`Interest::approach`] chooses how to search:
//!
//! * **Few candidates**: they are put side by side (`block`), and each viewer filters them by distance, without
//!   branching (`lanes`).
//! * **Many**: cells that hold many are split into quarters, down to a 32nd of the radius, and searched nearest first
//!   (`crowd`). The cost follows the budget, not the crowd.
//! * **A crowd**: many viewers of many entities. A few steps make no difference to what they see, so neighbours may
//!   share one result.
//!
//! A viewer sees exactly the first `budget` entities by distance, with one exception. A smallest square (2.56 m at a
//! radius of 100 m) that alone holds more than the budget takes part with a window of `budget` entities, another one
//! each tick: within an arm's reach distance says nothing about importance, so all entities there take turns instead of
//! the same few being shown for ever. The window depends on the tick and the square alone.
//!
//! All arithmetic is in integers, and the order in which entities are given decides only between equal distances.

mod block;
mod cells;
mod crowd;
mod grid;
mod lanes;
#[cfg(test)]
mod tests;
mod viewers;

use std::ops::RangeInclusive;

use everhold_protocol::Tick;

pub use viewers::{Group, Viewers};

use crate::limits::SCENE_ENTITIES_MAX;
use block::Block;
use cells::{Square, Window};
use crowd::Crowds;
use grid::Grid;
use lanes::LANES;

/// Candidates, in budgets, up to which filtering them all is cheaper than searching. Found by measuring.
const FILTER_BUDGETS: usize = 5;

/// Candidates of a group up to which each viewer filters them all: side by side they cost a nanosecond each, a search
/// some microseconds.
const BLOCK_CANDIDATES_MAX: usize = 512;

/// Candidates of a group, in budgets, beyond which choosing among them costs more than the rest of a viewer's work.
const CROWD_BUDGETS: usize = 3;

/// Viewers of a group beyond which several stand within a few steps of each other.
const CROWD_VIEWERS: usize = 64;

/// A view's radius and its budget of entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Entities at most this far away are visible, cm; see [`Reach::RADIUS_CM`] for what is allowed.
    pub radius_cm: i32,
    /// The most entities that one viewer is shown.
    pub budget: usize,
}

impl Reach {
    /// Radii that a [`Reach`] may have, cm. The lower end keeps the smallest square above one centimetre; the upper one
    /// keeps a squared distance within the 30 bits of a sort key, and positions within what a record can hold.
    pub const RADIUS_CM: RangeInclusive<i32> = 64..=30_000;
}

/// A position from which a viewer sees, or at which an entity stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Viewpoint {
    /// East, cm.
    pub x: i32,
    /// North, cm.
    pub y: i32,
}

impl Viewpoint {
    /// Returns the squared distance to an entity of a cell that this viewer's circle touches.
    #[inline]
    fn distance_squared(&self, x: i32, y: i32) -> u64 {
        // Such an entity is at most a radius and a cell away, so that nothing wraps whatever the map.
        let (dx, dy) = (i64::from(x) - i64::from(self.x), i64::from(y) - i64::from(self.y));
        dx.wrapping_mul(dx).wrapping_add(dy.wrapping_mul(dy)).cast_unsigned()
    }
}

/// The entities that one viewer sees, and the memory to find them in; reused from viewer to viewer.
#[derive(Debug, Default)]
pub struct VisibleEntities {
    /// Grid places of the entities within reach; behind `len` there is garbage, so that a filter can write without
    /// branching.
    places: Vec<u32>,
    len: usize,
    /// One mark for each candidate: one within reach, else zero.
    marks: Vec<u8>,
    /// Sort keys of the entities among which the nearest are to be chosen.
    keys: Vec<u64>,
    frontier: std::collections::BinaryHeap<std::cmp::Reverse<u64>>,
}

/// A key packs an entity's squared distance (30 bits), rank (17), and place (17), in this order.
const PLACE_BITS: u32 = 17;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
const DISTANCE_SHIFT: u32 = 2 * PLACE_BITS;
const _: () = assert!(SCENE_ENTITIES_MAX <= 1 << PLACE_BITS);
const _: () = assert!((*Reach::RADIUS_CM.end() as i64).pow(2) < 1 << (u64::BITS - DISTANCE_SHIFT));

/// Rings into which candidates are counted; a power of two.
const RINGS: usize = 64;

impl VisibleEntities {
    /// Returns the seen entities' places in grid order. The set is exact; the order of the slice has no meaning.
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
    fn key_places(&mut self, grid: &Grid, viewer: &Viewpoint) {
        self.keys.extend(
            self.places[..self.len]
                .iter()
                .map(|&place| grid.key(place as usize, viewer)),
        );
        self.len = 0;
    }

    /// Keeps the first `count` of the keys by (distance, rank) as what is seen, or all if there are not more. All are
    /// within `limit`.
    ///
    /// Keys are counted by rings of equal area, so that whole rings are taken or left without comparing, and only the
    /// ring in which the count is reached is sorted.
    fn see_nearest(&mut self, count: usize, limit: u64) {
        let keys = self.keys.len();
        self.len = 0;
        self.reserve(keys);
        let shift = DISTANCE_SHIFT + (limit.max(1).ilog2() + 1).saturating_sub(RINGS.ilog2());
        let ring_of = |key: u64| (key >> shift) as usize % RINGS;
        let mut rings = [0_u32; RINGS];
        for &key in &self.keys {
            rings[ring_of(key)] += 1;
        }
        let mut taken = 0;
        let whole = |&(_, &ring): &(usize, &u32)| {
            taken += ring as usize;
            taken > count
        };
        let cut = rings.iter().enumerate().find(whole).map_or(RINGS, |(ring, _)| ring);
        // Everything is written, and only what counts is kept: a branch on it would be mispredicted half of the time.
        let mut on_cut = 0;
        for index in 0..keys {
            let key = self.keys[index];
            let ring = ring_of(key);
            self.places[self.len] = (key & PLACE_MASK) as u32;
            self.len += usize::from(ring < cut);
            self.keys[on_cut] = key;
            on_cut += usize::from(ring == cut);
        }
        let more = count.min(keys) - self.len;
        if more < on_cut {
            self.keys[..on_cut].select_nth_unstable(more);
        }
        for index in 0..more {
            self.places[self.len] = (self.keys[index] & PLACE_MASK) as u32;
            self.len += 1;
        }
    }
}

/// The way in which the viewers of a group search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approach {
    /// No entity is within reach of any of them.
    Nobody,
    /// Few candidates: [`Interest::look_at_few`].
    Few,
    /// Many candidates: [`Interest::look`].
    Many,
    /// As `Many`, but so costly and with so many viewers that neighbours should share one viewer's result.
    Crowd,
}

/// Finds the entities that viewers see: this tick's entities, sorted by position.
#[derive(Debug)]
pub struct Interest {
    reach: Reach,
    grid: Grid,
    crowds: Crowds,
    block: Block,
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
            block: Block::default(),
        }
    }

    /// Sorts entities into the grid. Until the next call at most `budget` of them, and at least one, are shown to each
    /// viewer.
    ///
    /// # Panics
    /// If there are more than [`SCENE_ENTITIES_MAX`] entities, which the rules rule out.
    pub fn rebuild(&mut self, entities: &[Viewpoint], budget: usize) {
        self.reach.budget = budget.max(1);
        let radius = self.reach.radius_cm.unsigned_abs();
        self.grid.rebuild(entities, (radius / 2).ilog2());
        self.crowds
            .rebuild(&mut self.grid, (radius / 32).ilog2(), self.reach.budget);
    }

    /// Returns the index of each entity in the list given to `rebuild`, in grid order.
    #[must_use]
    pub fn order(&self) -> &[u32] {
        self.grid.cells.order()
    }

    /// Chooses how the viewers of a group search, and prepares it.
    pub fn approach(&mut self, group: &Group) -> Approach {
        let Some(window) = self.grid.cells.window(&group.square, self.reach.radius_cm) else {
            return Approach::Nobody;
        };
        let row = |row| self.grid.cells.row(&window, row).len();
        let candidates: usize = window.rows().map(row).sum();
        // Viewers of one group differ by its width, so a candidate may be that much further away than a radius and a
        // cell.
        let far =
            u64::from(self.reach.radius_cm.unsigned_abs()) + (1 << group.square.shift) + (1 << self.grid.cells.shift());
        if candidates == 0 {
            Approach::Nobody
        } else if candidates > CROWD_BUDGETS * self.reach.budget && group.seats.len() > CROWD_VIEWERS {
            Approach::Crowd
        } else if candidates > BLOCK_CANDIDATES_MAX
            || far > u64::from(lanes::DISTANCE_MAX)
            || self.crowds.stack_within(&self.grid, &window)
        {
            Approach::Many
        } else {
            self.block.fill(&self.grid, &window, candidates);
            Approach::Few
        }
    }

    /// Finds the entities seen by a viewer of the last group approached, if its candidates are [few](Approach::Few).
    pub fn look_at_few(&self, from: Viewpoint, visible: &mut VisibleEntities) {
        self.block.look(from, self.radius_squared(), self.reach.budget, visible);
    }

    /// Finds the entities seen from a point, an entity at that very point included.
    pub fn look(&self, from: Viewpoint, tick: Tick, visible: &mut VisibleEntities) {
        visible.len = 0;
        visible.keys.clear();
        let spot = Square {
            x: i64::from(from.x),
            y: i64::from(from.y),
            shift: 0,
        };
        let Some(window) = self.grid.cells.window(&spot, self.reach.radius_cm) else {
            return;
        };
        if !self.filter_window(&from, &window, visible) {
            self.search(&from, &window, tick, visible);
        } else if visible.len <= self.reach.budget {
            return;
        } else {
            visible.key_places(&self.grid, &from);
        }
        visible.see_nearest(self.reach.budget, self.radius_squared());
    }

    /// Finds all entities within reach. Returns false if there are so many candidates, or a stack among them, that a
    /// search must choose.
    fn filter_window(&self, viewer: &Viewpoint, window: &Window, visible: &mut VisibleEntities) -> bool {
        let mut room = FILTER_BUDGETS * self.reach.budget;
        visible.reserve(room);
        for row in window.rows() {
            let range = self.grid.cells.row(window, row);
            if range.len() > room {
                visible.len = 0;
                return false;
            }
            room -= range.len();
            self.grid.filter(range, viewer, self.radius_squared(), visible);
        }
        let whole = !self.crowds.stack_within(&self.grid, window);
        if !whole {
            visible.len = 0;
        }
        whole
    }

    fn radius_squared(&self) -> u64 {
        u64::from(self.reach.radius_cm.unsigned_abs()).pow(2)
    }
}
