//! minisign key pairs and signing. The files are those of the `minisign` program (`minisign -G -W`): each can use the
//! other's.
//!
//! The secret key files here are without a passphrase: only the file's permissions protect them. `locked` has the others.
//!
//! Signatures are those of RFC 8032, the same for the same content. The `minisign` crate draws a random nonce for each
//! (the program does not), so that the same image could not be built twice.

use crate::signature::{self, PublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use blake2::digest::consts::U32;
use blake2::{Blake2b, Blake2b512, Digest as _};
use ed25519_dalek::{SECRET_KEY_LENGTH, Signer as _};
use minisign::{KeyPair, PublicKey as SignersKey, SecretKey, SecretKeyBox};
use std::fmt;
use std::ops::Range;
use thiserror::Error;
use zeroize::Zeroizing;

/// Why a file is not a signing key. No variant carries any part of the secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadSigningKey {
    /// Not a text of two lines.
    #[error("it is not a minisign secret key file (two lines: a comment and the key)")]
    NotAKey,
    /// A key under a passphrase.
    #[error("the key is protected by a passphrase")]
    Encrypted,
    /// The parts of the key do not match each other.
    #[error("the key is damaged")]
    Damaged,
}

/// The secret key that signs a site's seals and boot files.
pub struct SigningKey {
    secret: SecretKey,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The derived `Debug` would print the secret.
        write!(f, "SigningKey({})", self.public.id())
    }
}

/// An error that only a broken system causes, such as a random source that fails. Holds its message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("signing failed: {0}")]
pub struct SigningFailed(pub(super) String);

impl SigningKey {
    /// Makes a new key pair.
    pub fn generate() -> Result<Self, SigningFailed> {
        let pair =
            KeyPair::generate_unencrypted_keypair().map_err(|error| SigningFailed(error.to_string()))?;
        let public = public_of(&pair.sk).ok_or_else(|| SigningFailed("no public half".to_owned()))?;
        Ok(Self { secret: pair.sk, public })
    }

    /// Reads a secret key file.
    pub fn parse(file: &[u8]) -> Result<Self, BadSigningKey> {
        let text = std::str::from_utf8(file).map_err(|_| BadSigningKey::NotAKey)?;
        let line = text.lines().nth(1).ok_or(BadSigningKey::NotAKey)?;
        let bytes = BASE64_STANDARD.decode(line).map(Zeroizing::new).map_err(|_| BadSigningKey::NotAKey)?;
        match bytes.get(..4).filter(|_| bytes.len() == SECRET_BYTES) {
            Some([b'E', b'd', 0, 0]) => {}
            Some([b'E', b'd', ..]) => return Err(BadSigningKey::Encrypted),
            _ => return Err(BadSigningKey::NotAKey),
        }
        // `minisign -G -W` leaves the checksum zero, `minisign -C -W` and this crate fill it in.
        let without_checksum = bytes.iter().rev().take(CHECKSUM_BYTES).all(|&byte| byte == 0);
        let secret = if without_checksum {
            SecretKey::from_bytes(&bytes).ok()
        } else {
            SecretKeyBox::from_string(text).ok().and_then(|text| text.into_unencrypted_secret_key().ok())
        };
        Self::of_secret(secret.ok_or(BadSigningKey::Damaged)?)
    }

    /// The key with this secret half.
    pub(super) fn of_secret(secret: SecretKey) -> Result<Self, BadSigningKey> {
        let public = public_of(&secret).ok_or(BadSigningKey::Damaged)?;
        let key = Self { secret, public };
        // Signing verifies the new signature, which shows that both halves match.
        key.sign(b"", "").map_err(|_| BadSigningKey::Damaged)?;
        Ok(key)
    }

    /// The secret key file's text, without a passphrase.
    pub fn text(&self) -> Result<Zeroizing<String>, SigningFailed> {
        let mut bytes = self.with_checksum()?;
        // Algorithm, salt and limits are zero.
        bytes.get_mut(KDF_ALGORITHM.start..KEY_ID.start).ok_or_else(too_short)?.fill(0);
        bytes.get_mut(CHECKSUM_ALGORITHM).ok_or_else(too_short)?.copy_from_slice(b"B2");
        Ok(self.file("minisign secret key", &bytes))
    }

    /// The key's bytes in clear, with their checksum.
    pub(super) fn with_checksum(&self) -> Result<Zeroizing<Vec<u8>>, SigningFailed> {
        let mut bytes = Zeroizing::new(self.secret.to_bytes());
        let mut hasher = Blake2b::<U32>::new();
        for range in [0..2, KEY_ID.start..SECRET_BYTES - CHECKSUM_BYTES] {
            hasher.update(bytes.get(range).ok_or_else(too_short)?);
        }
        let checksum = hasher.finalize();
        bytes
            .get_mut(SECRET_BYTES - CHECKSUM_BYTES..)
            .filter(|field| field.len() == checksum.len())
            .ok_or_else(too_short)?
            .copy_from_slice(&checksum);
        Ok(bytes)
    }

    /// The two lines of a file with these bytes of a key.
    pub(super) fn file(&self, what: &str, bytes: &[u8]) -> Zeroizing<String> {
        let line = Zeroizing::new(BASE64_STANDARD.encode(bytes));
        Zeroizing::new(format!(
            "untrusted comment: {what} {} of a psyopsOS site\n{}\n",
            self.public.id(),
            *line
        ))
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The text of a `.pub` file.
    #[must_use]
    pub fn public_text(&self) -> String {
        format!("untrusted comment: minisign public key {}\n{}\n", self.public.id(), self.public.as_str())
    }

    /// Signs `content` (prehashed); the trusted comment is signed with it. The four lines of a `.minisig` file.
    pub fn sign(&self, content: &[u8], trusted_comment: &str) -> Result<String, SigningFailed> {
        let secret = Zeroizing::new(self.secret.to_bytes());
        let (id, seed) = secret.get(KEY_ID).zip(secret.get(SEED)).ok_or_else(too_short)?;
        let key = ed25519_dalek::SigningKey::try_from(seed).map_err(|_| too_short())?;
        let of_content = key.sign(&Blake2b512::digest(content)).to_bytes();
        // The second signature covers the first and the trusted comment.
        let of_all = key.sign(&[&of_content, trusted_comment.as_bytes()].concat()).to_bytes();
        let first = [PREHASHED, id, &of_content].concat();
        let text = format!(
            "untrusted comment: signature by key {}\n{}\ntrusted comment: {trusted_comment}\n{}\n",
            self.public.id(),
            BASE64_STANDARD.encode(first),
            BASE64_STANDARD.encode(of_all)
        );
        // A signature that this program would refuse must not be returned.
        signature::verify(content, &text, std::slice::from_ref(&self.public))
            .map_err(|error| SigningFailed(error.to_string()))?;
        Ok(text)
    }
}

pub(super) fn too_short() -> SigningFailed {
    SigningFailed("the secret key is too short".to_owned())
}

fn public_of(secret: &SecretKey) -> Option<PublicKey> {
    let public = SignersKey::from_secret_key(secret).ok()?;
    public.to_base64().parse().ok()
}

/// Bytes of a secret key, in files with and without a passphrase: three algorithms, salt and limits of the passphrase, key id, key, checksum.
pub(super) const SECRET_BYTES: usize = 158;

/// The last bytes of the key: the checksum.
const CHECKSUM_BYTES: usize = 32;

/// The algorithm that derives a key from the passphrase.
pub(super) const KDF_ALGORITHM: Range<usize> = 2..4;

/// The algorithm of the checksum.
pub(super) const CHECKSUM_ALGORITHM: Range<usize> = 4..6;

/// The key id.
pub(super) const KEY_ID: Range<usize> = 54..62;

/// The secret half of the key.
const SEED: Range<usize> = 62..62 + SECRET_KEY_LENGTH;

/// The algorithm bytes at the beginning of a prehashed signature.
const PREHASHED: &[u8] = b"ED";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{BadSignature, verify};

    #[test]
    fn only_the_signed_content_verifies() {
        let key = SigningKey::generate().unwrap();
        let other = SigningKey::generate().unwrap();
        let signature = key.sign(b"content", "a comment").unwrap();
        let trusted = [other.public().clone(), key.public().clone()];
        assert_eq!(verify(b"content", &signature, &trusted), Ok(key.public()));
        assert_eq!(verify(b"contenT", &signature, &trusted), Err(BadSignature::Wrong(key.public().id())));
        let comment_changed = signature.replace("a comment", "A comment");
        assert_eq!(
            verify(b"content", &comment_changed, &trusted),
            Err(BadSignature::Wrong(key.public().id()))
        );
        assert_eq!(
            verify(b"content", &signature, &trusted[..1]),
            Err(BadSignature::UntrustedKey { signer: key.public().id(), trusted: vec![other.public().id()] })
        );
        assert!(matches!(verify(b"content", "", &trusted), Err(BadSignature::Malformed(_))));
    }

    #[test]
    fn the_same_content_has_the_same_signature() {
        let key = SigningKey::generate().unwrap();
        assert_eq!(key.sign(b"content", "a comment").unwrap(), key.sign(b"content", "a comment").unwrap());
    }

    #[test]
    fn the_file_is_read_back() {
        let key = SigningKey::generate().unwrap();
        let text = key.text().unwrap();
        assert_eq!(SigningKey::parse(text.as_bytes()).unwrap().public(), key.public());
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public().id()));
    }

    #[test]
    fn each_wrong_file_has_its_error() {
        let key = SigningKey::generate().unwrap();
        let parse = |text: &str| SigningKey::parse(text.as_bytes()).unwrap_err();
        assert_eq!(parse("hello"), BadSigningKey::NotAKey);
        assert_eq!(parse(&key.public_text()), BadSigningKey::NotAKey);
        let text = key.text().unwrap();
        let line = text.lines().nth(1).unwrap();
        // The base64 text begins with `Ed`, then two bytes that are zero if the key is not under a passphrase.
        let scrypt = format!("RWRTYw{}", &line[6..]);
        assert_eq!(parse(&text.replace(line, &scrypt)), BadSigningKey::Encrypted);
        let mut damaged = line.to_owned();
        damaged.replace_range(100..101, if &line[100..101] == "A" { "B" } else { "A" });
        assert_eq!(parse(&text.replace(line, &damaged)), BadSigningKey::Damaged);
    }
}
