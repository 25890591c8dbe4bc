//! A seal as it is on a partition: header, payload, then the signature over both.
//!
//! Whatever the input, only a seal that the insecure test key signed is verified: the one in the corpus.

use keys::seal::UnverifiedSeal;
use keys::seal::header::Header;
use keys::signature::PublicKey;
use std::sync::LazyLock;

const SIGNED: &[u8] = include_bytes!("../../corpus/seal/signed");
static KEY: LazyLock<PublicKey> = LazyLock::new(|| {
    let file = include_str!("../../insecure-test-signing.pub");
    file.lines().nth(1).expect("a key file has two lines").parse().expect("a minisign key")
});

/// Checks one input.
pub fn check(bytes: &[u8]) {
    if let Ok((header, length, payload)) = Header::decode(bytes) {
        assert_eq!(header.encode(payload).as_bytes(), &bytes[..length], "a header has one spelling");
    }
    let Ok(seal) = UnverifiedSeal::parse(bytes) else { return };
    assert!(bytes.starts_with(seal.bytes()));
    let site = seal.unproven_header().site.clone();
    if let Ok(verified) = seal.verify(std::slice::from_ref(&KEY), &site) {
        // The signature's own text has more than one valid form; the signed bytes do not.
        let covered = SIGNED.windows(9).position(|window| window == b"untrusted").expect("a signature");
        assert_eq!(verified.bytes()[..covered], SIGNED[..covered], "a forged seal verifies");
        assert!(
            SIGNED
                .windows(verified.trusted_comment().len().max(1))
                .any(|text| text == verified.trusted_comment().as_bytes())
        );
    }
}
