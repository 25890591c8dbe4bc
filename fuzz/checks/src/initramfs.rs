//! Fuzzes the readers of compressed initramfs files and cpio archives.

/// Checks one input.
pub fn check(bytes: &[u8]) {
    builder::fuzzing::initramfs(bytes);
}
