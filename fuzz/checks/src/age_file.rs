//! The loader's reader of age files and the one of the crate `age` open the same files, with the same content.

use keys::fuzzing::age_file;
use keys::identity::NodeIdentity;
use keys::issue::encryption::decrypt;
use std::sync::LazyLock;

static IDENTITY: LazyLock<NodeIdentity> = LazyLock::new(|| {
    NodeIdentity::parse(include_bytes!("../../insecure-test-identity")).expect("an age identity")
});

/// Checks one input.
pub fn check(bytes: &[u8]) {
    // Armor is for people; PID 1 does not accept it.
    if bytes.starts_with(b"-----") {
        assert!(age_file(bytes, &IDENTITY).is_none());
        return;
    }
    let here = age_file(bytes, &IDENTITY);
    let there = decrypt(&IDENTITY, bytes).ok();
    assert_eq!(here.as_deref(), there.as_deref(), "two readers of one format");
    let _ = NodeIdentity::parse(bytes);
}
