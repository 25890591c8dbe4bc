//! The reader of the secret partition's ext4 file system.

/// Checks one input.
pub fn check(bytes: &[u8]) {
    builder::fuzzing::ext4(bytes);
}
