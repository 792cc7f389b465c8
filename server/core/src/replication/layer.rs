//! Entities with their packed records, sorted by place: a viewer's records are found and copied. It knows nothing of
//! sessions.
//!
//! In a crowd all viewers within a few steps of each other are told the same, looked up once from their middle. So a
//! crowd costs as much as its occupied places, not its heads, and a stack costs one search.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Range;

use everhold_protocol::{EntityUpdate, Tick};
use xxhash_rust::xxh3::Xxh3Default;

use super::changes::DueRecord;
use crate::interest::{Approach, Group, Interest, Reach, Viewpoint, VisibleEntities};

/// Squares per view radius whose viewers are told the same: 5 m at a radius of 100 m.
const SQUARES_PER_RADIUS: u32 = 16;

/// A packed record.
#[derive(Clone, Copy, Debug)]
struct LayerRecord {
    bytes: [u8; EntityUpdate::BYTES_MAX],
    len: u8,
}

/// The records of a tick, or a part of them.
#[derive(Debug)]
pub(super) struct Layer {
    interest: Interest,
    /// The squares' width is two to this power, cm; in a crowd the viewers of a square are told the same.
    square_shift: u32,
    places: Vec<Viewpoint>,
    /// Records in the order in which they were given.
    packed: Vec<LayerRecord>,
    /// The most that a viewer gets, bytes.
    bytes: usize,
    /// The way in which the present group of viewers searches.
    approach: Approach,
    /// Records in grid order.
    records: Vec<LayerRecord>,
    visible: VisibleEntities,
    /// Records that the viewers of a square share, and each square's range in them. Looked up by key alone: the order
    /// means nothing.
    shared: Vec<u8>,
    squares: HashMap<(i32, i32), Range<usize>, BuildHasherDefault<Xxh3Default>>,
}

impl Layer {
    /// # Panics
    /// If the radius is outside [`Reach::RADIUS_CM`].
    pub(super) fn new(radius_cm: i32) -> Self {
        Self {
            interest: Interest::new(Reach { radius_cm, budget: 1 }),
            square_shift: (radius_cm.unsigned_abs() / SQUARES_PER_RADIUS).ilog2(),
            places: Vec::new(),
            packed: Vec::new(),
            bytes: 0,
            approach: Approach::Nobody,
            records: Vec::new(),
            visible: VisibleEntities::default(),
            shared: Vec::new(),
            squares: HashMap::default(),
        }
    }

    /// Replaces the records. A viewer gets at most `bytes` of them.
    pub(super) fn rebuild(&mut self, due: &[DueRecord], id_range: u32, bytes: usize) {
        let mut longest = 1;
        let mut packed = Vec::with_capacity(EntityUpdate::BYTES_MAX);
        let mut pack = |due: &DueRecord| {
            packed.clear();
            due.update.encode(id_range, &mut packed);
            longest = longest.max(packed.len());
            let mut record = LayerRecord {
                bytes: [0; EntityUpdate::BYTES_MAX],
                len: packed.len() as u8,
            };
            record.bytes[..packed.len()].copy_from_slice(&packed);
            record
        };
        self.packed.clear();
        self.packed.extend(due.iter().map(&mut pack));
        let place = |due: &DueRecord| Viewpoint {
            x: due.view.x,
            y: due.view.y,
        };
        self.places.clear();
        self.places.extend(due.iter().map(place));
        self.bytes = bytes;
        self.interest.rebuild(&self.places, bytes / longest);
        let in_grid_order = self.interest.order().iter().map(|&index| self.packed[index as usize]);
        self.records.clear();
        self.records.extend(in_grid_order);
        self.shared.clear();
        self.squares.clear();
    }

    /// Prepares for the viewers of this group, which follow.
    pub(super) fn approach(&mut self, group: &Group) {
        self.approach = self.interest.approach(group);
    }

    /// Returns the bytes that [`Layer::tell`] may write.
    pub(super) fn room(&self) -> usize {
        self.bytes + EntityUpdate::BYTES_MAX
    }

    /// Writes the records for a viewer of the group, and returns their length; the bytes behind them are garbage.
    pub(super) fn tell(&mut self, viewer: Viewpoint, tick: Tick, out: &mut [u8]) -> usize {
        match self.approach {
            Approach::Nobody => return 0,
            Approach::Few => self.interest.look_at_few(viewer, &mut self.visible),
            Approach::Many => self.interest.look(viewer, tick, &mut self.visible),
            Approach::Crowd => {
                let shared = self.shared(viewer, tick);
                out[..shared.len()].copy_from_slice(&self.shared[shared.clone()]);
                return shared.len();
            }
        }
        copy(&self.records, &self.visible, out)
    }

    /// Returns the range of the records that all viewers in this viewer's square are told.
    fn shared(&mut self, viewer: Viewpoint, tick: Tick) -> Range<usize> {
        let square = (viewer.x >> self.square_shift, viewer.y >> self.square_shift);
        let room = self.room();
        let look = || {
            let middle = |at: i32| at << self.square_shift | 1 << self.square_shift >> 1;
            let from = Viewpoint {
                x: middle(square.0),
                y: middle(square.1),
            };
            self.interest.look(from, tick, &mut self.visible);
            let start = self.shared.len();
            self.shared.resize(start + room, 0);
            let len = copy(&self.records, &self.visible, &mut self.shared[start..]);
            self.shared.truncate(start + len);
            start..start + len
        };
        self.squares.entry(square).or_insert_with(look).clone()
    }
}

/// Writes the seen records, and returns their length. Each is copied at a full register's length, which needs no branch
/// (hardly one is longer), and the next one begins at its end.
fn copy(records: &[LayerRecord], visible: &VisibleEntities, out: &mut [u8]) -> usize {
    const USUAL: usize = 16;
    let mut end = 0;
    for &place in visible.places() {
        let LayerRecord { bytes, len } = &records[place as usize];
        let len = usize::from(*len);
        out[end..end + USUAL].copy_from_slice(&bytes[..USUAL]);
        if len > USUAL {
            out[end + USUAL..end + len].copy_from_slice(&bytes[USUAL..len]);
        }
        end += len;
    }
    end
}
