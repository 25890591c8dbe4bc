//! Moments at which something happens to a stick while it is written: by how much was written to it and read from it, and
//! not by the clock, which goes faster or slower with what else the machine does.

use crate::dice::Dice;

/// So many moments within a run in which `bytes` come and go, drawn by a seed.
#[must_use]
pub fn moments(count: usize, bytes: u64, seed: u64) -> Vec<u64> {
    let mut dice = Dice::new(seed);
    let mut permille = || u64::try_from(dice.below(1000)).unwrap_or(0);
    (0..count).map(|_| bytes / 1000 * permille()).collect()
}
