//! Text that the builder reads: lock files, what apt prints, receipts, lists of packages.

/// Checks one input.
pub fn check(bytes: &[u8]) {
    builder::fuzzing::text(bytes);
}
