//! gpgv and sqv, the verifiers of apt, accept what is written here.

use super::*;
use crate::base::openpgp::verify::{BadOpenPgp, verify_with};
use crate::base::openpgp::{ClearSigned, verify};
use crate::store::Store;
use crate::tools::{GPGV, SQV, Tool};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const TIME: u64 = 1_700_000_000;
const TEXT: &str = "Origin: x \nSHA256:\n 0123 4 Packages\n";

struct Fixture {
    folder: TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&folder.path().join("store")).unwrap();
        Self { folder, store }
    }

    fn keyring(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// gpgv, and sqv if it is installed (Debian 12 does not have it).
fn verifiers() -> Vec<Tool> {
    [GPGV, SQV].into_iter().filter(|tool| tool.find().is_ok()).collect()
}

#[test]
fn apts_verifiers_take_the_signature_and_no_changed_text_or_other_key() {
    let place = Fixture::new();
    assert!(verifiers().contains(&GPGV));
    // Many keys, because a number may begin with zeros.
    for n in 0..8 {
        let key = ThrowawayKey::generate(TIME).unwrap();
        let keyring = place.keyring(&format!("key-{n}.gpg"), &key.keyring());
        let other = place.keyring("other.gpg", &ThrowawayKey::generate(TIME).unwrap().keyring());
        let signed = ClearSigned::split(&key.sign(TEXT)).unwrap();
        assert_eq!(signed.text, "Origin: x\nSHA256:\n 0123 4 Packages");
        for tool in verifiers() {
            verify_with(tool, &signed, &keyring, &place.store).unwrap();
            let refused = |signed: &ClearSigned, keyring: &PathBuf| match verify_with(
                tool,
                signed,
                keyring,
                &place.store,
            )
            .unwrap_err()
            {
                BadOpenPgp::Refused { verifier, .. } => verifier,
                other => panic!("{other}"),
            };
            let mut changed = signed.clone();
            changed.text = changed.text.replace("0123", "0124");
            let (why, whose) = (refused(&changed, &keyring), refused(&signed, &other));
            if tool == GPGV {
                assert_eq!(why, "gpgv: the text was changed after it was signed");
                assert_eq!(whose, "gpgv: a key that is not in the keyring");
            } else {
                assert!(why.starts_with("sqv: ") && whose.starts_with("sqv: "), "{why} {whose}");
            }
        }
        verify(&signed, &keyring, &place.store).unwrap();
    }
}

/// The parts of itself that a signature covers, and its numbers. (gpgv does not check the first bytes of the digest.)
#[test]
fn a_changed_byte_of_the_signature_is_refused() {
    let place = Fixture::new();
    let key = ThrowawayKey::generate(TIME).unwrap();
    let keyring = place.keyring("key.gpg", &key.keyring());
    let signed = ClearSigned::split(&key.sign(TEXT)).unwrap();
    let armor: String = signed.signature.lines().filter(|line| !line.starts_with("---")).collect();
    let bytes = BASE64_STANDARD.decode(armor).unwrap();
    // A byte in the time of the signature, and in both halves of the number that is one.
    for at in [14, bytes.len() - 40, bytes.len() - 1] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let armor = BASE64_STANDARD.encode(bytes);
        let signature = format!("-----BEGIN PGP SIGNATURE-----\n\n{armor}\n-----END PGP SIGNATURE-----\n");
        let changed = ClearSigned { text: signed.text.clone(), signature };
        for tool in verifiers() {
            let refused = verify_with(tool, &changed, &keyring, &place.store);
            assert!(
                matches!(refused, Err(BadOpenPgp::Refused { .. })),
                "{} byte {at}: {refused:?}",
                tool.name
            );
        }
    }
}

#[test]
fn two_keys_differ_and_say_the_time_that_they_are_given() {
    let keys = [0, 1].map(|_| ThrowawayKey::generate(TIME).unwrap());
    assert_ne!(keys[0].keyring(), keys[1].keyring());
    for key in keys {
        assert_eq!(key.public_key()[..5], [4, 0x65, 0x53, 0xf1, 0x00]);
    }
}

#[test]
fn numbers_have_their_length_in_bits_and_no_leading_zeros() {
    assert_eq!(number(&[0, 0, 1, 0xff]), [0, 9, 1, 0xff]);
    assert_eq!(number(&[0x80]), [0, 8, 0x80]);
    assert_eq!(number(&[0, 0]), [0, 0]);
}

#[test]
fn a_line_that_begins_with_a_dash_is_escaped() {
    let signed = ThrowawayKey::generate(TIME).unwrap().sign("-a\nb");
    assert!(
        signed
            .starts_with("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n- -a\nb\n-----BEGIN PGP SIGN")
    );
}
