//! The parts of a root that the builder reads, and the output of unsquashfs about it.

/// Checks one input.
pub fn check(bytes: &[u8]) {
    builder::fuzzing::squashfs(bytes);
}
