//! All candidates of a group of viewers, side by side, so that each viewer filters one short array instead of many rows
//! of a grid.

use super::cells::Window;
use super::grid::Grid;
use super::lanes::{self, LANES};
use super::{DISTANCE_SHIFT, PLACE_BITS, Viewpoint, VisibleEntities};

/// The candidates: lower halves of their coordinates, and their places in the grid. Behind `len` there is garbage.
#[derive(Debug, Default)]
pub(super) struct Block {
    xs: Vec<i16>,
    ys: Vec<i16>,
    places: Vec<u32>,
    len: usize,
}

impl Block {
    /// Replaces the candidates by the `candidates` entities of a window.
    pub(super) fn fill(&mut self, grid: &Grid, window: &Window, candidates: usize) {
        let room = candidates.next_multiple_of(LANES) + LANES;
        if self.places.len() < room {
            self.xs.resize(room, 0);
            self.ys.resize(room, 0);
            self.places.resize(room, 0);
        }
        self.len = 0;
        for row in window.rows() {
            let range = grid.cells.row(window, row);
            let end = self.len + range.len();
            // Whole lanes: most rows are shorter than one, and a copy of unknown length costs more than the rest.
            for start in range.step_by(LANES) {
                self.put_lanes(self.len, grid, start);
                self.len += LANES;
            }
            self.len = end;
        }
    }

    #[inline]
    fn put_lanes(&mut self, at: usize, grid: &Grid, start: usize) {
        let (xs, ys) = grid.low(start..start + LANES);
        self.xs[at..at + LANES].copy_from_slice(xs);
        self.ys[at..at + LANES].copy_from_slice(ys);
        let places = &mut self.places[at..at + LANES];
        for (place, lane) in places.iter_mut().zip(0..) {
            *place = start as u32 + lane;
        }
    }

    /// Finds the nearest `budget` candidates within a squared distance.
    #[inline]
    pub(super) fn look(&self, from: Viewpoint, limit: u64, budget: usize, visible: &mut VisibleEntities) {
        let count = self.len;
        visible.len = 0;
        visible.reserve(count);
        // The lanes beyond the end are read, and what is found there is thrown away.
        let padded = count.next_multiple_of(LANES);
        let marks = &mut visible.marks[..padded];
        lanes::mark(
            &self.xs[..padded],
            &self.ys[..padded],
            (from.x, from.y),
            limit as i32,
            marks,
        );
        let near = lanes::gather(marks, count, 0, &mut visible.places);
        if near <= budget {
            for place in &mut visible.places[..near] {
                *place = self.places[*place as usize];
            }
            visible.len = near;
            return;
        }
        visible.keys.clear();
        let keys = visible.places[..near]
            .iter()
            .map(|&index| self.key(index as usize, from));
        visible.keys.extend(keys);
        visible.see_nearest(budget, limit);
    }

    /// Returns a candidate's sort key: squared distance, then its place.
    fn key(&self, index: usize, from: Viewpoint) -> u64 {
        let away = |low: i16, at: i32| u64::from(low.wrapping_sub(at as i16).unsigned_abs());
        let (dx, dy) = (away(self.xs[index], from.x), away(self.ys[index], from.y));
        let place = u64::from(self.places[index]);
        (dx * dx + dy * dy) << DISTANCE_SHIFT | place << PLACE_BITS | place
    }
}
