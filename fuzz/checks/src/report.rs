//! Fuzzes the search for a boot report in console logs.

/// Checks one input.
pub fn check(bytes: &[u8]) {
    builder::fuzzing::report(bytes);
}
