//! Random numbers from the seed: the same sequence in each process.
//!
//! Processes get the same numbers. Their ids depend on the machine (programs with threads use more ids on more
//! processors), and so would the results. Two processes that choose a random name get the same one; the one that
//! creates the file second fails with `O_EXCL` and tries the next name.

use crate::parameters::Parameters;
use core::sync::atomic::{AtomicU64, Ordering};

/// `SplitMix64`, which gives 2^64 words before one repeats. It is easy to guess, so it must not be used for secrets.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

static TAKEN: AtomicU64 = AtomicU64::new(0);

/// The word number `index` of a seed.
#[must_use]
pub fn word(seed: u64, index: u64) -> u64 {
    let mut word = seed.wrapping_add(STEP.wrapping_mul(index.wrapping_add(1)));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

pub(crate) fn next() -> u64 {
    word(Parameters::own().seed, TAKEN.fetch_add(1, Ordering::Relaxed))
}

/// A number below `bound`, and 0 for the bounds 0 and 1, like `arc4random_uniform(3)`.
pub(crate) fn below(bound: u32) -> u32 {
    let scaled = u128::from(next()) * u128::from(bound);
    u32::try_from(scaled >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_splitmix64() {
        // From the author's program (Sebastiano Vigna, splitmix64.c) with the state 1234567.
        let words = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        for (index, expected) in (0..).zip(words) {
            assert_eq!(word(1_234_567, index), expected);
        }
    }

    #[test]
    fn numbers_differ_and_stay_below_their_bound() {
        let first = next();
        assert_ne!(first, next());
        assert!((0..1000).all(|_| below(7) < 7));
        assert_eq!((below(0), below(1)), (0, 0));
    }
}
