//! The reader of an image's ESP (FAT).

/// Checks one input.
pub fn check(bytes: &[u8]) {
    builder::fuzzing::esp(bytes);
}
