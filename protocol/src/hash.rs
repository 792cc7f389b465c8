//! Hashing of ids that a server gives out: every intent looks its session up, twice. It is for maps that nothing
//! iterates.

use std::hash::{BuildHasherDefault, Hasher};

/// Makes hashers of the one `u64` of an id. A server gives ids out, so no client can choose colliding ones.
pub type BuildIdHasher = BuildHasherDefault<IdHasher>;

/// The hasher that [`BuildIdHasher`] makes.
#[derive(Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        // A folded multiplication: both halves of the product depend on every bit of the id.
        let product = u128::from(self.0 ^ value) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
