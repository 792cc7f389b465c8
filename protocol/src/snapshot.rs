//! The server's datagram: the player's own state, then the nearest of what is around it, as many as fit, in no particular order.
//!
//! Packed as a kind byte and the fixed header ([`SnapshotHeader::BYTES`] in all), then records of [`EntityView::BYTES`] until the
//! datagram ends. Records are the same for every viewer and of fixed width, so that a sender encodes each once and copies it.

use crate::codec::{DecodeError, Reader, Writer};
use crate::ids::{EntityId, Item, Tick};
use crate::limits::DATAGRAM_BYTES_MAX;

/// The fixed part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The owner's epoch.
    pub epoch: u32,
    /// The tick this shows.
    pub tick: Tick,
    /// Speed of game time, in 255ths; 255 is real time.
    pub dilation: u8,
    /// The last input that the zone has applied.
    pub last_input_seq: u32,
    /// The session's last event up to this tick.
    pub event_seq: u32,
    /// Own position east, cm.
    pub x: i32,
    /// Own position north, cm.
    pub y: i32,
    /// Own hit points; zero is dead.
    pub hp: u16,
    /// [`value_digest`] of purse and inventory after `event_seq`.
    pub value_digest: u32,
}

impl SnapshotHeader {
    /// The first byte of a snapshot datagram.
    pub const KIND: u8 = 1;

    /// The packed header, its kind byte included.
    pub const BYTES: usize = 1 + 4 + 8 + 1 + 4 + 4 + 4 + 4 + 2 + 4;

    /// Appends [`Self::BYTES`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Writer::new(out);
        out.u8(Self::KIND);
        out.u32(self.epoch);
        out.u64(self.tick);
        out.u8(self.dilation);
        out.u32(self.last_input_seq);
        out.u32(self.event_seq);
        out.i32(self.x);
        out.i32(self.y);
        out.u16(self.hp);
        out.u32(self.value_digest);
    }

    /// Reads the header off the front of a datagram.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match from.u8()? {
            Self::KIND => {}
            tag => {
                return Err(DecodeError::UnknownTag {
                    what: "snapshot datagram",
                    tag,
                });
            }
        }
        Ok(Self {
            epoch: from.u32()?,
            tick: from.u64()?,
            dilation: from.u8()?,
            last_input_seq: from.u32()?,
            event_seq: from.u32()?,
            x: from.i32()?,
            y: from.i32()?,
            hp: from.u16()?,
            value_digest: from.u32()?,
        })
    }
}

/// What an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntityKind {
    /// Somebody's character.
    Player = 1,
    /// Wanders, chases, bites.
    Monster = 2,
    /// Lies on the ground and can be picked up.
    Item = 3,
}

impl EntityKind {
    /// The kind of this number.
    const fn from_number(number: u8) -> Result<Self, DecodeError> {
        match number {
            1 => Ok(Self::Player),
            2 => Ok(Self::Monster),
            3 => Ok(Self::Item),
            tag => Err(DecodeError::UnknownTag {
                what: "entity kind",
                tag,
            }),
        }
    }
}

/// One entity as others see it. It is the same for every viewer, so it is encoded once a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityView {
    /// Stable id.
    pub id: EntityId,
    /// What it is.
    pub kind: EntityKind,
    /// East, cm.
    pub x: i32,
    /// North, cm.
    pub y: i32,
    /// Health in 255ths; items have 255.
    pub health: u8,
}

impl EntityView {
    /// One packed record.
    pub const BYTES: usize = 8 + 3 + 3 + 1 + 1;

    /// The farthest that a zone reaches from its middle on either axis, cm: what 24 bits hold, about 83 km.
    pub const POSITION_CM_MAX: i32 = 0x7f_ffff;

    /// Appends [`Self::BYTES`] bytes. `x` and `y` must be within ±[`Self::POSITION_CM_MAX`]; farther out they are clamped, so that
    /// an entity never appears on the wrong side.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Writer::new(out);
        out.u64(self.id.0);
        out.i24(self.x.clamp(-Self::POSITION_CM_MAX, Self::POSITION_CM_MAX));
        out.i24(self.y.clamp(-Self::POSITION_CM_MAX, Self::POSITION_CM_MAX));
        out.u8(self.kind as u8);
        out.u8(self.health);
    }

    /// Reads one record.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = EntityId(from.u64()?);
        let (x, y) = (from.i24()?, from.i24()?);
        let kind = EntityKind::from_number(from.u8()?)?;
        Ok(Self {
            id,
            kind,
            x,
            y,
            health: from.u8()?,
        })
    }
}

/// A whole snapshot, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The fixed part.
    pub header: SnapshotHeader,
    /// What is seen; never the viewer itself.
    pub entities: Vec<EntityView>,
}

impl Snapshot {
    /// Entities that fit one datagram beside the header.
    pub const ENTITIES_MAX: usize = (DATAGRAM_BYTES_MAX - SnapshotHeader::BYTES) / EntityView::BYTES;

    /// Appends the packed snapshot.
    pub fn encode(&self, out: &mut Vec<u8>) {
        debug_assert!(
            self.entities.len() <= Self::ENTITIES_MAX,
            "{} entities in a snapshot",
            self.entities.len()
        );
        self.header.encode(out);
        for entity in &self.entities {
            entity.encode(out);
        }
    }

    /// Reads a whole datagram; a partial record at its end is an error.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(datagram);
        let header = SnapshotHeader::decode(&mut from)?;
        // The datagram's length bounds this.
        let mut entities = Vec::with_capacity(from.remaining() / EntityView::BYTES);
        while !from.is_empty() {
            entities.push(EntityView::decode(&mut from)?);
        }
        Ok(Self { header, entities })
    }
}

/// Digest of what a player owns: the first four bytes (as a little-endian number) of BLAKE3 over the gold, then each item's uid and
/// kind, all little-endian. `items` are in order of uid. It detects a difference that a fault made, not one that somebody forged.
#[must_use]
pub fn value_digest(gold: u64, items: &[Item]) -> u32 {
    debug_assert!(items.is_sorted_by_key(|item| item.uid), "items are not in order of uid");
    let mut hasher = blake3::Hasher::new();
    hasher.update(&gold.to_le_bytes());
    for item in items {
        hasher.update(&item.uid.0.to_le_bytes());
        hasher.update(&item.kind.to_le_bytes());
    }
    let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
    u32::from_le_bytes([a, b, c, d])
}
