//! Finding things by an id of ours: every intent looks its session up, twice.

use std::hash::{BuildHasherDefault, Hasher};

/// Hashes the one `u64` of an id. Ids are given out here, so nobody can choose colliding ones.
pub type Spread = BuildHasherDefault<IdHasher>;

/// The hasher behind [`Spread`].
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
