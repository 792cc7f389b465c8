//! The checkpoints of one zone: parts of bodies, and the chain of those that became the head. It has no fence, and no
//! journal that a base would trim.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use everhold_core::durability::store::{Checkpoint, CheckpointHead, CheckpointKind, Position, RecordHash, StoreError};
use everhold_protocol::{Epoch, Tick};

/// A position as a key, in order of tick.
type PositionKey = (Tick, Epoch, [u8; 32]);

/// The checkpoints of one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct StoredCheckpoints {
    /// Checkpoints from the previous base on, in the order in which they became the head.
    chain: Vec<CheckpointHead>,
    parts: BTreeMap<PositionKey, BTreeMap<u32, Bytes>>,
    /// Whether the head is moved from any parent: a mutant.
    skips_parents: bool,
}

impl StoredCheckpoints {
    /// Whether the checkpoint at this position is or was the head.
    pub(super) fn has(&self, position: Position) -> bool {
        self.chain.iter().any(|head| head.position == position)
    }

    /// Whether a checkpoint ends with this record.
    pub(super) fn covers(&self, tick: Tick, hash: RecordHash) -> bool {
        let mut positions = self.chain.iter().map(|head| head.position);
        positions.any(|position| (position.tick, position.hash) == (tick, hash))
    }

    /// Returns all of the chain, from the previous base on.
    pub(super) fn chain(&self) -> &[CheckpointHead] {
        &self.chain
    }

    /// Drops the checkpoints after `head`, and all parts of what is no checkpoint then, but for what this epoch wrote.
    pub(super) fn rewind(&mut self, epoch: Epoch, head: Option<Position>) {
        let place = |head| self.chain.iter().position(|stored| stored.position == head);
        let kept = head.map_or(0, |head| place(head).map_or(self.chain.len(), |place| place + 1));
        let mut index = 0;
        self.chain.retain(|stored| {
            index += 1;
            index <= kept || stored.position.epoch == epoch
        });
        let chain: Vec<PositionKey> = self.chain.iter().map(|head| key(head.position)).collect();
        self.parts
            .retain(|position, _| chain.contains(position) || position.1 == epoch);
    }

    /// Moves the head from any parent from now on.
    pub(super) const fn skip_parents(&mut self) {
        self.skips_parents = true;
    }

    pub(super) fn head(&self) -> Option<Position> {
        self.chain.last().map(|head| head.position)
    }

    pub(super) fn base(&self) -> Option<Position> {
        self.newest_chain().first().map(|head| head.position)
    }

    /// Returns the newest base and its deltas, in order.
    pub(super) fn newest_chain(&self) -> &[CheckpointHead] {
        self.newest_base().map_or(&[], |base| &self.chain[base..])
    }

    /// Returns the checkpoints that the newest base made superfluous but for a repair: the base before it, with its
    /// deltas.
    pub(super) fn previous_chain(&self) -> &[CheckpointHead] {
        self.newest_base().map_or(&[], |base| &self.chain[..base])
    }

    /// Writes a part, but to a checkpoint that is complete: that is a repeat that comes late, or a second capture of
    /// the same tick.
    pub(super) fn put_part(&mut self, position: Position, index: u32, bytes: Bytes) {
        if !self.has(position) {
            self.parts.entry(key(position)).or_default().insert(index, bytes);
        }
    }

    /// Deletes the first parts at a position, but those of a checkpoint that is complete.
    pub(super) fn drop_parts(&mut self, position: Position, parts: u32) {
        if !self.has(position)
            && let Some(stored) = self.parts.get_mut(&key(position))
        {
            stored.retain(|index, _| *index >= parts);
        }
    }

    /// Checks that a delta builds on the head, or that a base is newer than it, and that all parts are there.
    pub(super) fn check(&self, head: CheckpointHead) -> Result<(), StoreError> {
        let (current, position) = (self.head(), head.position);
        let fits = match head.kind {
            CheckpointKind::Delta { .. } if self.skips_parents => true,
            CheckpointKind::Delta { parent } => current == Some(parent) && position.tick > parent.tick,
            CheckpointKind::Base => {
                current.is_none_or(|current| (position.epoch, position.tick) > (current.epoch, current.tick))
            }
        };
        if !fits {
            return Err(StoreError::ParentMoved);
        }
        let (mut parts, mut bytes) = (0, 0);
        // An earlier attempt at the same position may have had more.
        for part in self.parts_of(position).take_while(|(index, _)| *index < head.parts) {
            (parts, bytes) = (parts + 1, bytes + part.1.len() as u64);
        }
        if (parts, bytes) == (head.parts, head.bytes) {
            return Ok(());
        }
        Err(StoreError::Corrupt(format!(
            "{parts} of {} parts, {bytes} of {} bytes of the checkpoint of tick {} were written",
            head.parts, head.bytes, position.tick
        )))
    }

    /// Makes a checked checkpoint the head. If it is a base, deletes what is older than the previous one, and strays;
    /// returns the tick of the previous one.
    pub(super) fn push(&mut self, head: CheckpointHead) -> Option<Tick> {
        if let Some(parts) = self.parts.get_mut(&key(head.position)) {
            parts.retain(|index, _| *index < head.parts);
        }
        let previous = self.newest_base();
        self.chain.push(head);
        if head.kind != CheckpointKind::Base {
            return None;
        }
        let previous_tick = previous.map(|previous| self.chain[previous].position.tick);
        self.chain.drain(..previous.unwrap_or(0));
        let kept: Vec<PositionKey> = self.chain.iter().map(|head| key(head.position)).collect();
        self.parts.retain(|position, _| kept.contains(position));
        previous_tick
    }

    /// Reads a checkpoint with its body.
    pub(super) fn read(&self, head: CheckpointHead) -> Result<Checkpoint, StoreError> {
        let mut body = BytesMut::new();
        let mut parts = 0;
        for (_, part) in self.parts_of(head.position) {
            body.extend_from_slice(part);
            parts += 1;
        }
        if (parts, body.len() as u64) == (head.parts, head.bytes) {
            let body = body.freeze();
            return Ok(Checkpoint { head, body });
        }
        Err(StoreError::Corrupt(format!(
            "the checkpoint of tick {} has {parts} of {} parts, {} of {} bytes",
            head.position.tick,
            head.parts,
            body.len(),
            head.bytes
        )))
    }

    /// Returns the parts of one body, in order.
    pub(super) fn parts_of(&self, position: Position) -> impl Iterator<Item = (u32, &Bytes)> {
        let parts = self.parts.get(&key(position)).into_iter().flatten();
        parts.map(|(index, bytes)| (*index, bytes))
    }

    pub(super) fn part(&self, position: Position, index: u32) -> Option<&Bytes> {
        self.parts.get(&key(position))?.get(&index)
    }

    /// Returns a stored part, to damage it.
    pub(super) fn part_mut(&mut self, position: Position, index: u32) -> Option<&mut Bytes> {
        self.parts.get_mut(&key(position))?.get_mut(&index)
    }

    /// Returns all parts, each with its position and its index.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Position, u32, &Bytes)> {
        self.parts.iter().flat_map(|(&(tick, epoch, hash), parts)| {
            let hash = RecordHash(hash);
            let position = Position { epoch, tick, hash };
            parts.iter().map(move |(index, bytes)| (position, *index, bytes))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.chain.len()
    }

    fn newest_base(&self) -> Option<usize> {
        let mut kinds = self.chain.iter().map(|head| head.kind);
        kinds.rposition(|kind| kind == CheckpointKind::Base)
    }
}

const fn key(position: Position) -> PositionKey {
    (position.tick, position.epoch, position.hash.0)
}
