//! Identifiers. Each is assigned by us and stable: it means the same in another process after an adoption.

use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A simulation step's number, counted from the zone's creation. It never goes back within a zone's confirmed history.
///
/// It is no count of steps, which is a plain `u64`: `tick + count` is a tick, `tick - tick` a count. On the wire, in
/// stores, and in text it is the bare number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tick(pub u64);

impl Tick {
    /// The last tick there can be: later than any that a zone reaches.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the tick after this one. None follows [`Tick::MAX`]: there it overflows, as `+` does.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Counts the ticks since `earlier`; 0 if that is later.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Counts the ticks since `earlier`; `None` if that is later.
    #[inline]
    #[must_use]
    pub const fn checked_since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// Returns the tick `count` later, or the last one.
    #[inline]
    #[must_use]
    pub const fn saturating_add(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// Whether it is one tick in `count`: its number is a multiple.
    #[inline]
    #[must_use]
    pub const fn is_every(self, count: u64) -> bool {
        self.0.is_multiple_of(count)
    }
}

impl std::fmt::Display for Tick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Add<u64> for Tick {
    type Output = Self;

    #[inline]
    fn add(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl AddAssign<u64> for Tick {
    #[inline]
    fn add_assign(&mut self, count: u64) {
        self.0 += count;
    }
}

impl Sub<u64> for Tick {
    type Output = Self;

    #[inline]
    fn sub(self, count: u64) -> Self {
        Self(self.0 - count)
    }
}

impl Sub for Tick {
    type Output = u64;

    #[inline]
    fn sub(self, earlier: Self) -> u64 {
        self.0 - earlier.0
    }
}

/// The number of an ownership of a zone: every new owner has a higher one. 0: the zone had no owner yet. Epochs of two
/// zones do not compare. It is no right to act, only a name: the right is the server's `Grant`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// Before the zone's first owner.
    pub const NONE: Self = Self(0);

    /// The zone's first owner.
    pub const FIRST: Self = Self(1);

    /// Returns the epoch of the next owner, unless the numbers have run out.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An account, as the login service numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Account(pub u64);

/// An entity's stable id, unique in the whole world: in the upper 32 bits the range that allocated it (20 bits of
/// epoch, 12 bits of zone number), a counter in the lower 32.
///
/// An adopter allocates in a new epoch's range, so an id that a lost, unacknowledged tick gave out is never given to
/// something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntityId(pub u64);

impl EntityId {
    /// Returns the id that `range` allocates as its `counter`-th.
    #[must_use]
    pub const fn new(range: u32, counter: u32) -> Self {
        Self((range as u64) << 32 | counter as u64)
    }

    /// Returns the range that allocated it.
    #[must_use]
    pub const fn range(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Returns its place among the ids of that range.
    #[must_use]
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }
}

/// A session's id: its player's entity. One account has at most one in a zone, and it keeps its id over reconnects and
/// adoptions.
pub type SessionId = EntityId;

/// A thing that a player owns. `uid` is unique in the whole world for ever, so that any observer can detect a
/// duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Item {
    /// Unique for ever: the id of the entity that the item was when it first lay on the ground, or was allocated for
    /// it.
    pub uid: EntityId,
    /// Index into the rules' item table.
    pub kind: u16,
}

/// A zone's name: 1 to [`ZoneName::BYTES_MAX`] characters of `a-z`, `0-9`, `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ZoneName(String);

/// The text is no zone name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a zone name is 1 to 32 characters of a-z, 0-9 and '-', not {0:?}")]
pub struct ZoneNameError(String);

impl ZoneName {
    /// The longest name, in bytes: it is part of file names and store keys.
    pub const BYTES_MAX: usize = 32;

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ZoneName {
    type Error = ZoneNameError;

    fn try_from(text: String) -> Result<Self, ZoneNameError> {
        let fits = (1..=Self::BYTES_MAX).contains(&text.len());
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits && plain {
            Ok(Self(text))
        } else {
            Err(ZoneNameError(text.chars().take(64).collect()))
        }
    }
}

impl std::str::FromStr for ZoneName {
    type Err = ZoneNameError;

    fn from_str(text: &str) -> Result<Self, ZoneNameError> {
        Self::try_from(text.to_owned())
    }
}

impl From<ZoneName> for String {
    fn from(name: ZoneName) -> Self {
        name.0
    }
}

impl std::fmt::Display for ZoneName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
