//! The players of a zone by cells: a monster asks its neighbourhood instead of the whole zone. Rebuilt each tick, of
//! those near monsters that look around in it: they take turns, so these are few.

use std::ops::RangeInclusive;

use bevy_ecs::prelude::Resource;
use everhold_protocol::EntityId;

use super::rules::Point;
use super::state::Body;
use crate::zone::registry::Id;

/// Cells per side at most: the rebuild costs one pass over them.
const CELLS_PER_SIDE_MAX: i32 = 128;

/// Players by cell. Derived.
#[derive(Resource, Debug)]
pub(crate) struct PreyGrid {
    /// A cell's side is this power of two, cm: a player's cell is found without a division.
    cell_log2: u32,
    columns: i32,
    rows: i32,
    /// Whether somebody looks into each cell.
    watched: Vec<bool>,
    /// The index in `sorted` of each cell's first player; one more at the end.
    starts: Vec<u32>,
    sorted: Vec<(EntityId, Point)>,
    /// Players in the order of their arrival, each with its cell.
    arrived: Vec<(u32, EntityId, Point)>,
    /// The index in `sorted` for each cell's next player, while the grid is rebuilt.
    next: Vec<u32>,
}

impl PreyGrid {
    /// An empty grid for a zone of this size, for searches of about `sight_cm`.
    pub(crate) fn new(width_cm: i32, height_cm: i32, sight_cm: i32) -> Self {
        let cell_cm = sight_cm.max(width_cm.max(height_cm) / CELLS_PER_SIDE_MAX + 1).max(1);
        let cell_log2 = cell_cm.cast_unsigned().next_power_of_two().ilog2();
        let (columns, rows) = ((width_cm >> cell_log2) + 1, (height_cm >> cell_log2) + 1);
        let cells = (columns * rows) as usize;
        Self {
            cell_log2,
            columns,
            rows,
            watched: vec![false; cells],
            starts: vec![0; cells + 1],
            sorted: Vec::new(),
            arrived: Vec::new(),
            next: Vec::new(),
        }
    }

    fn column(&self, x: i32) -> i32 {
        (x >> self.cell_log2).clamp(0, self.columns - 1)
    }

    fn row(&self, y: i32) -> i32 {
        (y >> self.cell_log2).clamp(0, self.rows - 1)
    }

    fn cell(&self, at: Point) -> u32 {
        (self.row(at.y) * self.columns + self.column(at.x)).cast_unsigned()
    }

    /// Columns and rows of the cells within range of a point.
    fn window(&self, from: Point, range_cm: i32) -> (RangeInclusive<i32>, RangeInclusive<i32>) {
        let columns = self.column(from.x - range_cm)..=self.column(from.x + range_cm);
        (columns, self.row(from.y - range_cm)..=self.row(from.y + range_cm))
    }

    /// Replaces those who look, all as far.
    pub(crate) fn watch(&mut self, watchers: impl Iterator<Item = Point>, range_cm: i32) {
        self.watched.fill(false);
        for from in watchers {
            let (columns, rows) = self.window(from, range_cm);
            for row in rows {
                let at = |column: &i32| (row * self.columns + column) as usize;
                self.watched[at(columns.start())..=at(columns.end())].fill(true);
            }
        }
    }

    /// Replaces the players, by a counting sort of those who can be seen. Order within a cell is that of `players` and
    /// means nothing: [`PreyGrid::nearest`] compares by distance and id.
    pub(crate) fn rebuild<'a>(&mut self, players: impl Iterator<Item = (&'a Id, &'a Body)>) {
        let mut arrived = std::mem::take(&mut self.arrived);
        arrived.clear();
        players.for_each(|(id, body)| {
            let cell = self.cell(body.point());
            if self.watched[cell as usize] {
                arrived.push((cell, id.0, body.point()));
            }
        });
        self.starts.fill(0);
        for &(cell, ..) in &arrived {
            self.starts[cell as usize + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut self.starts {
            sum += *start;
            *start = sum;
        }
        self.sorted.resize(arrived.len(), (EntityId(0), Point::default()));
        self.next.clone_from(&self.starts);
        for &(cell, id, at) in &arrived {
            let place = &mut self.next[cell as usize];
            self.sorted[*place as usize] = (id, at);
            *place += 1;
        }
        self.arrived = arrived;
    }

    /// The nearest player within `range_cm`, for one who [watches](PreyGrid::watch); of several at the same distance
    /// the one with the least id.
    pub(crate) fn nearest(&self, from: Point, range_cm: i32) -> Option<EntityId> {
        let (columns, rows) = self.window(from, range_cm);
        rows.flat_map(|row| {
            let first = self.starts[(row * self.columns + columns.start()) as usize] as usize;
            let last = self.starts[(row * self.columns + columns.end()) as usize + 1] as usize;
            &self.sorted[first..last]
        })
        .filter(|(_, at)| from.reaches(*at, range_cm))
        .min_by_key(|(id, at)| (from.distance2(*at), *id))
        .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nearest(players: &[(u64, i32, i32)], from: Point, range_cm: i32) -> Option<EntityId> {
        let mut grid = PreyGrid::new(10_000, 8_000, 1_500);
        grid.watch([from].into_iter(), range_cm);
        let players: Vec<(Id, Body)> = players
            .iter()
            .map(|&(id, x, y)| (Id(EntityId(id)), Point { x, y }.into()))
            .collect();
        grid.rebuild(players.iter().map(|(id, body)| (id, body)));
        grid.nearest(from, range_cm)
    }

    #[test]
    fn of_equally_near_players_the_least_id_is_nearest() {
        let here = Point { x: 500, y: 500 };
        for players in [[(7, 600, 500), (3, 400, 500)], [(3, 400, 500), (7, 600, 500)]] {
            assert_eq!(nearest(&players, here, 1_500), Some(EntityId(3)));
        }
    }

    #[test]
    fn nobody_within_range_is_nobody() {
        assert_eq!(nearest(&[(7, 6_000, 500)], Point { x: 0, y: 500 }, 1_500), None);
    }

    #[test]
    fn who_stopped_watching_brings_nobody_in() {
        let mut grid = PreyGrid::new(10_000, 8_000, 1_500);
        let (here, there) = (Point { x: 500, y: 500 }, Point { x: 9_000, y: 7_000 });
        let players = [
            (Id(EntityId(1)), Body::from(here)),
            (Id(EntityId(2)), Body::from(there)),
        ];
        for (watcher, seen) in [(here, 1), (there, 2)] {
            grid.watch([watcher].into_iter(), 1_000);
            grid.rebuild(players.iter().map(|(id, body)| (id, body)));
            let found: Vec<u64> = grid.sorted.iter().map(|(id, _)| id.0).collect();
            assert_eq!(found, [seen]);
        }
    }

    proptest! {
        #[test]
        fn grid_finds_what_a_search_of_all_players_finds(
            players in prop::collection::vec((1..50u64, 0..=10_000i32, 0..=8_000i32), 0..60),
            x in 0..=10_000i32, y in 0..=8_000i32, range in 1..4_000i32
        ) {
            let from = Point { x, y };
            let near = |&&(_, x, y): &&(u64, i32, i32)| from.reaches(Point { x, y }, range);
            let key = |&&(id, x, y): &&(u64, i32, i32)| (from.distance2(Point { x, y }), id);
            let all = players.iter().filter(near).min_by_key(key).map(|p| EntityId(p.0));
            prop_assert_eq!(nearest(&players, from, range), all);
        }
    }
}
