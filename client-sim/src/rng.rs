//! Seeded chance for players' decisions. It is not for secrets.

use everhold_protocol::rng::SplitMix64;

/// Chance of a seed's stream.
#[derive(Clone, Debug)]
pub struct Rng(SplitMix64);

impl Rng {
    /// The stream number `stream` of `seed`.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut first = SplitMix64::new(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        // Neighbouring streams begin with related states; one step parts them.
        Self(SplitMix64::new(first.draw()))
    }

    /// Draws the next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0.draw()
    }

    /// A number in `0..bound`; `bound` is not zero. The bias is below 2⁻³² for the bounds of a game.
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.draw() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    /// True once in `times`, on average.
    pub fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }
}
