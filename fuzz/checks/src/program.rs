//! ELF files: how a program of the root is started.

/// Checks one input.
pub fn check(bytes: &[u8]) {
    initloader::fuzzing::program(bytes);
}
