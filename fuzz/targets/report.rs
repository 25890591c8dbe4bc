//! Fuzzes the search for a boot report in console logs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| builder::fuzzing::report(bytes));
