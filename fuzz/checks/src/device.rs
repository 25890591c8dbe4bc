//! Data from the kernel and the firmware that PID 1 reads: superblocks, events, EFI variables.

/// Checks one input.
pub fn check(bytes: &[u8]) {
    initloader::fuzzing::superblock(bytes);
    initloader::fuzzing::uevent(bytes);
    initloader::fuzzing::efi_text(bytes);
}
