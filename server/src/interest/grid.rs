//! A uniform grid over a scene: a counting sort into cells, so that the cells of a row are one contiguous range. It knows nothing of
//! budgets and crowds.
//!
//! Cells are a power of two wide (the largest that is at most half the radius), so that a cell's index is a shift and a cell can be
//! quartered exactly. Within a cell entities stand in the order in which they are given.

use std::ops::{Range, RangeInclusive};

use super::lanes::{self, LANES};
use super::{DISTANCE_SHIFT, PLACE_BITS, Sight, Viewpoint};
use crate::limits::SCENE_ENTITIES_MAX;

/// Cells of a grid: bounds its memory (256 KiB) and the time to clear it. At a radius of 100 m this covers 10 km by 10 km; on a larger
/// map, or when somebody is far out, cells are twice as wide until it suffices.
const CELLS_MAX: u64 = 1 << 16;

/// The scene, sorted by cell.
#[derive(Debug, Default)]
pub(super) struct Grid {
    /// The least coordinates of the scene.
    x0: i32,
    y0: i32,
    /// The cells' width is two to this power, cm.
    shift: u32,
    cols: u32,
    rows: u32,
    /// Where each cell's entities start; one more at the end.
    starts: Vec<u32>,
    /// Columns in grid order.
    xs: Vec<i32>,
    ys: Vec<i32>,
    /// Their lower halves, with [`LANES`] entries more.
    low_xs: Vec<i16>,
    low_ys: Vec<i16>,
    /// Index among the sorted entities, which is also the rank of the id.
    order: Vec<u32>,
}

/// The cells that a circle may touch: columns and rows, both ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    cols: (u32, u32),
    rows: (u32, u32),
}

impl Window {
    pub(super) fn rows(&self) -> RangeInclusive<u32> {
        self.rows.0..=self.rows.1
    }

    pub(super) fn cols(&self) -> RangeInclusive<u32> {
        self.cols.0..=self.cols.1
    }
}

/// A square of the world; `x` and `y` are its least coordinates, and it is two to the power of `shift` wide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Square {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) shift: u32,
}

impl Square {
    /// The squared distance from a point to the nearest point of the square; zero inside.
    pub(super) fn distance_squared(&self, x: i32, y: i32) -> u64 {
        let last = (1_i64 << self.shift) - 1;
        let (x, y) = (i64::from(x), i64::from(y));
        let dx = (self.x - x).max(x - (self.x + last)).max(0).unsigned_abs();
        let dy = (self.y - y).max(y - (self.y + last)).max(0).unsigned_abs();
        dx.saturating_mul(dx).saturating_add(dy.saturating_mul(dy))
    }
}

impl Grid {
    /// Sorts points into cells that are two to the power of `shift` wide, or wider if there would be too many.
    pub(super) fn rebuild(&mut self, points: &[Viewpoint], shift: u32) {
        let count = points.len();
        assert!(count <= SCENE_ENTITIES_MAX, "a scene of {count} entities");
        self.measure(points, shift);
        self.starts.clear();
        self.starts.resize(self.cols as usize * self.rows as usize + 1, 0);
        for point in points {
            let cell = self.cell_of(point);
            self.starts[cell + 1] += 1;
        }
        let mut sum = 0_u32;
        for start in &mut self.starts {
            sum = sum.wrapping_add(*start);
            *start = sum;
        }
        self.scatter(points);
    }

    /// Bounds and cell size of the scene.
    fn measure(&mut self, points: &[Viewpoint], shift: u32) {
        let (mut min, mut max) = ((i32::MAX, i32::MAX), (i32::MIN, i32::MIN));
        for point in points {
            min = (min.0.min(point.x), min.1.min(point.y));
            max = (max.0.max(point.x), max.1.max(point.y));
        }
        (self.x0, self.y0, self.shift) = (min.0, min.1, shift);
        (self.cols, self.rows) = (0, 0);
        if points.is_empty() {
            return;
        }
        let (width, height) = (max.0.abs_diff(min.0), max.1.abs_diff(min.1));
        while (u64::from(width >> self.shift) + 1) * (u64::from(height >> self.shift) + 1) > CELLS_MAX {
            self.shift += 1;
        }
        (self.cols, self.rows) = ((width >> self.shift) + 1, (height >> self.shift) + 1);
    }

    /// Puts every point into its place, in the given order within a cell. `starts` moves to the ends of the cells, and back.
    fn scatter(&mut self, points: &[Viewpoint]) {
        let count = points.len();
        for column in [&mut self.xs, &mut self.ys] {
            column.resize(count, 0);
        }
        for column in [&mut self.low_xs, &mut self.low_ys] {
            column.resize(count + LANES, 0);
        }
        self.order.resize(count, 0);
        for (point, index) in points.iter().zip(0..) {
            let cell = self.cell_of(point);
            let place = self.starts[cell] as usize;
            self.starts[cell] += 1;
            (self.xs[place], self.ys[place]) = (point.x, point.y);
            (self.low_xs[place], self.low_ys[place]) = (point.x as i16, point.y as i16);
            self.order[place] = index;
        }
        let cells = self.starts.len() - 1;
        self.starts.copy_within(..cells, 1);
        self.starts[0] = 0;
    }

    /// The cells that circles around the points of a square may touch; `None` if they lie outside the grid.
    pub(super) fn window(&self, square: &Square, radius: i32) -> Option<Window> {
        let span = |at: i64, origin: i32, cells: u32| {
            let near = at - i64::from(origin) - i64::from(radius);
            let far = near + 2 * i64::from(radius) + (1 << square.shift) - 1;
            let last = i64::from(cells) - 1;
            let (first, end) = ((near >> self.shift).max(0), (far >> self.shift).min(last));
            (first <= end).then_some((first as u32, end as u32))
        };
        Some(Window {
            cols: span(square.x, self.x0, self.cols)?,
            rows: span(square.y, self.y0, self.rows)?,
        })
    }

    /// The places of one row of a window.
    pub(super) fn row(&self, window: &Window, row: u32) -> Range<usize> {
        let base = row as usize * self.cols as usize;
        self.starts[base + window.cols.0 as usize] as usize..self.starts[base + window.cols.1 as usize + 1] as usize
    }

    /// Adds the places of those in `range` that are within the distance to the sight, which has room for the whole range.
    #[inline]
    pub(super) fn filter(&self, range: Range<usize>, viewer: &Viewpoint, limit: u64, sight: &mut Sight) {
        let (start, len) = (range.start, range.len());
        let padded = len.next_multiple_of(LANES);
        let marks = &mut sight.marks[..padded];
        if self.reaches_beyond_lanes(limit) {
            self.mark_wide(range, viewer, limit, marks);
        } else {
            let (xs, ys) = (&self.low_xs[start..start + padded], &self.low_ys[start..start + padded]);
            lanes::mark(xs, ys, (viewer.x, viewer.y), limit as i32, marks);
        }
        sight.len += lanes::gather(marks, len, start as u32, &mut sight.places[sight.len..]);
    }

    /// Whether an entity of a cell that a circle touches may be further away than [`lanes::DISTANCE_MAX`] on an axis.
    fn reaches_beyond_lanes(&self, limit: u64) -> bool {
        limit.isqrt() + (1 << self.shift) > u64::from(lanes::DISTANCE_MAX)
    }

    /// Marks where distances do not fit 16 bits: on a map so large that its cells are wider than they should be.
    #[cold]
    fn mark_wide(&self, range: Range<usize>, viewer: &Viewpoint, limit: u64, marks: &mut [u8]) {
        for (place, mark) in range.zip(marks) {
            *mark = u8::from(viewer.distance_squared(self.xs[place], self.ys[place]) <= limit);
        }
    }

    /// What an entity is ordered by for a viewer, and its place: squared distance, rank, place.
    pub(super) fn key(&self, place: usize, viewer: &Viewpoint) -> u64 {
        let (far, rank) = (
            viewer.distance_squared(self.xs[place], self.ys[place]),
            self.order[place],
        );
        far << DISTANCE_SHIFT | u64::from(rank) << PLACE_BITS | place as u64
    }

    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    pub(super) fn cell_count(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    pub(super) fn cell_index(&self, col: u32, row: u32) -> usize {
        row as usize * self.cols as usize + col as usize
    }

    /// The places of a cell.
    pub(super) fn cell(&self, index: usize) -> Range<usize> {
        self.starts[index] as usize..self.starts[index + 1] as usize
    }

    /// Where a cell is.
    pub(super) fn square(&self, index: usize) -> Square {
        self.square_at(index as u32 % self.cols, index as u32 / self.cols)
    }

    /// Where the cell of a column and row is.
    pub(super) fn square_at(&self, col: u32, row: u32) -> Square {
        let at = |origin: i32, cell: u32| i64::from(origin) + (i64::from(cell) << self.shift);
        Square {
            x: at(self.x0, col),
            y: at(self.y0, row),
            shift: self.shift,
        }
    }

    /// An entity's coordinates.
    pub(super) fn position(&self, place: usize) -> (i32, i32) {
        (self.xs[place], self.ys[place])
    }

    /// Rearranges the places of one cell: the one that is to stand at `range.start + n` stands at `permutation[n]` now.
    pub(super) fn rearrange(&mut self, range: Range<usize>, permutation: &[u32]) {
        let (xs, ys) = (self.xs[range.clone()].to_vec(), self.ys[range.clone()].to_vec());
        let order = self.order[range.clone()].to_vec();
        for (place, &from) in range.clone().zip(permutation) {
            let from = from as usize - range.start;
            (self.xs[place], self.ys[place]) = (xs[from], ys[from]);
            (self.low_xs[place], self.low_ys[place]) = (xs[from] as i16, ys[from] as i16);
            self.order[place] = order[from];
        }
    }

    /// The lower halves of the coordinates in a range of places.
    pub(super) fn low(&self, range: Range<usize>) -> (&[i16], &[i16]) {
        (&self.low_xs[range.clone()], &self.low_ys[range])
    }

    /// The cells' width is two to this power, cm.
    pub(super) fn shift(&self) -> u32 {
        self.shift
    }

    fn cell_of(&self, point: &Viewpoint) -> usize {
        self.cell_index(
            point.x.abs_diff(self.x0) >> self.shift,
            point.y.abs_diff(self.y0) >> self.shift,
        )
    }
}
