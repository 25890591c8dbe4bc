//! The tar inside a seal: its manifest, and contents that match it exactly.
#![no_main]

use handoff::manifest::Manifest;
use keys::fuzzing::payload;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((manifest, all_have_content)) = payload(bytes) {
        assert!(all_have_content, "an entry without content");
        assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));
    }
});
