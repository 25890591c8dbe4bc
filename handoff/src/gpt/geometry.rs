//! Blocks of a disk and their numbers.

use super::Problem;
use core::fmt;

/// The number of a logical block, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lba(pub u64);

impl fmt::Display for Lba {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Size and number of a disk's logical blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    block_size: u64,
    size: u64,
}

impl Geometry {
    /// A disk of `size` bytes with blocks of `block_size` bytes; an incomplete last block does not count.
    pub fn new(block_size: u64, size: u64) -> Result<Self, Problem> {
        if !block_size.is_power_of_two() || !(512..=65536).contains(&block_size) {
            return Err(Problem::BlockSize { found: block_size });
        }
        Ok(Self { block_size, size })
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_size(self) -> u64 {
        self.block_size
    }

    /// The number of blocks.
    #[must_use]
    pub fn blocks(self) -> u64 {
        self.size.checked_div(self.block_size).unwrap_or_default()
    }

    /// The number of the last block.
    #[must_use]
    pub fn last(self) -> Lba {
        Lba(self.blocks().saturating_sub(1))
    }

    /// The byte at which block `lba` begins.
    #[must_use]
    pub fn offset(self, lba: Lba) -> u64 {
        lba.0.saturating_mul(self.block_size)
    }

    /// The problem to report for a disk that ends before block `last`.
    pub(super) fn cut_before(self, last: Lba) -> Problem {
        Problem::Cut { end: self.offset(Lba(last.0.saturating_add(1))), size: self.size }
    }

    /// How many blocks `bytes` take.
    pub(super) fn blocks_of(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.block_size)
    }
}
