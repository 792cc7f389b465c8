//! The reader takes every input without a panic, and every value has one encoding.

use everhold_protocol::{DecodeError, Reader, Writer};
use proptest::prelude::*;

use super::strategy;

fn varint_bytes(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes).varint(value);
    bytes
}

#[test]
fn overlong_varints_are_refused() {
    for bytes in [&[0x80, 0x00][..], &[0xff, 0x00], &[0x81, 0x80, 0x00]] {
        assert_eq!(Reader::new(bytes).varint(), Err(DecodeError::Varint), "{bytes:x?}");
    }
}

#[test]
fn varint_of_more_than_64_bits_is_refused() {
    let mut bytes = [0xff; 10];
    bytes[9] = 0x02;
    assert_eq!(Reader::new(&bytes).varint(), Err(DecodeError::Varint));
    assert_eq!(Reader::new(&[0xff; 11]).varint(), Err(DecodeError::Varint));
}

#[test]
fn varint_that_ends_early_is_truncated() {
    assert_eq!(Reader::new(&[0x80]).varint(), Err(DecodeError::Truncated));
    assert_eq!(Reader::new(&[]).varint(), Err(DecodeError::Truncated));
}

#[test]
fn largest_varints_fit_ten_and_five_bytes() {
    assert_eq!(varint_bytes(u64::MAX).len(), 10);
    assert_eq!(Reader::new(&varint_bytes(u64::MAX)).varint(), Ok(u64::MAX));
    assert_eq!(
        Reader::new(&varint_bytes(u64::from(u32::MAX))).varint_u32(),
        Ok(u32::MAX)
    );
    assert_eq!(
        Reader::new(&varint_bytes(1 << 32)).varint_u32(),
        Err(DecodeError::Varint)
    );
}

#[test]
fn bytes_that_are_left_are_an_error() {
    let mut from = Reader::new(&[1, 2, 3]);
    assert_eq!(from.u8(), Ok(1));
    assert_eq!(from.finish(), Err(DecodeError::TrailingBytes { left: 2 }));
}

#[test]
fn more_bytes_than_there_are_is_truncated() {
    assert_eq!(Reader::new(&[1, 2, 3]).bytes(4), Err(DecodeError::Truncated));
    assert_eq!(Reader::new(&[1, 2, 3]).bytes(usize::MAX), Err(DecodeError::Truncated));
    assert_eq!(Reader::new(&[1, 2, 3]).u32(), Err(DecodeError::Truncated));
}

proptest! {
    #![proptest_config(strategy::cases(256))]

    #[test]
    fn varints_come_back(value: u64) {
        let bytes = varint_bytes(value);
        let mut from = Reader::new(&bytes);
        prop_assert_eq!(from.varint(), Ok(value));
        prop_assert_eq!(from.finish(), Ok(()));
    }

    #[test]
    fn bytes_that_read_as_a_varint_are_its_only_encoding(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
        let mut from = Reader::new(&bytes);
        if let Ok(value) = from.varint() {
            let read = bytes.len() - from.remaining();
            prop_assert_eq!(&bytes[..read], &varint_bytes(value)[..]);
        }
    }

    #[test]
    fn fixed_widths_come_back(a: u8, b: u16, c: u32, d: u64, e: i8, f: i32) {
        let mut bytes = Vec::new();
        let mut out = Writer::new(&mut bytes);
        out.u8(a); out.u16(b); out.u32(c); out.u64(d); out.i8(e); out.i32(f);
        let mut from = Reader::new(&bytes);
        let read = (from.u8(), from.u16(), from.u32(), from.u64(), from.i8(), from.i32());
        prop_assert_eq!(read, (Ok(a), Ok(b), Ok(c), Ok(d), Ok(e), Ok(f)));
        prop_assert_eq!(from.finish(), Ok(()));
    }
}
