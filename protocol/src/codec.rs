//! Bounded, total reading and writing of hand-packed bytes: datagrams and record bodies. It allocates nothing for what
//! it reads and panics on no input.
//!
//! Integers are little-endian and of fixed width, or LEB128 [varints](Reader::varint). Every value has exactly one
//! encoding, so that equal values have equal bytes and bytes can be hashed in their stead.

use crate::ids::EntityId;

/// The reason why bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("the bytes end inside a value")]
    Truncated,
    /// A varint with needless bytes, or of more than its type holds.
    #[error("a varint is overlong or too large")]
    Varint,
    /// Bytes are left after the last value.
    #[error("{left} bytes are left after the last value")]
    TrailingBytes {
        /// The number of bytes.
        left: usize,
    },
    /// A tag that names nothing.
    #[error("{tag} is no {what}")]
    UnknownTag {
        /// The kind of thing that the tag should have named.
        what: &'static str,
        /// The tag.
        tag: u8,
    },
    /// More of something than its bound.
    #[error("more than {max} {what}")]
    TooMany {
        /// The things that are too many.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// A sequence number that cannot be: zero, or past the end of its type.
    #[error("a sequence number is zero or too large")]
    Sequence,
    /// Well-formed bytes of a value that cannot be.
    #[error("{why}")]
    Invalid {
        /// The fault of the value, in the words of its own type.
        why: String,
    },
}

/// Reads values off the front of some bytes. After an error the position is unspecified: give up.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the first of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the number of bytes that are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether none is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes, as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// One byte, signed.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_le_bytes(self.array()?))
    }

    /// Four bytes, signed.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    /// An unsigned LEB128 number of one to ten bytes. Only the shortest encoding is one.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if bits << shift >> shift != bits {
                return Err(DecodeError::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let overlong = byte == 0 && shift > 0;
                return if overlong { Err(DecodeError::Varint) } else { Ok(value) };
            }
        }
        Err(DecodeError::Varint)
    }

    /// A varint that fits 32 bits.
    pub fn varint_u32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.varint()?).map_err(|_| DecodeError::Varint)
    }

    /// A signed number of up to five bytes; small ones of either sign are short.
    pub fn zigzag(&mut self) -> Result<i32, DecodeError> {
        let bits = self.varint_u32()?;
        Ok((bits >> 1) as i32 ^ -((bits & 1) as i32))
    }

    /// A signed number of up to ten bytes; small ones of either sign are short.
    pub fn zigzag_i64(&mut self) -> Result<i64, DecodeError> {
        let bits = self.varint()?;
        Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
    }

    /// An entity's id as two varints, range and counter: three to five bytes for the usual ones.
    pub fn entity_id(&mut self) -> Result<EntityId, DecodeError> {
        let range = self.varint_u32()?;
        Ok(EntityId::new(range, self.varint_u32()?))
    }

    /// Ends reading. Bytes that are left are an error.
    pub const fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes { left }),
        }
    }
}

/// Appends values to a byte vector. Writing cannot fail; what bounds the values bounds the bytes.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// These bytes, without their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    /// One byte, signed.
    pub fn i8(&mut self, value: i8) {
        self.bytes(&value.to_le_bytes());
    }

    /// Four bytes, signed.
    pub fn i32(&mut self, value: i32) {
        self.bytes(&value.to_le_bytes());
    }

    /// An unsigned LEB128 number, in its shortest encoding.
    #[inline]
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }

    /// A signed number as [`Reader::zigzag_i64`] reads it.
    pub fn zigzag_i64(&mut self, value: i64) {
        self.varint((value << 1 ^ value >> 63).cast_unsigned());
    }

    /// An entity's id as two varints, range and counter.
    pub fn entity_id(&mut self, id: EntityId) {
        self.varint(u64::from(id.range()));
        self.varint(u64::from(id.counter()));
    }
}

/// A signed number as the unsigned one that [`Reader::zigzag`] reads: small ones of either sign are small.
#[inline]
pub(crate) const fn zigzag(value: i32) -> u32 {
    (value << 1 ^ value >> 31).cast_unsigned()
}

/// A number as [`Writer::varint`] would write it, and how many of the bytes that is. The usual lengths each have a
/// branch, which for a field that is packed again and again is predicted.
#[inline]
pub(crate) fn varint_u32(number: u32) -> ([u8; 8], usize) {
    let seven = |group: u32| u64::from(number >> (7 * group) & 0x7f) << (8 * group);
    let (bytes, len) = match number {
        0..0x80 => (seven(0), 1),
        0x80..0x4000 => (seven(0) | seven(1) | 0x80, 2),
        0x4000..0x20_0000 => (seven(0) | seven(1) | seven(2) | 0x8080, 3),
        0x20_0000..0x1000_0000 => (seven(0) | seven(1) | seven(2) | seven(3) | 0x80_8080, 4),
        _ => (seven(0) | seven(1) | seven(2) | seven(3) | seven(4) | 0x8080_8080, 5),
    };
    (bytes.to_le_bytes(), len)
}

/// Writes a varint of any size at `at`, with up to eight bytes of garbage behind it, and says where it ends. Numbers of
/// 32 bits take the quick way.
#[inline]
pub(crate) fn put_varint(number: u64, out: &mut [u8], at: usize) -> usize {
    let Ok(short) = u32::try_from(number) else {
        return put_long_varint(number, out, at);
    };
    let (bytes, len) = varint_u32(short);
    out[at..at + 8].copy_from_slice(&bytes);
    at + len
}

#[cold]
fn put_long_varint(mut number: u64, out: &mut [u8], mut at: usize) -> usize {
    while number >= 0x80 {
        out[at] = number as u8 | 0x80;
        number >>= 7;
        at += 1;
    }
    out[at] = number as u8;
    at + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zigzag_keeps_its_sign_and_is_short_near_zero() {
        for (value, len) in [(0, 1), (-1, 1), (-64, 1), (64, 2), (i32::MIN, 5), (i32::MAX, 5)] {
            let (bytes, bytes_len) = varint_u32(zigzag(value));
            assert_eq!((bytes_len, Reader::new(&bytes[..bytes_len]).zigzag()), (len, Ok(value)));
        }
    }

    #[test]
    fn wide_zigzag_keeps_its_sign_and_is_short_near_zero() {
        for (value, len) in [(0, 1), (-1, 1), (-64, 1), (64, 2), (i64::MIN, 10), (i64::MAX, 10)] {
            let mut bytes = Vec::new();
            Writer::new(&mut bytes).zigzag_i64(value);
            assert_eq!((bytes.len(), Reader::new(&bytes).zigzag_i64()), (len, Ok(value)));
        }
    }

    proptest! {
        #[test]
        fn varint_in_one_go_is_the_one_that_is_written(bits in 0..=u32::BITS, number: u32) {
            let number = number.checked_shr(bits).unwrap_or(0);
            let (bytes, len) = varint_u32(number);
            let mut written = Vec::new();
            Writer::new(&mut written).varint(u64::from(number));
            prop_assert_eq!(&bytes[..len], &written[..]);
        }

        #[test]
        fn varint_put_into_place_is_the_one_that_is_written(bits in 0..=u64::BITS, number: u64) {
            let number = number.checked_shr(bits).unwrap_or(0);
            let mut written = Vec::new();
            Writer::new(&mut written).varint(number);
            let mut place = [0; 20];
            let end = put_varint(number, &mut place, 3);
            prop_assert_eq!(&place[3..end], &written[..]);
        }
    }
}
