//! A uniform grid over a scene: a counting sort into cells, so that the cells of a row are one contiguous range. It knows nothing of
//! budgets and crowds.
//!
//! Cells are a power of two wide (the largest that is at most half the radius), so that a cell's index is a shift and a cell can be
//! quartered exactly. Within a cell entities stand in order of id.

use std::ops::{Range, RangeInclusive};

use everhold_protocol::{EntityId, EntityView};

use super::lanes::{self, LANES};
use super::{DISTANCE_SHIFT, PLACE_BITS, Sight, Viewer};
use crate::limits::SCENE_ENTITIES_MAX;
use crate::zone::SceneSession;

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
    /// Whether an entity of a cell that a circle touches may be further away than [`lanes::DISTANCE_MAX`] on an axis.
    is_wide: bool,
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
    /// A sort key without its distance: rank of the id, place.
    keys: Vec<u64>,
    /// Index in the scene.
    order: Vec<u32>,
    /// Scratch: ids with their index in the scene, sorted; and the place of each.
    ids: Vec<(EntityId, u32)>,
    places: Vec<u32>,
    /// Scratch: viewers by id, and by their entity's place.
    viewer_ids: Vec<(EntityId, u32)>,
    viewer_at: Vec<u32>,
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

/// A square of the world; `x` and `y` are its least coordinates.
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
    pub(super) fn rebuild(&mut self, entities: &[EntityView], radius: u32) {
        let count = entities.len();
        assert!(count <= SCENE_ENTITIES_MAX, "a scene of {count} entities");
        self.measure(entities, (radius / 2).ilog2());
        self.is_wide = u64::from(radius) + (1 << self.shift) > u64::from(lanes::DISTANCE_MAX);
        self.ids.clear();
        self.ids
            .extend(entities.iter().zip(0..).map(|(entity, index)| (entity.id, index)));
        // A stable sort finds the long ascending runs that a scene consists of.
        self.ids.sort();
        self.starts.clear();
        self.starts.resize(self.cols as usize * self.rows as usize + 1, 0);
        for entity in entities {
            let cell = self.cell_of(entity.x, entity.y);
            self.starts[cell + 1] += 1;
        }
        let mut sum = 0_u32;
        for start in &mut self.starts {
            sum = sum.wrapping_add(*start);
            *start = sum;
        }
        self.scatter(entities);
    }

    /// Bounds and cell size of the scene.
    fn measure(&mut self, entities: &[EntityView], shift: u32) {
        let (mut min, mut max) = ((i32::MAX, i32::MAX), (i32::MIN, i32::MIN));
        for entity in entities {
            min = (min.0.min(entity.x), min.1.min(entity.y));
            max = (max.0.max(entity.x), max.1.max(entity.y));
        }
        (self.x0, self.y0, self.shift) = (min.0, min.1, shift);
        (self.cols, self.rows) = (0, 0);
        if entities.is_empty() {
            return;
        }
        let (width, height) = (max.0.abs_diff(min.0), max.1.abs_diff(min.1));
        while (u64::from(width >> self.shift) + 1) * (u64::from(height >> self.shift) + 1) > CELLS_MAX {
            self.shift += 1;
        }
        (self.cols, self.rows) = ((width >> self.shift) + 1, (height >> self.shift) + 1);
    }

    /// Puts every entity into its place, in order of id within a cell. `starts` moves to the ends of the cells, and back.
    fn scatter(&mut self, entities: &[EntityView]) {
        let count = entities.len();
        for column in [&mut self.xs, &mut self.ys] {
            column.resize(count, 0);
        }
        for column in [&mut self.low_xs, &mut self.low_ys] {
            column.resize(count + LANES, 0);
        }
        self.keys.resize(count, 0);
        self.order.resize(count, 0);
        self.places.resize(count, 0);
        for (rank, &(_, index)) in self.ids.iter().enumerate() {
            let entity = &entities[index as usize];
            let cell = self.cell_of(entity.x, entity.y);
            let place = self.starts[cell] as usize;
            self.starts[cell] += 1;
            (self.xs[place], self.ys[place]) = (entity.x, entity.y);
            (self.low_xs[place], self.low_ys[place]) = (entity.x as i16, entity.y as i16);
            self.keys[place] = (rank as u64) << PLACE_BITS | place as u64;
            self.order[place] = index;
            self.places[rank] = place as u32;
        }
        let cells = self.starts.len() - 1;
        self.starts.copy_within(..cells, 1);
        self.starts[0] = 0;
    }

    /// Lists the viewers so that neighbours follow each other, those without an entity last.
    pub(super) fn place_viewers(&mut self, sessions: &[SceneSession], viewers: &mut Vec<Viewer>) {
        const NOBODY: u32 = u32::MAX;
        self.viewer_ids.clear();
        self.viewer_ids.extend(
            sessions
                .iter()
                .zip(0..)
                .map(|(session, index)| (session.session, index)),
        );
        self.viewer_ids.sort();
        self.viewer_at.clear();
        self.viewer_at.resize(self.order.len(), NOBODY);
        viewers.clear();
        let viewer = |index: u32, own| {
            let SceneSession { x, y, .. } = sessions[index as usize];
            Viewer {
                session: index as usize,
                own,
                x,
                y,
            }
        };
        let mut rank = 0;
        let mut unseen = Vec::new();
        for &(id, index) in &self.viewer_ids {
            while rank < self.ids.len() && self.ids[rank].0 < id {
                rank += 1;
            }
            match self.ids.get(rank) {
                Some(&(found, _)) if found == id => self.viewer_at[self.places[rank] as usize] = index,
                _ => unseen.push(index),
            }
        }
        let seen = self.viewer_at.iter().zip(0..).filter(|(index, _)| **index != NOBODY);
        viewers.extend(seen.map(|(&index, place)| viewer(index, Some(place))));
        viewers.extend(unseen.into_iter().map(|index| viewer(index, None)));
    }

    /// The cells that a circle may touch; `None` if it lies outside the grid.
    pub(super) fn window(&self, x: i32, y: i32, radius: i32) -> Option<Window> {
        let span = |at: i32, origin: i32, cells: u32| {
            let near = i64::from(at) - i64::from(origin) - i64::from(radius);
            let far = near + 2 * i64::from(radius);
            let last = i64::from(cells) - 1;
            let (first, end) = ((near >> self.shift).max(0), (far >> self.shift).min(last));
            (first <= end).then_some((first as u32, end as u32))
        };
        Some(Window {
            cols: span(x, self.x0, self.cols)?,
            rows: span(y, self.y0, self.rows)?,
        })
    }

    /// The places of one row of a window.
    pub(super) fn row(&self, window: &Window, row: u32) -> Range<usize> {
        let base = row as usize * self.cols as usize;
        self.starts[base + window.cols.0 as usize] as usize..self.starts[base + window.cols.1 as usize + 1] as usize
    }

    /// Adds the places of those in `range` that are within the distance to the sight, which has room for the whole range.
    #[inline]
    pub(super) fn filter(&self, range: Range<usize>, viewer: &Viewer, limit: u64, sight: &mut Sight) {
        let (start, len) = (range.start, range.len());
        let padded = len.next_multiple_of(LANES);
        let marks = &mut sight.marks[..padded];
        if self.is_wide {
            self.mark_wide(range, viewer, limit, marks);
        } else {
            let (xs, ys) = (&self.low_xs[start..start + padded], &self.low_ys[start..start + padded]);
            lanes::mark(xs, ys, (viewer.x, viewer.y), limit as i32, marks);
        }
        sight.len += lanes::gather(marks, len, start as u32, &mut sight.places[sight.len..]);
    }

    /// Marks where distances do not fit 16 bits: on a map so large that its cells are wider than they should be.
    #[cold]
    fn mark_wide(&self, range: Range<usize>, viewer: &Viewer, limit: u64, marks: &mut [u8]) {
        for (place, mark) in range.zip(marks) {
            *mark = u8::from(viewer.distance_squared(self.xs[place], self.ys[place]) <= limit);
        }
    }

    /// What an entity is ordered by for a viewer, and its place: squared distance, rank of the id, place.
    pub(super) fn key(&self, place: usize, viewer: &Viewer) -> u64 {
        viewer.distance_squared(self.xs[place], self.ys[place]) << DISTANCE_SHIFT | self.keys[place]
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
        let (keys, order) = (self.keys[range.clone()].to_vec(), self.order[range.clone()].to_vec());
        for (place, &from) in range.clone().zip(permutation) {
            let from = from as usize - range.start;
            (self.xs[place], self.ys[place]) = (xs[from], ys[from]);
            (self.low_xs[place], self.low_ys[place]) = (xs[from] as i16, ys[from] as i16);
            self.order[place] = order[from];
            let rank = keys[from] >> PLACE_BITS;
            self.keys[place] = rank << PLACE_BITS | place as u64;
            self.places[rank as usize] = place as u32;
        }
    }

    fn cell_of(&self, x: i32, y: i32) -> usize {
        self.cell_index(x.abs_diff(self.x0) >> self.shift, y.abs_diff(self.y0) >> self.shift)
    }
}
