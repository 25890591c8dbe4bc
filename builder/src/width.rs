//! Lengths in files are numbers of 64 bits, lengths in memory are `usize`. The builder is compiled only for 64-bit
//! machines, where both are the same: no conversion can fail, so none needs a default.

const _: () = assert!(usize::BITS == u64::BITS, "the builder is written for 64-bit machines");

/// A length or offset in a file, as one in memory.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "both have 64 bits, which is asserted above")]
pub(crate) const fn to_usize(length: u64) -> usize {
    length as usize
}

/// A length or offset in memory, as one in a file.
#[must_use]
pub(crate) const fn to_u64(length: usize) -> u64 {
    length as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_kept() {
        for length in [0, 1, u64::from(u32::MAX) + 1, u64::MAX] {
            assert_eq!(to_u64(to_usize(length)), length);
        }
    }
}
