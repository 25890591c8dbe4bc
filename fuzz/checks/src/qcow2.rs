//! The reader of QEMU's qcow2 disks.

/// Checks one input.
pub fn check(bytes: &[u8]) {
    builder::fuzzing::qcow2(bytes);
}
