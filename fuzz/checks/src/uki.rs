//! Fuzzes the readers of UKIs and boot stubs.

/// Checks one input.
pub fn check(bytes: &[u8]) {
    builder::fuzzing::uki(bytes);
}
