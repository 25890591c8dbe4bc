//! Fuzzes the readers of UKIs and boot stubs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| builder::fuzzing::uki(bytes));
