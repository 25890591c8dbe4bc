//! Signs a text in the clear with an Ed25519 key that is made for this and stays in memory.
//!
//! Version 4 packets with the algorithm `EdDSALegacy` (22), because Debian 12's gpgv knows no other form of Ed25519;
//! sqv reads both. Only what apt needs is here: one primary key with a user id, and one signature. Each part names its
//! section of RFC 9580. Signatures are verified by [`mod@super::verify`], with the host's programs.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use sha1_smol::Sha1;
use sha2::{Digest as _, Sha512};
use std::fmt::Write as _;
use std::io;
use zeroize::Zeroizing;

/// Section 9.1: `EdDSALegacy`.
const EDDSA: u8 = 22;
/// Section 9.2: the key's curve, `Ed25519Legacy`, 1.3.6.1.4.1.11591.15.1.
const CURVE: [u8; 9] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
/// Section 9.5: the digest algorithm.
const SHA512: u8 = 10;
/// Section 5.2.1: the types of a signature of a text, and of a user id that the owner of the key claims.
const OF_TEXT: u8 = 0x01;
const OF_USER_ID: u8 = 0x13;
/// Section 5: types of packets.
const SIGNATURE: u8 = 2;
const PUBLIC_KEY: u8 = 6;
const USER_ID: u8 = 13;
/// Section 5.2.3.7: types of subpackets.
const CREATION_TIME: u8 = 2;
const ISSUER_KEY_ID: u8 = 16;
const KEY_FLAGS: u8 = 27;
const ISSUER_FINGERPRINT: u8 = 33;
/// Section 5.2.3.29: the key may certify and sign.
const MAY_CERTIFY_AND_SIGN: u8 = 0x03;
/// The user id of the key, which verifiers print. It is not a person's address.
const NAME: &str = "archive of one psyopsOS build";
/// The characters of a line of armor, section 6.2.
const LINE: usize = 64;

/// An Ed25519 key pair that is never written to a file; its memory is overwritten at the end.
pub(in crate::base) struct ThrowawayKey {
    secret: SigningKey,
    time: u32,
}

impl ThrowawayKey {
    /// Makes a key. `time` (seconds since 1970) is the creation time of key and signatures; they never expire.
    pub(in crate::base) fn generate(time: u64) -> io::Result<Self> {
        let mut seed = Zeroizing::new([0_u8; 32]);
        let mut filled = 0;
        while let Some(rest) = seed.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
        let time = u32::try_from(time).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "the build time is after 2106, which OpenPGP cannot express: set an earlier one",
            )
        })?;
        Ok(Self { secret: SigningKey::from_bytes(&seed), time })
    }

    /// The public key in the form of a keyring: key, user id, and the key's own signature of it (section 10.1).
    pub(in crate::base) fn keyring(&self) -> Vec<u8> {
        let flags = subpacket(KEY_FLAGS, &[MAY_CERTIFY_AND_SIGN]);
        // Section 5.2.4: the data that a certification covers.
        let mut signed = self.hashed_key();
        signed.push(0xb4);
        signed.extend(length(NAME.len()));
        signed.extend(NAME.as_bytes());
        let certification = self.signature(OF_USER_ID, &flags, &signed);
        [
            packet(PUBLIC_KEY, &self.public_key()),
            packet(USER_ID, NAME.as_bytes()),
            packet(SIGNATURE, &certification),
        ]
        .concat()
    }

    /// The text with its signature around it (section 7), as an archive's `InRelease`.
    pub(in crate::base) fn sign(&self, text: &str) -> String {
        // Section 7.2: lines are signed without blanks at their ends, separated by CR LF, without a line end after the
        // last one.
        let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches([' ', '\t', '\r'])).collect();
        let signature = packet(SIGNATURE, &self.signature(OF_TEXT, &[], lines.join("\r\n").as_bytes()));
        let mut signed = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n".to_owned();
        for line in lines {
            // Section 7.1: a line that begins with a dash is escaped, as it could be read as the start of the
            // signature.
            let dash = if line.starts_with('-') { "- " } else { "" };
            let _ = writeln!(signed, "{dash}{line}");
        }
        signed.push_str("-----BEGIN PGP SIGNATURE-----\n\n");
        for line in BASE64_STANDARD.encode(signature).as_bytes().chunks(LINE) {
            let _ = writeln!(signed, "{}", String::from_utf8_lossy(line));
        }
        signed.push_str("-----END PGP SIGNATURE-----\n");
        signed
    }

    /// Section 5.5.2.2: version, time, algorithm, curve and point. Section 11.2.1: the point begins with 0x40.
    fn public_key(&self) -> Vec<u8> {
        let mut key = vec![4];
        key.extend(self.time.to_be_bytes());
        key.extend([EDDSA, 9]);
        key.extend(CURVE);
        key.extend(number(&[&[0x40], self.secret.verifying_key().as_bytes().as_slice()].concat()));
        key
    }

    /// Section 5.2.4: the key as signatures and fingerprints hash it.
    fn hashed_key(&self) -> Vec<u8> {
        let key = self.public_key();
        let [.., high, low] = length(key.len());
        [&[0x99, high, low], key.as_slice()].concat()
    }

    /// Section 5.5.4.2. SHA-1 only names the key here; nothing is signed with it.
    fn fingerprint(&self) -> [u8; 20] {
        Sha1::from(self.hashed_key()).digest().bytes()
    }

    /// Section 5.2.3: the body of a signature packet over `signed`.
    fn signature(&self, kind: u8, more: &[u8], signed: &[u8]) -> Vec<u8> {
        let fingerprint = self.fingerprint();
        let mut hashed = subpacket(CREATION_TIME, &self.time.to_be_bytes());
        hashed.extend(subpacket(ISSUER_FINGERPRINT, &[&[4], fingerprint.as_slice()].concat()));
        hashed.extend(more);
        let mut body = vec![4, kind, EDDSA, SHA512];
        let [.., high, low] = length(hashed.len());
        body.extend([high, low]);
        body.extend(hashed);
        // Section 5.2.4: the trailer, which binds the signature to its own first part.
        let mut digest = Sha512::new();
        digest.update(signed);
        digest.update(&body);
        digest.update([4, 0xff]);
        digest.update(length(body.len()));
        let digest = digest.finalize();
        // Section 5.5.5.5.1: the digest is signed.
        let signature = self.secret.sign(&digest);
        let key_id = subpacket(ISSUER_KEY_ID, &fingerprint[12..]);
        let [.., high, low] = length(key_id.len());
        body.extend([high, low]);
        body.extend(key_id);
        body.extend(&digest[..2]);
        body.extend(number(signature.r_bytes()));
        body.extend(number(signature.s_bytes()));
        body
    }
}

/// Four bytes, the highest first. All lengths here are short.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// Section 4.2.1: the new format, with a length of five bytes.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[0xc0 | kind, 0xff], length(body.len()).as_slice(), body].concat()
}

/// Section 5.2.3.7: the length includes the type. All are shorter than 192 bytes.
fn subpacket(kind: u8, body: &[u8]) -> Vec<u8> {
    let [.., low] = length(body.len() + 1);
    [&[low, kind], body].concat()
}

/// Section 3.2: a number of many bytes, the highest first, without leading zeros, after its length in bits.
fn number(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bytes = &bytes[start..];
    let bits = bytes
        .first()
        .map_or(0, |first| 8 * bytes.len() - usize::try_from(first.leading_zeros()).unwrap_or(0));
    let [.., high, low] = length(bits);
    [&[high, low], bytes].concat()
}

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;
