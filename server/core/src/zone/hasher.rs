//! The hash that digests are made of. What a digest holds, it does not know.

/// A zone's state, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub u64);

/// Hashes one value of the state, word by word: a digest of everything is taken once a second between two ticks, and
/// its bytes would cost several times as much. It finds divergence; it is no defence against anybody.
#[derive(Clone, Copy, Debug)]
pub struct StateHasher(u64);

impl StateHasher {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A folded multiplication: both halves of the product depend on every bit of the word and of what came before.
    #[inline]
    pub(crate) const fn word(&mut self, word: u64) {
        let product = (self.0 ^ word) as u128 * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64 ^ self.0.rotate_left(23);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    pub(crate) const fn finish(mut self) -> u64 {
        self.word(0x2545_f491_4f6c_dd1d);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(words: &[u64]) -> u64 {
        let mut hasher = StateHasher::new(1);
        words.iter().for_each(|&word| hasher.word(word));
        hasher.finish()
    }

    #[test]
    fn order_and_number_of_words_count() {
        let hashes = [
            hash(&[]),
            hash(&[0]),
            hash(&[0, 0]),
            hash(&[1, 2]),
            hash(&[2, 1]),
            hash(&[1]),
            hash(&[1, 0]),
        ];
        for (place, one) in hashes.iter().enumerate() {
            assert!(!hashes[..place].contains(one), "{place}: {hashes:x?}");
        }
    }

    /// Every bit of a word turns about half of the bits of what comes out, in its own pattern.
    #[test]
    fn each_bit_changes_many() {
        for bit in 0..64 {
            for word in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
                let turned = (hash(&[7, word]) ^ hash(&[7, word ^ 1 << bit])).count_ones();
                assert!((14..=50).contains(&turned), "bit {bit} of {word:#x} turns {turned}");
            }
        }
    }
}
