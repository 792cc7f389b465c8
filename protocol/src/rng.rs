//! Chance from a seed: for jitter, so that a thousand clients that lost the same shard do not come back at the same
//! instant, and for players, benches, and tests that must be able to repeat themselves. A zone's own chance is a
//! function of its state instead.

/// SplitMix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, with the constants of
/// Vigna's public-domain `splitmix64.c`. Small, fast, and every seed is a good one; it keeps no secret.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws the next 64 bits.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.0;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Draws a number below `bound`, which is not zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        // The bias is below 2⁻⁴⁰ for bounds up to 2²⁴.
        self.draw() % bound
    }

    /// Draws from half of `ms` to one and a half of it; `ms` in the mean.
    pub const fn around(&mut self, ms: u64) -> u64 {
        ms / 2 + self.below(ms + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::SplitMix64;

    #[test]
    fn first_numbers_are_those_of_the_reference_implementation() {
        let mut rng = SplitMix64::new(1_234_567);
        assert_eq!(rng.draw(), 6_457_827_717_110_365_317);
        assert_eq!(rng.draw(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn jitter_stays_within_half_and_one_and_a_half() {
        let mut rng = SplitMix64::new(7);
        assert!((0..1000).map(|_| rng.around(150)).all(|ms| (75..=225).contains(&ms)));
    }
}
