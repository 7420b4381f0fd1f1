//! The one source of chance of a run.
//!
//! `SplitMix64` (Steele, Lea, Flood 2014), written out: seeds are committed as
//! regressions, so the same seed must give the same run for ever, on every
//! machine and under every version of every crate. Deliberately absent:
//! anything from the operating system.

/// A generator; the same seed, the same numbers.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// From a seed. Neighbouring seeds give unrelated numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, or 0 if there is none. The bias is below `limit / 2^64`.
    pub const fn below(&mut self, limit: u64) -> u64 {
        ((self.next() as u128 * limit as u128) >> 64) as u64
    }

    /// An index into something of `length`.
    pub const fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// A number from `low` up to and including `high`.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Yes, in `percent` of cases.
    pub const fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Yes, in so many of a million cases.
    pub const fn per_million(&mut self, cases: u32) -> bool {
        self.below(1_000_000) < cases as u64
    }

    /// One of `things`; there must be one.
    pub fn pick<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.index(things.len())]
    }

    /// `count` different ones of `things`, or all if there are fewer.
    pub fn some<T: Copy>(&mut self, things: &[T], count: usize) -> Vec<T> {
        let mut rest = things.to_vec();
        let count = count.min(rest.len());
        (0..count).map(|_| rest.swap_remove(self.index(rest.len()))).collect()
    }

    /// Bytes, to be used as garbage.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_published_generator() {
        // First outputs for seed 1234567, as in the reference implementation's test vectors.
        let mut chance = Chance::new(1_234_567);
        assert_eq!(chance.next(), 6_457_827_717_110_365_317);
        assert_eq!(chance.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn numbers_stay_below_the_limit_and_reach_all_below_it() {
        let mut chance = Chance::new(1);
        let mut seen = [false; 7];
        for _ in 0..1_000 {
            seen[chance.index(7)] = true;
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(chance.below(0), 0);
        assert_eq!(chance.some(&[1, 2, 3], 9).len(), 3);
    }
}
