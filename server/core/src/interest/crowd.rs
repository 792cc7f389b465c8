//! Crowds: cells that hold many entities are quartered, and searched nearest first. Cells that hold few stay as the
//! grid has them.
//!
//! The search keeps a heap of squares by their least distance to the viewer, opens the nearest, and stops when the
//! nearest square left is further away than the `budget`-th entity found. It opens about as many squares as the budget
//! fills, however large the crowd is.

use std::cmp::Reverse;
use std::ops::Range;

use everhold_protocol::Tick;

use super::cells::{Square, Window};
use super::grid::Grid;
use super::{DISTANCE_SHIFT, Interest, Viewpoint, VisibleEntities};

/// Entities up to which a square is not split: filtering them costs less than opening four squares. Found by measuring.
const LEAF_ENTITIES_MAX: usize = 96;

/// Bit of a heap entry that marks a cell of the grid; other entries are nodes.
const CELL: u64 = 1 << 31;
const INDEX_MASK: u64 = CELL - 1;

/// The grid's cells that are split, as trees of squares.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    /// Cells with more than [`LEAF_ENTITIES_MAX`] entities, ascending, and their node.
    cells: Vec<(u32, u32)>,
    nodes: Vec<Node>,
    /// The smallest squares' width is two to this power, cm.
    shift_min: u32,
    /// Cells in which a smallest square alone holds more than a budget, ascending.
    stacks: Vec<u32>,
    /// Memory for sorting a cell, reused.
    codes: Vec<(u64, u32)>,
    permutation: Vec<u32>,
}

/// A square with the places of its entities.
#[derive(Clone, Copy, Debug)]
struct Node {
    square: Square,
    start: u32,
    end: u32,
    /// The first of its four quarters; zero if it is not split.
    quarters: u32,
}

impl Node {
    fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Whether the square cannot be split and alone holds more than a budget, so that its entities take turns.
    fn is_stack(&self, shift_min: u32, budget: usize) -> bool {
        self.square.shift <= shift_min && self.range().len() > budget
    }
}

impl Crowds {
    /// Splits the grid's full cells down to squares of two to the power of `shift_min` cm. Rearranges places within
    /// those cells.
    pub(super) fn rebuild(&mut self, grid: &mut Grid, shift_min: u32, budget: usize) {
        self.shift_min = shift_min;
        self.cells.clear();
        self.stacks.clear();
        self.nodes.clear();
        for cell in 0..grid.cells.count() {
            let range = grid.cells.range(cell);
            if range.len() > LEAF_ENTITIES_MAX {
                self.sort_cell(grid, cell);
                self.cells.push((cell as u32, self.nodes.len() as u32));
                let (start, end) = (range.start as u32, range.end as u32);
                self.nodes.push(Node {
                    square: grid.cells.square(cell),
                    start,
                    end,
                    quarters: 0,
                });
                let root = self.nodes.len() - 1;
                self.split(grid, root);
                if self.nodes[root..].iter().any(|node| node.is_stack(shift_min, budget)) {
                    self.stacks.push(cell as u32);
                }
            }
        }
    }

    /// Whether the window has a stack, whose entities take turns: filtering and cutting would starve some of them.
    pub(super) fn stack_within(&self, grid: &Grid, window: &Window) -> bool {
        let stack_in_row = |row| {
            let ends = grid.cells.index(*window.cols().start(), row)..=grid.cells.index(*window.cols().end(), row);
            let next = self.stacks.partition_point(|&cell| (cell as usize) < *ends.start());
            self.stacks
                .get(next)
                .is_some_and(|&cell| ends.contains(&(cell as usize)))
        };
        !self.stacks.is_empty() && window.rows().any(stack_in_row)
    }

    /// Sorts a cell along a Z-order curve of its smallest squares, so that every square in it is one range; within a
    /// square the given order stays.
    fn sort_cell(&mut self, grid: &mut Grid, cell: usize) {
        let square = grid.cells.square(cell);
        let shift_min = self.shift_min;
        let code = |place: usize| {
            let (x, y) = grid.position(place);
            let across = (i64::from(x) - square.x) as u32 >> shift_min;
            let up = (i64::from(y) - square.y) as u32 >> shift_min;
            interleave(across) | interleave(up) << 1
        };
        let range = grid.cells.range(cell);
        self.codes.clear();
        self.codes
            .extend(range.clone().map(|place| (code(place), place as u32)));
        self.codes.sort_unstable();
        self.permutation.clear();
        self.permutation.extend(self.codes.iter().map(|&(_, place)| place));
        grid.rearrange(range, &self.permutation);
    }

    /// Splits a node, then its quarters recursively.
    fn split(&mut self, grid: &Grid, first: usize) {
        let mut index = first;
        while index < self.nodes.len() {
            let node = self.nodes[index];
            if node.range().len() > LEAF_ENTITIES_MAX && node.square.shift > self.shift_min {
                self.nodes[index].quarters = self.nodes.len() as u32;
                self.push_quarters(grid, &node);
            }
            index += 1;
        }
    }

    fn push_quarters(&mut self, grid: &Grid, node: &Node) {
        let shift = node.square.shift - 1;
        let half = 1_i64 << shift;
        let mut start = node.start;
        for (x, y) in [(0, 0), (half, 0), (0, half), (half, half)] {
            let square = Square {
                x: node.square.x + x,
                y: node.square.y + y,
                shift,
            };
            let inside = |place: u32| {
                let (x, y) = grid.position(place as usize);
                let upper = (
                    i64::from(x) >= node.square.x + half,
                    i64::from(y) >= node.square.y + half,
                );
                upper == (square.x > node.square.x, square.y > node.square.y)
            };
            let end = partition(start, node.end, inside);
            self.nodes.push(Node {
                square,
                start,
                end,
                quarters: 0,
            });
            start = end;
        }
    }
}

/// Returns the first index of `start..end` that is not inside, where those inside come first.
fn partition(mut start: u32, mut end: u32, inside: impl Fn(u32) -> bool) -> u32 {
    while start < end {
        let middle = start.midpoint(end);
        if inside(middle) {
            start = middle + 1
        } else {
            end = middle
        }
    }
    start
}

/// Spreads the bits of a number to the even positions.
fn interleave(bits: u32) -> u64 {
    let mut spread = u64::from(bits);
    for (shift, mask) in [
        (16, 0x0000_FFFF_0000_FFFF_u64),
        (8, 0x00FF_00FF_00FF_00FF),
        (4, 0x0F0F_0F0F_0F0F_0F0F),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        spread = (spread | spread << shift) & mask;
    }
    spread
}

impl Interest {
    /// Finds the nearest entities in a window that holds many. May leave up to twice the budget for the caller to cut.
    pub(super) fn search(&self, viewer: &Viewpoint, window: &Window, tick: Tick, visible: &mut VisibleEntities) {
        let budget = self.reach.budget;
        let mut limit = self.radius_squared();
        visible.reserve(budget.max(LEAF_ENTITIES_MAX));
        self.push_window(viewer, window, limit, visible);
        let mut cut_at = budget;
        while let Some(Reverse(entry)) = visible.frontier.pop() {
            if entry >> 32 > limit {
                break;
            }
            let index = (entry & INDEX_MASK) as usize;
            if entry & CELL != 0 {
                self.grid.filter(self.grid.cells.range(index), viewer, limit, visible);
            } else {
                self.open(index, viewer, limit, tick, visible);
            }
            visible.key_places(&self.grid, viewer);
            if visible.keys.len() >= cut_at {
                visible.keys.select_nth_unstable(budget - 1);
                visible.keys.truncate(budget);
                limit = visible.keys[budget - 1] >> DISTANCE_SHIFT;
                cut_at = 2 * budget;
            }
        }
        visible.frontier.clear();
    }

    /// Puts the cells of a window on the heap.
    fn push_window(&self, viewer: &Viewpoint, window: &Window, limit: u64, visible: &mut VisibleEntities) {
        for row in window.rows() {
            let first = self.grid.cells.index(*window.cols().start(), row);
            let mut split = self.crowds.cells.partition_point(|&(cell, _)| (cell as usize) < first);
            for col in window.cols() {
                let cell = self.grid.cells.index(col, row);
                let node = self
                    .crowds
                    .cells
                    .get(split)
                    .filter(|&&(split, _)| split as usize == cell);
                split += usize::from(node.is_some());
                let distance = self.grid.cells.square_at(col, row).distance_squared(viewer.x, viewer.y);
                if distance <= limit && !self.grid.cells.range(cell).is_empty() {
                    let index = node.map_or(cell as u64 | CELL, |&(_, node)| u64::from(node));
                    visible.frontier.push(Reverse(distance << 32 | index));
                }
            }
        }
    }

    /// Replaces a square by its quarters, or takes its entities: all, or this tick's window of a stack.
    fn open(&self, index: usize, viewer: &Viewpoint, limit: u64, tick: Tick, visible: &mut VisibleEntities) {
        let node = &self.crowds.nodes[index];
        let budget = self.reach.budget;
        if node.quarters != 0 {
            self.push_quarters(node.quarters as usize, viewer, limit, visible);
        } else if node.is_stack(self.crowds.shift_min, budget) {
            let range = node.range();
            // Mixed, because the entities of a stack may change in a rhythm of their own: a steady step could miss the
            // same ones for ever.
            let turn = (tick.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % range.len();
            let head = range.start + turn..(range.start + turn + budget).min(range.end);
            let rest = range.start..range.start + budget - head.len();
            self.grid.filter(head, viewer, limit, visible);
            self.grid.filter(rest, viewer, limit, visible);
        } else {
            self.grid.filter(node.range(), viewer, limit, visible);
        }
    }

    fn push_quarters(&self, first: usize, viewer: &Viewpoint, limit: u64, visible: &mut VisibleEntities) {
        for (quarter, index) in self.crowds.nodes[first..first + 4].iter().zip(first as u64..) {
            let distance = quarter.square.distance_squared(viewer.x, viewer.y);
            if quarter.start < quarter.end && distance <= limit {
                visible.frontier.push(Reverse(distance << 32 | index));
            }
        }
    }
}
