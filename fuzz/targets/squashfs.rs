//! The parts of a root that the builder reads, and the output of unsquashfs about it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| builder::fuzzing::squashfs(bytes));
