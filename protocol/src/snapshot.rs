//! The server's datagram: the player's own state, then changes around it.
//!
//! An entity is sent as a place and a velocity, and the client moves it on by itself (dead reckoning). A record is sent
//! when that has gone wrong by more than [`DEVIATION_CM_MAX`], once more shortly after, in case the first was lost, and
//! every [`REFRESH_TICKS`] whether or not anything happened. Every record is whole: none needs an earlier one. An
//! entity that is not refreshed any more is out of sight, and forgotten after [`FORGET_TICKS`].
//!
//! After an attach the first snapshot has everything in sight, whether or not it has changed. It is of the very tick
//! that [`Attached`](crate::ServerMessage::Attached) names as `resumed_tick`, and may arrive before that message. So a
//! client keeps the snapshots that come before `Attached`, then forgets what it knew of entities, and then reads those
//! of `resumed_tick` and later.
//!
//! A snapshot says how far the zone is, and how far its store is behind: what is applied, and what is confirmed. The
//! difference is one number for all viewers of a tick, 0 unless the zone shows its ticks before they are stored. An
//! input is confirmed when a tick is whose snapshot had it applied; a client remembers which did.
//!
//! ```text
//! kind u8 · epoch varint · tick varint · unconfirmed_ticks varint · dilation u8 · last_input_seq varint
//!   · event_seq varint · x, y zigzag varint · hp varint · value_digest u32 · id_range varint
//!   · records until the datagram ends
//! record: flags u8 · [range varint] · counter varint · gone: nothing more
//!   · x u16 · y u16 · [health u8] · [dx i8 · dy i8]
//! ```
//!
//! A record has the same bytes for every viewer, so that a sender encodes each once and copies it: places are given by
//! the lower 16 bits of their centimetres, and the receiver takes the one that is nearest to itself. Every entity that
//! it sees is nearer than half of that range.

use crate::codec::{DecodeError, Reader, Writer, put_varint, zigzag};
use crate::ids::{EntityId, Epoch, Item, Tick};
use crate::limits::DATAGRAM_BYTES_MAX;

#[cfg(doc)]
use crate::limits::{DEVIATION_CM_MAX, FORGET_TICKS, REFRESH_TICKS};

/// The fixed part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The tick this shows.
    pub tick: Tick,
    /// Ticks up to this one that may be lost with their owner: they are not stored yet. 0: all that it shows is
    /// confirmed.
    pub unconfirmed_ticks: u16,
    /// Speed of game time, in 255ths; 255 is real time.
    pub dilation: u8,
    /// The last input that the zone has applied, for clients that predict. It is done when this tick is confirmed.
    pub last_input_seq: u64,
    /// The session's last event up to this tick.
    pub event_seq: u64,
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

    /// The longest packed header, kind byte and id range included.
    pub const BYTES_MAX: usize = HeaderForm::FRONT_BYTES_MAX + 10 + 10 + 5 + 5 + 3 + 4 + HeaderForm::BACK_BYTES_MAX;

    /// Returns the part that all viewers of the tick have in common.
    #[must_use]
    pub const fn of_tick(&self) -> TickHeader {
        TickHeader {
            epoch: self.epoch,
            tick: self.tick,
            unconfirmed_ticks: self.unconfirmed_ticks,
            dilation: self.dilation,
        }
    }

    /// Returns the last tick that is stored for certain.
    #[must_use]
    pub const fn confirmed(&self) -> Tick {
        self.of_tick().confirmed()
    }

    /// Appends the packed header. `id_range` is the [range](EntityId::range) that records need not name.
    pub fn encode(&self, id_range: u32, out: &mut Vec<u8>) {
        let mut bytes = [0; HeaderForm::ROOM];
        let len = HeaderForm::new(self.of_tick(), id_range).fill(self, &mut bytes);
        out.extend_from_slice(&bytes[..len]);
    }

    /// Reads the header off the front of a datagram, and the range that its records need not name.
    pub fn decode(from: &mut Reader<'_>) -> Result<(Self, u32), DecodeError> {
        match from.u8()? {
            Self::KIND => {}
            tag => {
                return Err(DecodeError::UnknownTag {
                    what: "snapshot datagram",
                    tag,
                });
            }
        }
        let header = Self {
            epoch: Epoch(from.varint_u32()?),
            tick: Tick(from.varint()?),
            unconfirmed_ticks: varint_u16(from)?,
            dilation: from.u8()?,
            last_input_seq: from.varint()?,
            event_seq: from.varint()?,
            x: from.zigzag()?,
            y: from.zigzag()?,
            hp: varint_u16(from)?,
            value_digest: from.u32()?,
        };
        Ok((header, from.varint_u32()?))
    }
}

/// Reads a varint that fits 16 bits.
fn varint_u16(from: &mut Reader<'_>) -> Result<u16, DecodeError> {
    u16::try_from(from.varint()?).map_err(|_| DecodeError::Varint)
}

/// The part of a header that all viewers of a tick have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickHeader {
    /// See [`SnapshotHeader::epoch`].
    pub epoch: Epoch,
    /// See [`SnapshotHeader::tick`].
    pub tick: Tick,
    /// See [`SnapshotHeader::unconfirmed_ticks`].
    pub unconfirmed_ticks: u16,
    /// See [`SnapshotHeader::dilation`].
    pub dilation: u8,
}

impl TickHeader {
    /// Returns the header of a tick that is shown when it is stored, at full speed.
    #[must_use]
    pub const fn stored(epoch: Epoch, tick: Tick) -> Self {
        Self {
            epoch,
            tick,
            unconfirmed_ticks: 0,
            dilation: u8::MAX,
        }
    }

    /// Returns the last tick that is stored for certain.
    #[must_use]
    pub const fn confirmed(&self) -> Tick {
        Tick(self.tick.0.saturating_sub(self.unconfirmed_ticks as u64))
    }
}

/// The common part of the headers of all viewers of a tick, packed once: a server fills in the rest ten thousand times.
#[derive(Clone, Debug)]
pub struct HeaderForm {
    of: TickHeader,
    front: [u8; Self::FRONT_BYTES_MAX],
    front_len: usize,
    back: [u8; Self::BACK_BYTES_MAX],
    back_len: usize,
}

impl HeaderForm {
    /// Bytes that [`HeaderForm::fill`] may write; those behind the header's end are garbage.
    pub const ROOM: usize = SnapshotHeader::BYTES_MAX + 8;

    const FRONT_BYTES_MAX: usize = 1 + 5 + 10 + 3 + 1;
    const BACK_BYTES_MAX: usize = 5;

    /// Returns the form of a tick. `id_range` is the [range](EntityId::range) that records need not name.
    #[must_use]
    pub fn new(of: TickHeader, id_range: u32) -> Self {
        let mut bytes = Vec::with_capacity(Self::FRONT_BYTES_MAX);
        let mut out = Writer::new(&mut bytes);
        out.u8(SnapshotHeader::KIND);
        out.varint(u64::from(of.epoch.0));
        out.varint(of.tick.0);
        out.varint(u64::from(of.unconfirmed_ticks));
        out.u8(of.dilation);
        let (mut front, front_len) = ([0; Self::FRONT_BYTES_MAX], bytes.len());
        front[..front_len].copy_from_slice(&bytes);
        bytes.clear();
        Writer::new(&mut bytes).varint(u64::from(id_range));
        let (mut back, back_len) = ([0; Self::BACK_BYTES_MAX], bytes.len());
        back[..back_len].copy_from_slice(&bytes);
        Self {
            of,
            front,
            front_len,
            back,
            back_len,
        }
    }

    /// Packs a header of this tick, and returns its length.
    #[inline]
    pub fn fill(&self, header: &SnapshotHeader, out: &mut [u8; Self::ROOM]) -> usize {
        debug_assert_eq!(self.of, header.of_tick(), "another form's header");
        out[..Self::FRONT_BYTES_MAX].copy_from_slice(&self.front);
        let mut len = self.front_len;
        let numbers = [
            header.last_input_seq,
            header.event_seq,
            u64::from(zigzag(header.x)),
            u64::from(zigzag(header.y)),
            u64::from(header.hp),
        ];
        // Each is written at full width, which needs no branch, and the next one begins where it ends.
        for number in numbers {
            len = put_varint(number, out, len);
        }
        out[len..len + 4].copy_from_slice(&header.value_digest.to_le_bytes());
        len += 4;
        out[len..len + Self::BACK_BYTES_MAX].copy_from_slice(&self.back);
        len + self.back_len
    }
}

/// The kind of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntityKind {
    /// A player's character.
    Player = 1,
    /// A monster: it wanders, chases, bites.
    Monster = 2,
    /// An item on the ground, which can be picked up.
    Item = 3,
}

/// One entity as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityView {
    /// Stable id.
    pub id: EntityId,
    /// The entity's kind.
    pub kind: EntityKind,
    /// East, cm.
    pub x: i32,
    /// North, cm.
    pub y: i32,
    /// Health in 255ths; items have 255.
    pub health: u8,
}

/// An entity's movement in a tick, cm. Anything faster (25 m/s at 20 Hz) is sent as standing, and again each tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Velocity {
    /// Movement east, cm.
    pub dx: i8,
    /// Movement north, cm.
    pub dy: i8,
}

impl Velocity {
    /// Standing still.
    pub const STILL: Self = Self { dx: 0, dy: 0 };

    /// Returns the point that it leads to from another in `ticks` ticks.
    #[must_use]
    pub fn lead(self, x: i32, y: i32, ticks: u32) -> (i32, i32) {
        let way = |axis: i8| i32::from(axis).saturating_mul(i32::try_from(ticks).unwrap_or(i32::MAX));
        (x.saturating_add(way(self.dx)), y.saturating_add(way(self.dy)))
    }
}

/// A record: the change of one entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityUpdate {
    /// It is here, and moves like this.
    Seen(EntityView, Velocity),
    /// It is nowhere any more: dead and decayed, picked up, or a player who was away, by a log-out or a lost
    /// connection, for as long as the `linger_ms` of the world file says.
    Gone(EntityId),
}

impl EntityUpdate {
    /// The longest record, bytes.
    pub const BYTES_MAX: usize = 1 + 5 + 5 + 2 + 2 + 1 + 2;

    /// The farthest that an entity may be from its viewer on either axis, cm.
    pub const DISTANCE_CM_MAX: i32 = i16::MAX as i32;

    // Flags. The lowest two bits are the kind; zero is gone.
    const KIND: u8 = 3;
    const HURT: u8 = 1 << 2;
    const MOVES: u8 = 1 << 3;
    const FOREIGN: u8 = 1 << 4;

    /// Returns the entity's id.
    #[must_use]
    pub const fn id(&self) -> EntityId {
        match self {
            Self::Seen(EntityView { id, .. }, _) | Self::Gone(id) => *id,
        }
    }

    /// Appends at most [`Self::BYTES_MAX`] bytes.
    pub fn encode(&self, id_range: u32, out: &mut Vec<u8>) {
        let mut out = Writer::new(out);
        let id = self.id();
        let foreign = if id.range() == id_range { 0 } else { Self::FOREIGN };
        let flags = match self {
            Self::Gone(_) => 0,
            Self::Seen(view, velocity) => {
                let hurt = if view.health == u8::MAX { 0 } else { Self::HURT };
                let moves = if *velocity == Velocity::STILL { 0 } else { Self::MOVES };
                view.kind as u8 | hurt | moves
            }
        };
        out.u8(flags | foreign);
        if foreign != 0 {
            out.varint(u64::from(id.range()));
        }
        out.varint(u64::from(id.counter()));
        let Self::Seen(view, velocity) = self else { return };
        out.u16(view.x as u16);
        out.u16(view.y as u16);
        if flags & Self::HURT != 0 {
            out.u8(view.health);
        }
        if flags & Self::MOVES != 0 {
            out.i8(velocity.dx);
            out.i8(velocity.dy);
        }
    }

    /// Reads one record. `near` is the viewer's own place.
    pub fn decode(from: &mut Reader<'_>, id_range: u32, near: (i32, i32)) -> Result<Self, DecodeError> {
        let flags = from.u8()?;
        let (foreign, hurt, moves) = (
            flags & Self::FOREIGN != 0,
            flags & Self::HURT != 0,
            flags & Self::MOVES != 0,
        );
        // A flagged value is never the default, so that a record has one encoding.
        let unknown = Err(DecodeError::UnknownTag {
            what: "entity record",
            tag: flags,
        });
        let range = if foreign { from.varint_u32()? } else { id_range };
        let id = EntityId::new(range, from.varint_u32()?);
        let kind = match flags & Self::KIND {
            _ if flags >= Self::FOREIGN << 1 || foreign && range == id_range => return unknown,
            1 => EntityKind::Player,
            2 => EntityKind::Monster,
            3 => EntityKind::Item,
            _ if hurt || moves => return unknown,
            _ => return Ok(Self::Gone(id)),
        };
        let (x, y) = (nearest(from.u16()?, near.0), nearest(from.u16()?, near.1));
        let health = if hurt { from.u8()? } else { u8::MAX };
        let mut velocity = Velocity::STILL;
        if moves {
            (velocity.dx, velocity.dy) = (from.i8()?, from.i8()?);
        }
        if hurt && health == u8::MAX || moves && velocity == Velocity::STILL {
            return unknown;
        }
        Ok(Self::Seen(EntityView { id, kind, x, y, health }, velocity))
    }
}

/// Returns, of all numbers with these lower 16 bits, the one nearest to `near`.
fn nearest(low: u16, near: i32) -> i32 {
    near.wrapping_add(i32::from(low.wrapping_sub(near as u16) as i16))
}

/// A whole snapshot, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The fixed part.
    pub header: SnapshotHeader,
    /// The [range](EntityId::range) of most of the updates' ids; only the others name theirs.
    pub id_range: u32,
    /// Changes; the viewer itself may be among them.
    pub updates: Vec<EntityUpdate>,
}

impl Snapshot {
    /// Appends the packed snapshot, whose updates fit [`DATAGRAM_BYTES_MAX`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        self.header.encode(self.id_range, out);
        for update in &self.updates {
            update.encode(self.id_range, out);
        }
        let bytes = out.len() - start;
        debug_assert!(bytes <= DATAGRAM_BYTES_MAX, "a snapshot of {bytes} B");
    }

    /// Reads a whole datagram; a partial record at its end is an error.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(datagram);
        let (header, id_range) = SnapshotHeader::decode(&mut from)?;
        // The datagram's length bounds this: no record is shorter than two bytes.
        let mut updates = Vec::with_capacity(from.remaining() / 7);
        while !from.is_empty() {
            updates.push(EntityUpdate::decode(&mut from, id_range, (header.x, header.y))?);
        }
        Ok(Self {
            header,
            id_range,
            updates,
        })
    }
}

/// Returns the digest of what a player owns: the first four bytes (as a little-endian number) of BLAKE3 over the gold,
/// then each item's uid and kind, all little-endian. `items` are in order of uid. It detects a difference that a fault
/// made, not one that was forged.
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
