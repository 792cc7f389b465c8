//! Viewers, grouped by position: the viewers of a group share most of the work of finding the entities that they see.

use std::ops::Range;

use super::Viewpoint;
use super::cells::{Cells, Square};

/// The viewers of a tick, grouped by squares.
#[derive(Debug)]
pub struct Viewers {
    cells: Cells,
    shift: u32,
}

/// The viewers in one square.
#[derive(Clone, Debug)]
pub struct Group {
    /// Their range in [`Viewers::order`].
    pub seats: Range<usize>,
    pub(super) square: Square,
}

impl Viewers {
    /// Returns empty groups for views of this radius: squares at most as wide, which at usual densities hold some ten
    /// viewers.
    #[must_use]
    pub fn new(radius_cm: i32) -> Self {
        Self {
            cells: Cells::default(),
            shift: radius_cm.unsigned_abs().max(1).ilog2(),
        }
    }

    /// Replaces the viewers, and groups them.
    pub fn regroup(&mut self, viewers: &[Viewpoint]) {
        self.cells.rebuild(viewers, self.shift);
    }

    /// Returns the grouped viewers' indices, group after group, ascending in each.
    #[must_use]
    pub fn order(&self) -> &[u32] {
        self.cells.order()
    }

    /// Returns all groups that have a member.
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        let cells = (0..self.cells.count()).filter(|&cell| !self.cells.range(cell).is_empty());
        cells.map(|cell| Group {
            seats: self.cells.range(cell),
            square: self.cells.square(cell),
        })
    }
}
