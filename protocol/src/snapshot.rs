//! The server's datagram: the player's own state, then what it sees, nearest first.

use crate::ids::{EntityId, Tick};

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

/// A whole snapshot, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The fixed part.
    pub header: SnapshotHeader,
    /// What is seen; never the viewer itself.
    pub entities: Vec<EntityView>,
}
