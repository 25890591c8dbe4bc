//! The reader of manifests of container images.

/// Checks one input.
pub fn check(bytes: &[u8]) {
    builder::fuzzing::manifest(bytes);
}
