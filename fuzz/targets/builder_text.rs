//! Text that the builder reads: lock files, what apt prints, receipts, lists of packages.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| builder::fuzzing::text(bytes));
