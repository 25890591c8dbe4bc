//! Bytes that cannot be compressed, and that are the same each time.

use crate::dice::Dice;
use std::io::{self, Write};

/// Writes this many bytes, a multiple of eight, chosen by a seed.
pub fn write(to: &mut impl Write, bytes: u64, seed: u64) -> io::Result<()> {
    let mut dice = Dice::new(seed);
    (0..bytes / 8).try_for_each(|_| to.write_all(&dice.next().to_le_bytes()))
}
