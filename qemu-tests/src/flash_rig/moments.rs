//! Moments at which something happens to a stick while it is written.

use crate::dice::Dice;
use std::time::Duration;

/// So many moments within `span` and a little after it, drawn by a seed.
#[must_use]
pub fn moments(count: usize, span: Duration, seed: u64) -> Vec<Duration> {
    let mut dice = Dice::new(seed);
    // The last twentieth comes after the end: there is nothing left to be caught then.
    let mut permille = || u32::try_from(dice.below(1050)).unwrap_or(0);
    (0..count).map(|_| span * permille() / 1000).collect()
}
