//! A zone's ground: its size, its obstacles, and where things come into being.

use std::ops::RangeInclusive;

use everhold_protocol::ZoneName;
use serde::{Deserialize, Serialize};

use super::chance::below;
use super::error::RuleError;
use super::geometry::{Point, Rect};
use crate::limits::{OBSTACLES_NEAR_MAX, ZONE_NUMBER_MAX, ZONE_THINGS_MAX};

/// The widest zone, cm: 10 km. Squared distances and grids stay far from overflow.
pub const SIDE_CM_MAX: i32 = 1_000_000;
/// The fastest walker, cm per second: at one tick per second a step still ends within the obstacles that [`ZoneMap`]
/// keeps per cell.
pub const SPEED_CM_S_MAX: i32 = 1_000;

/// A cell of the obstacle index is two to this power wide, cm: a few steps, so that most cells hold no obstacle.
const CELL_LOG2: u32 = 11;
/// Places that are tried for something that may lie anywhere, before it falls back to a spawn point.
const PLACE_TRIES: u64 = 8;

/// The size of a zone's obstacle index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexSize {
    /// Its cells.
    pub cells: usize,
    /// Obstacles, each counted in every cell from which a step could meet it.
    pub entries: usize,
}

/// The description of a zone in the world file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneRules {
    /// Unique in the world.
    pub name: ZoneName,
    /// Unique in the world for ever, at most [`ZONE_NUMBER_MAX`]: part of every id.
    pub number: u16,
    /// East-west, cm.
    pub width_cm: i32,
    /// North-south, cm.
    pub height_cm: i32,
    /// The points where players are born and live again; at least one.
    pub spawns: Vec<Point>,
    /// The points where monsters live, one monster each.
    #[serde(default)]
    pub camps: Vec<Point>,
    /// Items on the ground when the zone is created.
    pub items_at_start: u32,
    /// Items on the ground at most; while there are fewer, one comes every `item.spawn_ms`.
    pub items_max: u32,
    /// Closed rectangles.
    #[serde(default)]
    pub obstacles: Vec<Rect>,
}

/// A checked zone with its obstacles indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneMap {
    rules: ZoneRules,
    columns: usize,
    /// A bit for each cell from which a step could meet an obstacle. Small, for every step of everybody looks here.
    walled: Vec<u64>,
    /// The index in `met` of each cell's first obstacle; one more at the end.
    starts: Vec<u32>,
    /// Cell after cell the obstacles that a step from inside the cell could meet, as indices into `rules.obstacles`.
    met: Vec<u16>,
}

impl ZoneMap {
    /// Checks the numbers and indexes the obstacles.
    pub fn new(rules: ZoneRules) -> Result<Self, RuleError> {
        let size = Self::index_size(&rules)?;
        let columns = columns(&rules);
        let mut cells = vec![Vec::new(); size.cells];
        for (index, obstacle) in (0u16..).zip(&rules.obstacles) {
            let (across, up) = cells_near(&rules, obstacle);
            for row in up {
                for column in across.clone() {
                    cells[row * columns + column].push(index);
                }
            }
        }
        let fullest = cells.iter().map(Vec::len).max().unwrap_or_default();
        let key = "the number of obstacles that a step from one place can meet";
        within(key, fullest as i128, 0..=OBSTACLES_NEAR_MAX as i128).map_err(|problem| of_zone(&rules, &problem))?;
        let mut walled = vec![0; cells.len().div_ceil(64)];
        for cell in (0..cells.len()).filter(|&cell| !cells[cell].is_empty()) {
            walled[cell / 64] |= 1 << (cell % 64);
        }
        let mut starts = vec![0];
        starts.extend(cells.iter().scan(0, |end, cell| {
            *end += cell.len() as u32;
            Some(*end)
        }));
        let map = Self {
            rules,
            columns,
            walled,
            starts,
            met: cells.concat(),
        };
        map.check_places().map_err(|problem| of_zone(&map.rules, &problem))?;
        Ok(map)
    }

    /// Checks the numbers, and says how large the index of the obstacles will be.
    pub fn index_size(rules: &ZoneRules) -> Result<IndexSize, RuleError> {
        check(rules).map_err(|problem| of_zone(rules, &problem))?;
        let entries = |obstacle: &Rect| {
            let (across, up) = cells_near(rules, obstacle);
            across.count() * up.count()
        };
        Ok(IndexSize {
            cells: columns(rules) * rows(rules),
            entries: rules.obstacles.iter().map(entries).sum(),
        })
    }

    /// Checks that every spawn point and every camp is free to stand on.
    fn check_places(&self) -> Result<(), String> {
        for (index, &point) in self.rules.spawns.iter().enumerate() {
            if !self.is_free(point) {
                return Err(format!(
                    "spawns[{index}] {point:?} is outside the zone or inside an obstacle"
                ));
            }
        }
        for (index, &point) in self.rules.camps.iter().enumerate() {
            if !self.is_free(point) {
                return Err(format!(
                    "camps[{index}] {point:?} is outside the zone or inside an obstacle"
                ));
            }
        }
        Ok(())
    }

    /// Returns the zone's description in the world file.
    #[must_use]
    pub fn rules(&self) -> &ZoneRules {
        &self.rules
    }

    /// The point itself, or the nearest one within bounds.
    #[must_use]
    pub fn clamp(&self, point: Point) -> Point {
        Point {
            x: point.x.clamp(0, self.rules.width_cm),
            y: point.y.clamp(0, self.rules.height_cm),
        }
    }

    /// The obstacles that a step of at most [`SPEED_CM_S_MAX`] from `point` could meet.
    pub fn obstacles_near(&self, point: Point) -> impl Iterator<Item = Rect> + Clone {
        let Point { x, y } = self.clamp(point);
        let cell = (y >> CELL_LOG2) as usize * self.columns + (x >> CELL_LOG2) as usize;
        let met = if self.walled[cell / 64] >> (cell % 64) & 1 == 0 {
            &[]
        } else {
            &self.met[self.starts[cell] as usize..self.starts[cell + 1] as usize]
        };
        met.iter().map(|&index| self.rules.obstacles[usize::from(index)])
    }

    /// Whether somebody may stand there.
    #[must_use]
    pub fn is_free(&self, point: Point) -> bool {
        self.clamp(point) == point && !self.obstacles_near(point).any(|obstacle| obstacle.encloses(point))
    }

    /// One of the spawn points, by 64 random bits.
    #[must_use]
    pub fn spawn_point(&self, bits: u64) -> Point {
        self.rules.spawns[below(bits, self.rules.spawns.len() as u64) as usize]
    }

    /// A free place anywhere, by 64 random bits.
    #[must_use]
    pub fn any_place(&self, bits: u64) -> Point {
        let axis = |bits: u64, size: i32| below(bits, size as u64 + 1) as i32;
        (0..PLACE_TRIES)
            .map(|attempt| {
                let draw = bits.rotate_left(attempt as u32 * 7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                Point {
                    x: axis(draw, self.rules.width_cm),
                    y: axis(draw << 32, self.rules.height_cm),
                }
            })
            .find(|&place| self.is_free(place))
            .unwrap_or_else(|| self.spawn_point(bits))
    }
}

fn columns(rules: &ZoneRules) -> usize {
    (rules.width_cm >> CELL_LOG2) as usize + 1
}

fn rows(rules: &ZoneRules) -> usize {
    (rules.height_cm >> CELL_LOG2) as usize + 1
}

/// Columns and rows of the cells from which a step could meet an obstacle.
fn cells_near(rules: &ZoneRules, obstacle: &Rect) -> (RangeInclusive<usize>, RangeInclusive<usize>) {
    let cell = |cm: i32, last: usize| (cm.max(0) >> CELL_LOG2).min(last as i32 - 1) as usize;
    let span = |from: i32, to: i32, last: usize| cell(from - SPEED_CM_S_MAX, last)..=cell(to + SPEED_CM_S_MAX, last);
    (
        span(obstacle.west, obstacle.east, columns(rules)),
        span(obstacle.south, obstacle.north, rows(rules)),
    )
}

fn of_zone(rules: &ZoneRules, problem: &str) -> RuleError {
    RuleError::Number(format!("zone {}: {problem}", rules.name))
}

/// Says which bounds a number is not within.
pub(super) fn within(key: &str, value: i128, bounds: RangeInclusive<i128>) -> Result<(), String> {
    if bounds.contains(&value) {
        Ok(())
    } else {
        Err(format!("{key} must be within {bounds:?}, not {value}"))
    }
}

fn check(rules: &ZoneRules) -> Result<(), String> {
    let side = 100..=i128::from(SIDE_CM_MAX);
    let points = i128::from(u16::MAX);
    within("width_cm", rules.width_cm.into(), side.clone())?;
    within("height_cm", rules.height_cm.into(), side)?;
    within("number", rules.number.into(), 0..=ZONE_NUMBER_MAX.into())?;
    within("the number of spawns", rules.spawns.len() as i128, 1..=points)?;
    within("the number of camps", rules.camps.len() as i128, 0..=points)?;
    within("the number of obstacles", rules.obstacles.len() as i128, 0..=points)?;
    let things = i128::from(rules.items_max) + rules.camps.len() as i128;
    within("items_max and camps together", things, 0..=ZONE_THINGS_MAX as i128)?;
    let items_max = i128::from(rules.items_max);
    within(
        "items_at_start, which items_max bounds,",
        rules.items_at_start.into(),
        0..=items_max,
    )?;
    for (index, wall) in rules.obstacles.iter().enumerate() {
        let inside = 0 <= wall.west && wall.east <= rules.width_cm && 0 <= wall.south && wall.north <= rules.height_cm;
        if !inside || wall.west >= wall.east || wall.south >= wall.north {
            return Err(format!(
                "obstacles[{index}] {wall:?} must be [west, south, east, north] within the zone"
            ));
        }
    }
    Ok(())
}
