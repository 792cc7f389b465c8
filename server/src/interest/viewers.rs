//! Viewers, grouped by where they stand: those of a group share most of the work of finding whom they see.

use super::Viewpoint;
use super::grid::{Grid, Square};

/// The viewers of a tick, grouped by squares.
#[derive(Debug)]
pub struct Viewers {
    grid: Grid,
    shift: u32,
}

/// Those who stand in one square.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Their indices among the grouped viewers, ascending.
    pub members: &'a [u32],
    pub(super) square: Square,
}

impl Viewers {
    /// Groups for views of this radius: squares at most as wide, which at usual densities hold some ten viewers.
    #[must_use]
    pub fn new(radius_cm: i32) -> Self {
        Self {
            grid: Grid::default(),
            shift: radius_cm.unsigned_abs().max(1).ilog2(),
        }
    }

    /// Replaces the viewers.
    pub fn regroup(&mut self, viewers: &[Viewpoint]) {
        self.grid.rebuild(viewers, self.shift);
    }

    /// All groups that have a member.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let cells = (0..self.grid.cell_count()).filter(|&cell| !self.grid.cell(cell).is_empty());
        cells.map(|cell| Group {
            members: &self.grid.order()[self.grid.cell(cell)],
            square: self.grid.square(cell),
        })
    }
}
