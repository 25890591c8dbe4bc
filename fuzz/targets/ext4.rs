//! Fuzzes the reader of the secret partition's ext4 file system.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| builder::fuzzing::ext4(bytes));
