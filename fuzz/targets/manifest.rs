//! Fuzzes the reader of manifests of container images.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| builder::fuzzing::manifest(bytes));
