//! Fuzzes the readers of compressed initramfs files and cpio archives.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| builder::fuzzing::initramfs(bytes));
