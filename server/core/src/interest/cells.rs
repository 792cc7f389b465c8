//! Points, sorted into square cells by counting, so that the cells of a row are one contiguous range. It keeps indices,
//! not points.
//!
//! Cells are a power of two wide, so that a cell's index is a shift and a cell can be quartered exactly. Within a cell
//! points stand in the order in which they are given.

use std::ops::{Range, RangeInclusive};

use super::Viewpoint;
use crate::limits::SCENE_ENTITIES_MAX;

/// Cells at most: bounds their memory (256 KiB) and the time to clear it. At a radius of 100 m this covers 10 km by 10
/// km; on a larger map, or if one point is far out, cells are twice as wide until it suffices.
const CELLS_MAX: u64 = 1 << 16;

/// Indices of points, grouped by square cell.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// The least coordinates of the points.
    x0: i32,
    y0: i32,
    /// The cells' width is two to this power, cm.
    shift: u32,
    cols: u32,
    rows: u32,
    /// The first place of each cell's points, and one entry more for the end.
    starts: Vec<u32>,
    /// Indices of the points, cell after cell.
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
    /// Returns the squared distance from a point to the nearest point of the square; zero inside.
    pub(super) fn distance_squared(&self, x: i32, y: i32) -> u64 {
        let last = (1_i64 << self.shift) - 1;
        let (x, y) = (i64::from(x), i64::from(y));
        let dx = (self.x - x).max(x - (self.x + last)).max(0).unsigned_abs();
        let dy = (self.y - y).max(y - (self.y + last)).max(0).unsigned_abs();
        dx.saturating_mul(dx).saturating_add(dy.saturating_mul(dy))
    }
}

impl Cells {
    /// Sorts points into cells that are two to the power of `shift` wide, or wider if there would be too many.
    pub(super) fn rebuild(&mut self, points: &[Viewpoint], shift: u32) {
        let count = points.len();
        assert!(count <= SCENE_ENTITIES_MAX, "a scene of {count} entities");
        self.measure(points, shift);
        self.starts.clear();
        self.starts.resize(self.count() + 1, 0);
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

    /// Finds the points' bounds and the cells' size.
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

    /// Puts every index into its cell. `starts` moves to the ends of the cells, and back.
    fn scatter(&mut self, points: &[Viewpoint]) {
        self.order.resize(points.len(), 0);
        for (point, index) in points.iter().zip(0..) {
            let cell = self.cell_of(point);
            self.order[self.starts[cell] as usize] = index;
            self.starts[cell] += 1;
        }
        let cells = self.count();
        self.starts.copy_within(..cells, 1);
        self.starts[0] = 0;
    }

    /// Returns the cells that circles around the points of a square may touch; `None` if they lie outside.
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

    /// Returns the places of one row of a window.
    pub(super) fn row(&self, window: &Window, row: u32) -> Range<usize> {
        let (first, last) = (self.index(window.cols.0, row), self.index(window.cols.1, row));
        self.starts[first] as usize..self.starts[last + 1] as usize
    }

    /// Returns the points' indices, cell after cell.
    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    /// Returns the indices at some places, to be rearranged within a cell.
    pub(super) fn order_mut(&mut self, range: Range<usize>) -> &mut [u32] {
        &mut self.order[range]
    }

    pub(super) fn count(&self) -> usize {
        self.cols as usize * self.rows as usize
    }

    pub(super) fn index(&self, col: u32, row: u32) -> usize {
        row as usize * self.cols as usize + col as usize
    }

    /// Returns the places of a cell's points.
    pub(super) fn range(&self, index: usize) -> Range<usize> {
        self.starts[index] as usize..self.starts[index + 1] as usize
    }

    /// Returns a cell's square.
    pub(super) fn square(&self, index: usize) -> Square {
        self.square_at(index as u32 % self.cols, index as u32 / self.cols)
    }

    /// Returns the square of the cell at a column and row.
    pub(super) fn square_at(&self, col: u32, row: u32) -> Square {
        let at = |origin: i32, cell: u32| i64::from(origin) + (i64::from(cell) << self.shift);
        Square {
            x: at(self.x0, col),
            y: at(self.y0, row),
            shift: self.shift,
        }
    }

    /// Returns the cells' width as a power of two, cm.
    pub(super) fn shift(&self) -> u32 {
        self.shift
    }

    fn cell_of(&self, point: &Viewpoint) -> usize {
        self.index(
            point.x.abs_diff(self.x0) >> self.shift,
            point.y.abs_diff(self.y0) >> self.shift,
        )
    }
}
