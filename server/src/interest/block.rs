//! All candidates of a group of viewers, side by side, so that each viewer filters one short array instead of many rows of a grid.

use super::cells::Window;
use super::grid::Grid;
use super::lanes::{self, LANES};
use super::{DISTANCE_SHIFT, PLACE_BITS, Sight, Viewpoint};

/// The candidates: lower halves of their coordinates, and their places in the grid.
#[derive(Debug, Default)]
pub(super) struct Block {
    xs: Vec<i16>,
    ys: Vec<i16>,
    places: Vec<u32>,
}

impl Block {
    /// Replaces the candidates by those of a window.
    pub(super) fn fill(&mut self, grid: &Grid, window: &Window) {
        self.xs.clear();
        self.ys.clear();
        self.places.clear();
        for row in window.rows() {
            let range = grid.cells.row(window, row);
            let (xs, ys) = grid.low(range.clone());
            self.xs.extend_from_slice(xs);
            self.ys.extend_from_slice(ys);
            self.places.extend(range.start as u32..range.end as u32);
        }
        // The lanes beyond the end are read, and what is found there is thrown away.
        let padded = self.places.len().next_multiple_of(LANES);
        self.xs.resize(padded, 0);
        self.ys.resize(padded, 0);
    }

    /// Finds the nearest `budget` within a squared distance.
    #[inline]
    pub(super) fn look(&self, from: Viewpoint, limit: u64, budget: usize, sight: &mut Sight) {
        let count = self.places.len();
        sight.len = 0;
        sight.reserve(count);
        let marks = &mut sight.marks[..self.xs.len()];
        lanes::mark(&self.xs, &self.ys, (from.x, from.y), limit as i32, marks);
        let near = lanes::gather(marks, count, 0, &mut sight.places);
        if near <= budget {
            for place in &mut sight.places[..near] {
                *place = self.places[*place as usize];
            }
            sight.len = near;
            return;
        }
        sight.keys.clear();
        let keys = sight.places[..near].iter().map(|&index| self.key(index as usize, from));
        sight.keys.extend(keys);
        sight.see_nearest(budget, limit);
    }

    /// What a candidate is ordered by: squared distance, then its place.
    fn key(&self, index: usize, from: Viewpoint) -> u64 {
        let away = |low: i16, at: i32| u64::from(low.wrapping_sub(at as i16).unsigned_abs());
        let (dx, dy) = (away(self.xs[index], from.x), away(self.ys[index], from.y));
        let place = u64::from(self.places[index]);
        (dx * dx + dy * dy) << DISTANCE_SHIFT | place << PLACE_BITS | place
    }
}
