//! Data from the kernel and the firmware that PID 1 reads: superblocks, events, EFI variables.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    initloader::fuzzing::superblock(bytes);
    initloader::fuzzing::uevent(bytes);
    initloader::fuzzing::efi_text(bytes);
});
