//! What the builder reads of a root, and what unsquashfs prints of it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| builder::fuzzing::squashfs(bytes));
