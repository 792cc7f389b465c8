//! Fields of the state as bytes, written and read. Reading is total: bytes that no writer wrote give [`Corrupt`], never
//! a panic and never an allocation larger than the input. There is no `Field` for `Entity`, `usize`, floats, or hash
//! maps: their bits or their order mean nothing in another process. The words of a game it leaves to the game.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use everhold_protocol::{Account, DecodeError, EntityId, Epoch, Reader, SeqEvent, Tick, Writer};

use super::hasher::StateHasher;

/// The bytes are not what a writer of this layout writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt state bytes")]
pub struct Corrupt;

/// A value of the state, as bytes. `get(put(v)) == v`, and each value has exactly one encoding.
pub trait Field: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes the value from the front of `input`.
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt>;
    /// Adds the value to a digest. Values that have different bytes are mixed differently.
    fn mix(&self, hasher: &mut StateHasher);
}

/// Takes `count` bytes from the front.
pub(crate) fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], Corrupt> {
    let (head, tail) = input.split_at_checked(count).ok_or(Corrupt)?;
    *input = tail;
    Ok(head)
}

/// Takes a value off the front as the protocol's codec reads it.
fn decoded<'a, T>(
    input: &mut &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<T, Corrupt> {
    let mut from = Reader::new(input);
    let value = read(&mut from).map_err(|_| Corrupt)?;
    *input = &input[input.len() - from.remaining()..];
    Ok(value)
}

/// Appends a varint of the protocol's codec: ids and counters are small most of the time.
pub(crate) fn put_varint(value: u64, out: &mut Vec<u8>) {
    Writer::new(out).varint(value);
}

/// Takes what [`put_varint`] wrote; a longer encoding than needed is corrupt.
pub(crate) fn get_varint(input: &mut &[u8]) -> Result<u64, Corrupt> {
    decoded(input, Reader::varint)
}

/// A length that the rest of the input can hold, each element being at least one byte.
fn get_len(input: &mut &[u8]) -> Result<usize, Corrupt> {
    let len = usize::try_from(get_varint(input)?).map_err(|_| Corrupt)?;
    if len <= input.len() { Ok(len) } else { Err(Corrupt) }
}

impl Field for u8 {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        Ok(take(input, 1)?[0])
    }
    fn mix(&self, hasher: &mut StateHasher) {
        hasher.word(u64::from(*self));
    }
}

impl Field for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(*self, out);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        get_varint(input)
    }
    fn mix(&self, hasher: &mut StateHasher) {
        hasher.word(*self);
    }
}

macro_rules! narrow {
    ($($t:ty),*) => {$(
        impl Field for $t {
            fn put(&self, out: &mut Vec<u8>) {
                put_varint(u64::from(*self), out);
            }
            fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
                Self::try_from(get_varint(input)?).map_err(|_| Corrupt)
            }
            fn mix(&self, hasher: &mut StateHasher) {
                hasher.word(u64::from(*self));
            }
        }
    )*};
}
narrow!(u16, u32);

impl Field for i64 {
    // Zigzag, so that small negative numbers are short too.
    fn put(&self, out: &mut Vec<u8>) {
        Writer::new(out).zigzag_i64(*self);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        decoded(input, Reader::zigzag_i64)
    }
    fn mix(&self, hasher: &mut StateHasher) {
        hasher.word(self.cast_unsigned());
    }
}

impl Field for i32 {
    fn put(&self, out: &mut Vec<u8>) {
        i64::from(*self).put(out);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        Self::try_from(i64::get(input)?).map_err(|_| Corrupt)
    }
    fn mix(&self, hasher: &mut StateHasher) {
        hasher.word(u64::from(self.cast_unsigned()));
    }
}

impl<const N: usize> Field for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        take(input, N)?.try_into().map_err(|_| Corrupt)
    }
    fn mix(&self, hasher: &mut StateHasher) {
        hasher.bytes(self);
    }
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        out.extend_from_slice(self.as_bytes());
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        let len = get_len(input)?;
        let bytes = take(input, len)?;
        Ok(std::str::from_utf8(bytes).map_err(|_| Corrupt)?.to_owned())
    }
    fn mix(&self, hasher: &mut StateHasher) {
        hasher.word(self.len() as u64);
        hasher.bytes(self.as_bytes());
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.put(out);
            }
        }
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        match u8::get(input)? {
            0 => Ok(None),
            1 => Ok(Some(T::get(input)?)),
            _ => Err(Corrupt),
        }
    }
    fn mix(&self, hasher: &mut StateHasher) {
        hasher.word(u64::from(self.is_some()));
        if let Some(value) = self {
            value.mix(hasher);
        }
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        self.iter().for_each(|value| value.put(out));
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        let len = get_len(input)?;
        // No `with_capacity`: an element may be far larger in memory than the one byte that vouches for it.
        (0..len).map(|_| T::get(input)).collect()
    }
    fn mix(&self, hasher: &mut StateHasher) {
        hasher.word(self.len() as u64);
        self.iter().for_each(|value| value.mix(hasher));
    }
}

impl<T: Field> Field for VecDeque<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        self.iter().for_each(|value| value.put(out));
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        Ok(Vec::get(input)?.into())
    }
    fn mix(&self, hasher: &mut StateHasher) {
        hasher.word(self.len() as u64);
        self.iter().for_each(|value| value.mix(hasher));
    }
}

impl<K: Field + Ord, V: Field> Field for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        let len = get_len(input)?;
        let mut map = Self::new();
        for _ in 0..len {
            let key = K::get(input)?;
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(Corrupt);
            }
            map.insert(key, V::get(input)?);
        }
        Ok(map)
    }
    fn mix(&self, hasher: &mut StateHasher) {
        hasher.word(self.len() as u64);
        for (key, value) in self {
            key.mix(hasher);
            value.mix(hasher);
        }
    }
}

impl<T: Field + Ord> Field for BTreeSet<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        self.iter().for_each(|value| value.put(out));
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        let len = get_len(input)?;
        let mut set = Self::new();
        for _ in 0..len {
            let value = T::get(input)?;
            if set.last().is_some_and(|last| *last >= value) {
                return Err(Corrupt);
            }
            set.insert(value);
        }
        Ok(set)
    }
    fn mix(&self, hasher: &mut StateHasher) {
        hasher.word(self.len() as u64);
        self.iter().for_each(|value| value.mix(hasher));
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        Ok((A::get(input)?, B::get(input)?))
    }
    fn mix(&self, hasher: &mut StateHasher) {
        self.0.mix(hasher);
        self.1.mix(hasher);
    }
}

/// A struct whose encoding is that of its fields in order.
macro_rules! fields {
    ($($t:ident { $($f:tt),* })*) => {$(
        impl $crate::zone::field::Field for $t {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::zone::field::Field::put(&self.$f, out);)*
            }
            fn get(input: &mut &[u8]) -> Result<Self, $crate::zone::field::Corrupt> {
                Ok(Self { $($f: $crate::zone::field::Field::get(input)?),* })
            }
            fn mix(&self, hasher: &mut $crate::zone::hasher::StateHasher) {
                $($crate::zone::field::Field::mix(&self.$f, hasher);)*
            }
        }
    )*};
}
pub(crate) use fields;

fields! { Account { 0 } Epoch { 0 } EntityId { 0 } Tick { 0 } SeqEvent { seq, tick, event } }

/// An enum as a tag and the fields of the variant in order. Tags are part of the layout and never used again for
/// something else.
macro_rules! tagged {
    ($($t:ident { $($tag:literal $v:ident $(($($p:ident),*))? $({$($f:ident),*})?),* $(,)? })*) => {$(
        impl $crate::zone::field::Field for $t {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$v $(($($p),*))? $({$($f),*})? => {
                        out.push($tag);
                        $($($crate::zone::field::Field::put($p, out);)*)?
                        $($($crate::zone::field::Field::put($f, out);)*)?
                    })*
                }
            }
            fn get(input: &mut &[u8]) -> Result<Self, $crate::zone::field::Corrupt> {
                match <u8 as $crate::zone::field::Field>::get(input)? {
                    $($tag => {
                        $($(let $p = $crate::zone::field::Field::get(input)?;)*)?
                        $($(let $f = $crate::zone::field::Field::get(input)?;)*)?
                        Ok(Self::$v $(($($p),*))? $({$($f),*})?)
                    })*
                    _ => Err($crate::zone::field::Corrupt),
                }
            }
            fn mix(&self, hasher: &mut $crate::zone::hasher::StateHasher) {
                match self {
                    $(Self::$v $(($($p),*))? $({$($f),*})? => {
                        hasher.word($tag);
                        $($($crate::zone::field::Field::mix($p, hasher);)*)?
                        $($($crate::zone::field::Field::mix($f, hasher);)*)?
                    })*
                }
            }
        }
    )*};
}
pub(crate) use tagged;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes<T: Field>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        value.put(&mut out);
        out
    }

    fn read<T: Field>(mut bytes: &[u8]) -> Result<T, Corrupt> {
        let value = T::get(&mut bytes)?;
        if bytes.is_empty() { Ok(value) } else { Err(Corrupt) }
    }

    fn round_trips<T: Field + PartialEq>(value: &T) -> bool {
        read::<T>(&bytes(value)).as_ref() == Ok(value)
    }

    #[test]
    fn value_has_one_encoding_only() {
        assert_eq!(read::<u64>(&[0x80, 0x00]), Err(Corrupt));
        assert_eq!(read::<u16>(&bytes(&70_000u32)), Err(Corrupt));
        assert_eq!(read::<Option<u8>>(&[2, 0]), Err(Corrupt));
        assert_eq!(read::<BTreeSet<u8>>(&[2, 5, 5]), Err(Corrupt));
        assert_eq!(read::<BTreeMap<u8, u8>>(&[2, 5, 0, 4, 0]), Err(Corrupt));
    }

    #[test]
    fn length_beyond_the_input_allocates_nothing() {
        assert_eq!(read::<Vec<u8>>(&bytes(&u64::MAX)), Err(Corrupt));
        assert_eq!(read::<String>(&[9, b'a']), Err(Corrupt));
    }

    proptest! {
        #[test]
        fn numbers_come_back(a: u64, b: i64, c: i32, d: u16, e: Option<u32>) {
            prop_assert!(round_trips(&a) && round_trips(&b) && round_trips(&c) && round_trips(&d) && round_trips(&e));
        }

        #[test]
        fn collections_come_back(a: Vec<(u64, String)>, b: BTreeMap<[u8; 16], u64>, c: BTreeSet<(u64, u32)>) {
            prop_assert!(round_trips(&a) && round_trips(&b) && round_trips(&c));
        }

        #[test]
        fn arbitrary_bytes_never_panic(noise: Vec<u8>) {
            _ = (read::<SeqEvent>(&noise), read::<VecDeque<SeqEvent>>(&noise), read::<BTreeMap<u64, String>>(&noise));
        }
    }
}
