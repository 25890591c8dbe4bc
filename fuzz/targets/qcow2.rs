//! Fuzzes the reader of QEMU's qcow2 disks.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| builder::fuzzing::qcow2(bytes));
