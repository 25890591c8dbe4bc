//! The tar inside a seal: its manifest, and contents that match it exactly.

use handoff::manifest::Manifest;
use keys::fuzzing::payload;

/// Checks one input.
pub fn check(bytes: &[u8]) {
    if let Ok((manifest, all_have_content)) = payload(bytes) {
        assert!(all_have_content, "an entry without content");
        assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));
    }
}
