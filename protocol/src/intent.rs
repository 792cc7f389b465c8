//! Intents: what players want to do. An [`Intent`] that exists is well-formed; whether it is allowed, the rules decide
//! at its tick.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::codec::{DecodeError, Reader, Writer};
use crate::ids::EntityId;
use crate::limits::CHAT_BYTES_MAX;
use crate::text::{self, TextError};

/// A direction of movement: each axis −127..=127, of length at most 127. `(0, 0)` stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(i8, i8)", into = "(i8, i8)")]
pub struct Heading {
    /// East, in 127ths of full speed.
    dx: i8,
    /// North, in 127ths of full speed.
    dy: i8,
}

impl Heading {
    /// Standing still.
    pub const STILL: Self = Self { dx: 0, dy: 0 };

    /// A heading, or an error if it is longer than full speed.
    pub const fn new(dx: i8, dy: i8) -> Result<Self, IntentError> {
        let (x, y) = (dx as i32, dy as i32);
        if x * x + y * y <= 127 * 127 {
            Ok(Self { dx, dy })
        } else {
            Err(IntentError::HeadingTooLong { dx, dy })
        }
    }

    /// East, in 127ths of full speed.
    #[must_use]
    pub const fn dx(self) -> i8 {
        self.dx
    }

    /// North, in 127ths of full speed.
    #[must_use]
    pub const fn dy(self) -> i8 {
        self.dy
    }
}

impl TryFrom<(i8, i8)> for Heading {
    type Error = IntentError;

    fn try_from((dx, dy): (i8, i8)) -> Result<Self, IntentError> {
        Self::new(dx, dy)
    }
}

impl From<Heading> for (i8, i8) {
    fn from(heading: Heading) -> Self {
        (heading.dx, heading.dy)
    }
}

/// One thing that a player asks for.
///
/// Packed as a tag byte and its fields: headings as two `i8`, ids as two varints, amounts as a varint, text with its
/// length in one byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// Move this way until told otherwise.
    Move(Heading),
    /// Hit this one.
    Strike {
        /// Player or monster.
        target: EntityId,
    },
    /// Take this item from the ground.
    PickUp {
        /// The item's entity, which is also its uid.
        item: EntityId,
    },
    /// Give gold to a player near by.
    GiveGold {
        /// The player who gets it.
        to: EntityId,
        /// The amount; zero is refused.
        #[serde(deserialize_with = "amount_from_serde")]
        amount: u64,
    },
    /// Give an item to a player near by.
    GiveItem {
        /// The player who gets it.
        to: EntityId,
        /// The item's uid.
        item: EntityId,
    },
    /// Say something to those near by; at most [`crate::limits::CHAT_BYTES_MAX`] bytes of [text that may be
    /// said](crate::text).
    Say(#[serde(deserialize_with = "chat_from_serde")] String),
}

impl Intent {
    /// The most bytes that an intent is packed into: tag, length, and text of [`Intent::Say`].
    pub const BYTES_MAX: usize = 2 + CHAT_BYTES_MAX;

    /// Checks the fields that the types leave open: an amount of gold, and chat text.
    pub fn check(&self) -> Result<(), IntentError> {
        match self {
            Self::GiveGold { amount: 0, .. } => Err(IntentError::ZeroAmount),
            Self::Say(text) => Ok(text::check(text)?),
            _ => Ok(()),
        }
    }

    /// Appends the packed intent, which must pass [`Intent::check`]: a decoder refuses it otherwise.
    pub fn encode(&self, out: &mut Writer<'_>) {
        match self {
            Self::Move(heading) => {
                out.u8(tag::MOVE);
                out.i8(heading.dx);
                out.i8(heading.dy);
            }
            Self::Strike { target } => {
                out.u8(tag::STRIKE);
                out.entity_id(*target);
            }
            Self::PickUp { item } => {
                out.u8(tag::PICK_UP);
                out.entity_id(*item);
            }
            Self::GiveGold { to, amount } => {
                out.u8(tag::GIVE_GOLD);
                out.entity_id(*to);
                out.varint(*amount);
            }
            Self::GiveItem { to, item } => {
                out.u8(tag::GIVE_ITEM);
                out.entity_id(*to);
                out.entity_id(*item);
            }
            Self::Say(text) => {
                debug_assert!(text.len() <= CHAT_BYTES_MAX, "chat text of {} bytes", text.len());
                out.u8(tag::SAY);
                out.u8(text.len() as u8);
                out.bytes(text.as_bytes());
            }
        }
    }

    /// Reads one packed intent. What it returns passes [`Intent::check`].
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::decode_framed(from)??)
    }

    /// Reads one packed intent of which nothing but the form need be right: the outer error says that its bytes cannot
    /// be made out, the inner one that they are no intent. After an inner error the reader stands behind the intent,
    /// unless its kind is unknown: then it cannot be known where it ends.
    pub fn decode_framed(from: &mut Reader<'_>) -> Result<Result<Self, IntentError>, DecodeError> {
        Ok(match Self::read(from)? {
            Ok(intent) => intent.check().map(|()| intent),
            Err(error) => Err(error),
        })
    }

    /// Reads an intent that was checked before it was written down, as a zone's journal holds it. Text is not judged
    /// again: another version may know other characters, and what was done was done.
    pub fn decode_checked(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::read(from)??)
    }

    fn read(from: &mut Reader<'_>) -> Result<Result<Self, IntentError>, DecodeError> {
        Ok(Ok(match from.u8()? {
            tag::MOVE => {
                let dx = from.i8()?;
                return Ok(Heading::new(dx, from.i8()?).map(Self::Move));
            }
            tag::STRIKE => Self::Strike {
                target: from.entity_id()?,
            },
            tag::PICK_UP => Self::PickUp {
                item: from.entity_id()?,
            },
            tag::GIVE_GOLD => Self::GiveGold {
                to: from.entity_id()?,
                amount: from.varint()?,
            },
            tag::GIVE_ITEM => Self::GiveItem {
                to: from.entity_id()?,
                item: from.entity_id()?,
            },
            tag::SAY => {
                let len = from.u8()?;
                let text = std::str::from_utf8(from.bytes(usize::from(len))?);
                return Ok(text
                    .map(|text| Self::Say(text.to_owned()))
                    .map_err(|_| TextError::Utf8.into()));
            }
            tag => return Ok(Err(IntentError::UnknownKind { tag })),
        }))
    }
}

/// Tag bytes of packed intents. A number is never given to something else.
mod tag {
    pub(super) const MOVE: u8 = 1;
    pub(super) const STRIKE: u8 = 2;
    pub(super) const PICK_UP: u8 = 3;
    pub(super) const GIVE_GOLD: u8 = 4;
    pub(super) const GIVE_ITEM: u8 = 5;
    pub(super) const SAY: u8 = 6;
}

fn amount_from_serde<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    match u64::deserialize(from)? {
        0 => Err(D::Error::custom(IntentError::ZeroAmount)),
        amount => Ok(amount),
    }
}

fn chat_from_serde<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    text::check(&text).map_err(D::Error::custom)?;
    Ok(text)
}

/// The reason why something well-framed is no intent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntentError {
    /// Faster than full speed.
    #[error("heading ({dx}, {dy}) is longer than 127")]
    HeadingTooLong {
        /// To the east, 127ths of full speed.
        dx: i8,
        /// To the north, 127ths of full speed.
        dy: i8,
    },
    /// Chat that may not be said.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A kind of intent that this version does not know.
    #[error("{tag} is no intent")]
    UnknownKind {
        /// The tag that it begins with.
        tag: u8,
    },
    /// A gift of nothing.
    #[error("an amount of zero cannot be given")]
    ZeroAmount,
}

impl From<IntentError> for DecodeError {
    fn from(error: IntentError) -> Self {
        Self::Invalid { why: error.to_string() }
    }
}
