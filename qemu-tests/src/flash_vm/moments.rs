//! Moments at which something happens to a stick while it is written: measured in bytes written and read, and not by
//! the clock, which depends on the load of the machine.

use crate::dice::Dice;

/// `count` moments within a run that reads and writes `bytes`, chosen by a seed.
#[must_use]
pub fn moments(count: usize, bytes: u64, seed: u64) -> Vec<u64> {
    let mut dice = Dice::new(seed);
    let mut permille = || u64::try_from(dice.below(1000)).unwrap_or(0);
    (0..count).map(|_| bytes / 1000 * permille()).collect()
}
