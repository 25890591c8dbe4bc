//! Fuzzes the reader of tars, psyopsOS's own and imported ones.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| builder::fuzzing::layer(bytes));
