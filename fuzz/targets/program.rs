//! ELF files: how a program of the root is started.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| initloader::fuzzing::program(bytes));
