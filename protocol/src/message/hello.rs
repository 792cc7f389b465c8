//! The version of a `Hello`, read without the rest of it. It knows no message of this version or any other.
//!
//! Every version's first message is at most [`HELLO_BYTES_MAX`](crate::limits::HELLO_BYTES_MAX) long and begins so,
//! whatever follows:
//!
//! ```text
//! map of at least one entry │ string "Hello"    │ list (or map, first key "protocol") │ version, an unsigned integer
//! 81                        │ A5 48 65 6C 6C 6F │ 92                                  │ 02
//! ```

/// Ranges of MessagePack's type byte that hold the lengths of short maps, lists, and strings, and small numbers.
const MAP_SHORT: std::ops::RangeInclusive<u8> = 0x80..=0x8F;
const LIST_SHORT: std::ops::RangeInclusive<u8> = 0x90..=0x9F;
const STRING_SHORT: std::ops::RangeInclusive<u8> = 0xA0..=0xBF;
const NUMBER_SHORT: std::ops::RangeInclusive<u8> = 0x00..=0x7F;

/// Returns the protocol version that a `Hello` names, be it of this version or any other; `None` if the message does
/// not begin as a `Hello` of any version does. `message` is one frame's body, without its length.
#[must_use]
pub fn hello_version(message: &[u8]) -> Option<u64> {
    let mut rest = Rest(message);
    let entries = rest.length(MAP_SHORT, 0x0F, [None, Some(0xDE), Some(0xDF)])?;
    if entries == 0 || rest.string()? != b"Hello" {
        return None;
    }
    let mut named = rest;
    let is_list = rest.length(LIST_SHORT, 0x0F, [None, Some(0xDC), Some(0xDD)]);
    match is_list {
        Some(0) => None,
        Some(_) => rest.number(),
        None => {
            let fields = named.length(MAP_SHORT, 0x0F, [None, Some(0xDE), Some(0xDF)])?;
            (fields > 0 && named.string()? == b"protocol").then(|| named.number())?
        }
    }
}

/// The bytes left to read.
#[derive(Clone, Copy)]
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    /// Reads a big-endian number of `bytes` bytes, eight at most.
    fn big_endian(&mut self, bytes: usize) -> Option<u64> {
        let taken = self.take(bytes)?;
        Some(taken.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// Reads the length of a map, list, or string: in the type's byte, or in one, two, or four bytes after one of these
    /// types.
    fn length(&mut self, short: std::ops::RangeInclusive<u8>, mask: u8, long: [Option<u8>; 3]) -> Option<u64> {
        let head = self.byte()?;
        if short.contains(&head) {
            return Some(u64::from(head & mask));
        }
        let place = long.iter().position(|kind| *kind == Some(head))?;
        self.big_endian(1 << place)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let bytes = self.length(STRING_SHORT, 0x1F, [Some(0xD9), Some(0xDA), Some(0xDB)])?;
        self.take(usize::try_from(bytes).ok()?)
    }

    fn number(&mut self) -> Option<u64> {
        match self.byte()? {
            small if NUMBER_SHORT.contains(&small) => Some(u64::from(small)),
            kind @ 0xCC..=0xCF => self.big_endian(1 << (kind - 0xCC)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{ClientMessage, Credential, PROTOCOL_VERSION};

    fn with(bytes: &[u8], rest: &[u8]) -> Option<u64> {
        hello_version(&[bytes, rest].concat())
    }

    #[test]
    fn version_of_this_versions_hello_is_read() {
        let hello = ClientMessage::Hello {
            protocol: PROTOCOL_VERSION,
            credential: Credential::Ticket(vec![1, 2, 3]),
        };
        let compact = rmp_serde::to_vec(&hello).unwrap();
        let named = rmp_serde::to_vec_named(&hello).unwrap();
        for bytes in [compact, named] {
            assert_eq!(hello_version(&bytes), Some(u64::from(PROTOCOL_VERSION)));
        }
        assert_eq!(hello_version(&rmp_serde::to_vec(&ClientMessage::Logout).unwrap()), None);
    }

    #[test]
    fn version_is_read_whatever_follows_it() {
        let hello = [b"\x81\xA5Hello", &[0x93_u8, 7][..]].concat();
        for rest in [&b""[..], b"\x81\xA7Passkey\x90", b"\xC1\xFF", &[0x91; 1_000]] {
            assert_eq!(with(&hello, rest), Some(7));
        }
    }

    #[test]
    fn every_width_of_head_and_number_is_read() {
        let heads: [&[u8]; 4] = [
            b"\x81\xA5Hello\x92",
            b"\x82\xD9\x05Hello\xDC\0\x02",
            b"\xDE\0\x01\xDA\0\x05Hello\xDD\0\0\0\x03",
            b"\xDF\0\0\0\x01\xDB\0\0\0\x05Hello\x82\xA8protocol",
        ];
        let numbers: [(&[u8], u64); 5] = [
            (&[9], 9),
            (&[0xCC, 200], 200),
            (&[0xCD, 1, 0], 256),
            (&[0xCE, 0, 1, 0, 0], 65_536),
            (&[0xCF, 255, 255, 255, 255, 255, 255, 255, 255], u64::MAX),
        ];
        for head in heads {
            for (number, version) in numbers {
                assert_eq!(with(head, number), Some(version));
            }
        }
    }

    #[test]
    fn what_does_not_begin_as_a_hello_has_no_version() {
        let none: [&[u8]; 8] = [
            b"",
            b"\x80",
            b"\x81\xA6Logout\x91\x01",
            b"\x81\xA5Hello",
            b"\x81\xA5Hello\x90",
            b"\x81\xA5Hello\x91\xFF",
            b"\x81\xA5Hello\x81\xA7version\x01",
            b"\x81\xDB\xFF\xFF\xFF\xFFHello",
        ];
        for bytes in none {
            assert_eq!(hello_version(bytes), None, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn version_does_not_depend_on_what_follows(
            bytes in prop::collection::vec(any::<u8>(), 0..20),
            cut in 0..9_usize,
            rest in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let begun = [&b"\x81\xA5Hello\x92"[..cut.min(8)], &bytes].concat();
            if let Some(version) = hello_version(&begun) {
                prop_assert_eq!(with(&begun, &rest), Some(version));
            }
        }
    }
}
