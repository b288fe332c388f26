//! A small generator (SplitMix64): what is left to chance is told by one number, which gives it again.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

/// Gives the chances of an earlier run again.
pub const SEED: &str = "CALBRIDGE_SEED";

/// The number of this run: the one that [`SEED`] says, or a new one.
#[must_use]
pub fn seed() -> u64 {
    let again = std::env::var_os(SEED).map(|seed| seed.to_str().unwrap().parse().unwrap());
    again.unwrap_or_else(|| RandomState::new().build_hasher().finish())
}

/// A sequence of chances.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The one of this number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The next number of 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Puts things into an order of chance.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }
}
