//! A uniform grid over a scene: its entities' coordinates as columns, cell after cell. It knows no budget and no crowd.

use std::ops::Range;

use super::cells::Cells;
use super::lanes::{self, LANES};
use super::{DISTANCE_SHIFT, PLACE_BITS, Viewpoint, VisibleEntities};

/// The scene, sorted by cell.
#[derive(Debug, Default)]
pub(super) struct Grid {
    /// Its order is also the entities' rank: they are given in order of id.
    pub(super) cells: Cells,
    /// Coordinates, cm, in grid order.
    xs: Vec<i32>,
    ys: Vec<i32>,
    /// Lower 16 bits of the coordinates, with [`LANES`] entries more.
    low_xs: Vec<i16>,
    low_ys: Vec<i16>,
}

impl Grid {
    /// Sorts points into cells that are two to the power of `shift` wide, or wider if there would be too many.
    pub(super) fn rebuild(&mut self, points: &[Viewpoint], shift: u32) {
        self.cells.rebuild(points, shift);
        self.xs.clear();
        self.ys.clear();
        for &index in self.cells.order() {
            let point = points[index as usize];
            self.xs.push(point.x);
            self.ys.push(point.y);
        }
        for (low, column) in [(&mut self.low_xs, &self.xs), (&mut self.low_ys, &self.ys)] {
            low.clear();
            low.extend(column.iter().map(|&at| at as i16));
            low.resize(column.len() + LANES, 0);
        }
    }

    /// Adds the places of those in `range` that are within the distance to `visible`, which has room for the whole
    /// range.
    #[inline]
    pub(super) fn filter(&self, range: Range<usize>, viewer: &Viewpoint, limit: u64, visible: &mut VisibleEntities) {
        let (start, len) = (range.start, range.len());
        let padded = len.next_multiple_of(LANES);
        let marks = &mut visible.marks[..padded];
        if self.reaches_beyond_lanes(limit) {
            self.mark_wide(range, viewer, limit, marks);
        } else {
            let (xs, ys) = (&self.low_xs[start..start + padded], &self.low_ys[start..start + padded]);
            lanes::mark(xs, ys, (viewer.x, viewer.y), limit as i32, marks);
        }
        visible.len += lanes::gather(marks, len, start as u32, &mut visible.places[visible.len..]);
    }

    /// Whether an entity of a cell that a circle touches may be further away than [`lanes::DISTANCE_MAX`] on an axis.
    fn reaches_beyond_lanes(&self, limit: u64) -> bool {
        limit.isqrt() + (1 << self.cells.shift()) > u64::from(lanes::DISTANCE_MAX)
    }

    /// Marks entities whose distances do not fit 16 bits: on a map so large that its cells are wider than they should
    /// be.
    #[cold]
    fn mark_wide(&self, range: Range<usize>, viewer: &Viewpoint, limit: u64, marks: &mut [u8]) {
        for (place, mark) in range.zip(marks) {
            *mark = u8::from(viewer.distance_squared(self.xs[place], self.ys[place]) <= limit);
        }
    }

    /// Returns an entity's sort key for a viewer: squared distance, rank, place.
    pub(super) fn key(&self, place: usize, viewer: &Viewpoint) -> u64 {
        let far = viewer.distance_squared(self.xs[place], self.ys[place]);
        let rank = self.cells.order()[place];
        far << DISTANCE_SHIFT | u64::from(rank) << PLACE_BITS | place as u64
    }

    /// Returns an entity's coordinates, cm.
    pub(super) fn position(&self, place: usize) -> (i32, i32) {
        (self.xs[place], self.ys[place])
    }

    /// Rearranges the places of one cell: the entity at `permutation[n]` moves to `range.start + n`.
    pub(super) fn rearrange(&mut self, range: Range<usize>, permutation: &[u32]) {
        let (xs, ys) = (self.xs[range.clone()].to_vec(), self.ys[range.clone()].to_vec());
        let ranks = self.cells.order_mut(range.clone());
        let before = ranks.to_vec();
        for ((place, rank), &from) in range.clone().zip(ranks).zip(permutation) {
            let from = from as usize - range.start;
            (self.xs[place], self.ys[place]) = (xs[from], ys[from]);
            (self.low_xs[place], self.low_ys[place]) = (xs[from] as i16, ys[from] as i16);
            *rank = before[from];
        }
    }

    /// Returns the lower halves of the coordinates in a range of places.
    pub(super) fn low(&self, range: Range<usize>) -> (&[i16], &[i16]) {
        (&self.low_xs[range.clone()], &self.low_ys[range])
    }
}
