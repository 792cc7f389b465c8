//! Damage to stored bytes: a bit that flips, an end that is torn off. Where it strikes is drawn from the caller's
//! random numbers. It removes nothing as a whole, and touches neither fence nor chain.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use everhold_core::durability::store::{CheckpointHead, CheckpointKind, Position};
use everhold_protocol::rng::SplitMix64;
use everhold_protocol::{Epoch, Tick};

use super::data_set::DataSet;
use super::journal::JournalEntry;

/// A kind of stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredKind {
    /// Records of the journal.
    Record,
    /// Parts of the newest base.
    Base,
    /// Parts of the deltas on the newest base.
    Delta,
    /// Parts of the base before the newest, and of its deltas.
    PreviousChain,
    /// Parts of a checkpoint that is not the head yet, or never became it.
    Leftover,
}

/// A place of stored bytes in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredPlace {
    /// The record of a tick.
    Record(Tick),
    /// A part of a checkpoint's body.
    Part {
        /// The end of the checkpoint.
        position: Position,
        /// The number of the part, from 0 on.
        index: u32,
    },
}

/// Returns where there are bytes of this kind, oldest first.
pub(super) fn places(set: &DataSet, kind: StoredKind) -> Vec<StoredPlace> {
    let checkpoints = &set.checkpoints;
    let chain = checkpoints.newest_chain();
    match kind {
        StoredKind::Record => set.journal.entries().keys().copied().map(StoredPlace::Record).collect(),
        StoredKind::Base => parts_of(set, chain.get(..1).unwrap_or_default()),
        StoredKind::Delta => parts_of(set, chain.get(1..).unwrap_or_default()),
        StoredKind::PreviousChain => parts_of(set, checkpoints.previous_chain()),
        StoredKind::Leftover => {
            let leftover = checkpoints.parts().filter(|(position, ..)| !checkpoints.has(*position));
            let place = |(position, index, _)| StoredPlace::Part { position, index };
            leftover.map(place).collect()
        }
    }
}

fn parts_of(set: &DataSet, chain: &[CheckpointHead]) -> Vec<StoredPlace> {
    let positions = chain.iter().map(|head| head.position);
    let parts = positions.flat_map(|position| {
        let parts = set.checkpoints.parts_of(position);
        parts.map(move |(index, _)| StoredPlace::Part { position, index })
    });
    parts.collect()
}

/// Draws one of these places, if there are any.
pub(super) fn draw(places: &[StoredPlace], rng: &mut SplitMix64) -> Option<StoredPlace> {
    if places.is_empty() {
        return None;
    }
    Some(places[below(places.len(), rng)])
}

/// Returns a hash of what is stored at a place, if there is anything.
pub(super) fn fingerprint(set: &DataSet, place: StoredPlace) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    match place {
        StoredPlace::Record(tick) => set.journal.entries().get(&tick)?.hash(&mut hasher),
        StoredPlace::Part { position, index } => set.checkpoints.part(position, index)?.hash(&mut hasher),
    }
    Some(hasher.finish())
}

/// Whether the checkpoint of a place has nothing in its stead: no checkpoint before it, or not all records from that
/// one on.
pub(super) fn is_needed(set: &DataSet, place: StoredPlace) -> bool {
    let StoredPlace::Part { position, .. } = place else {
        return false;
    };
    let chain = set.checkpoints.chain().iter().map(|head| head.position);
    let before = chain.take_while(|head| *head != position).last();
    let after = before.map_or(0, |before| before.tick.0);
    let records = set.journal.entries().range(Tick(after + 1)..=position.tick);
    (records.count() as u64) < position.tick.0 - after
}

/// Whether the checkpoint of a place, with those that build on it, has nothing in its stead: no checkpoint before it,
/// or not all records from that one on.
pub(super) fn is_relied_on(set: &DataSet, place: StoredPlace) -> bool {
    let StoredPlace::Part { position, .. } = place else {
        return false;
    };
    let chain = set.checkpoints.chain().iter();
    let mut from_here = chain.skip_while(|head| head.position != position);
    let Some(here) = from_here.next() else { return false };
    let built_on_it = from_here.take_while(|head| head.kind != CheckpointKind::Base);
    let last = built_on_it.last().unwrap_or(here).position.tick;
    let chain = set.checkpoints.chain().iter().map(|head| head.position);
    let before = chain.take_while(|head| *head != position).last();
    let after = before.map_or(0, |before| before.tick.0);
    let records = set.journal.entries().range(Tick(after + 1)..=last);
    (records.count() as u64) < last.0 - after
}

/// Flips one bit of what is stored at a place. Returns whether there was one.
pub(super) fn flip_bit(set: &mut DataSet, place: StoredPlace, rng: &mut SplitMix64) -> bool {
    match place {
        StoredPlace::Record(tick) => {
            let entry = set.journal.entry_mut(tick);
            entry.map(|entry| flip_in_entry(entry, rng)).is_some()
        }
        StoredPlace::Part { position, index } => {
            let part = set.checkpoints.part_mut(position, index);
            let part = part.filter(|part| !part.is_empty());
            part.map(|part| flip_in(part, below(part.len(), rng), mask(rng)))
                .is_some()
        }
    }
}

/// Drops at least one of the last bytes of the body at a place. Returns whether there was one.
pub(super) fn tear(set: &mut DataSet, place: StoredPlace, rng: &mut SplitMix64) -> bool {
    let body = match place {
        StoredPlace::Record(tick) => set.journal.entry_mut(tick).map(|entry| &mut entry.body),
        StoredPlace::Part { position, index } => set.checkpoints.part_mut(position, index),
    };
    let body = body.filter(|body| !body.is_empty());
    body.map(|body| body.truncate(below(body.len(), rng))).is_some()
}

/// Flips a bit of a record as it is stored: of either hash, the epoch, or the body.
fn flip_in_entry(entry: &mut JournalEntry, rng: &mut SplitMix64) {
    let mut epoch = entry.epoch.0.to_be_bytes();
    let (at, mask) = (below(32 + 32 + epoch.len() + entry.body.len(), rng), mask(rng));
    match at {
        0..32 => entry.prev_hash.0[at] ^= mask,
        32..64 => entry.hash.0[at - 32] ^= mask,
        64..68 => {
            epoch[at - 64] ^= mask;
            entry.epoch = Epoch(u32::from_be_bytes(epoch));
        }
        _ => flip_in(&mut entry.body, at - 68, mask),
    }
}

fn flip_in(bytes: &mut Bytes, at: usize, mask: u8) {
    let mut changed = bytes.to_vec();
    changed[at] ^= mask;
    *bytes = changed.into();
}

/// Draws a byte with one bit.
const fn mask(rng: &mut SplitMix64) -> u8 {
    1 << rng.below(8)
}

/// Draws an index of a list that is not empty.
fn below(len: usize, rng: &mut SplitMix64) -> usize {
    usize::try_from(rng.below(len as u64)).expect("it is below a usize")
}
