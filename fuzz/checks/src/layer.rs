//! The reader of tars, psyopsOS's own and imported ones.

/// Checks one input.
pub fn check(bytes: &[u8]) {
    builder::fuzzing::layer(bytes);
}
