//! Fuzzes the reader of an image's ESP (FAT).
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| builder::fuzzing::esp(bytes));
