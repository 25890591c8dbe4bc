//! minisign key pairs and signing. Files are those of the `minisign` program (`minisign -G -W`): either can use the
//! other's.
//!
//! The secret key file is not under a passphrase: where it lies and who may read it is what protects it.
//!
//! Signatures are those of RFC 8032, the same for the same content. The `minisign` crate draws a random nonce for each
//! (the program does not), and an image could not be built twice.

use crate::signature::{self, PublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use blake2::{Blake2b512, Digest as _};
use ed25519_dalek::{SECRET_KEY_LENGTH, Signer as _};
use minisign::{KeyPair, PublicKey as SignersKey, SecretKey, SecretKeyBox};
use std::fmt;
use std::ops::Range;
use thiserror::Error;
use zeroize::Zeroizing;

/// Why a file is no signing key. No variant carries any part of the secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadSigningKey {
    /// Bytes that are no text of two lines.
    #[error("it is no minisign secret key file (two lines: a comment and the key)")]
    NotAKey,
    /// A key under a passphrase.
    #[error(
        "the key is under a passphrase; make one without (minisign -G -W), or remove it (minisign -C -W)"
    )]
    Encrypted,
    /// Parts of the key do not fit together.
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
        // The library's own output would print the secret.
        write!(f, "SigningKey({})", self.public.id())
    }
}

/// Something that only a broken system causes, as a random source that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("signing failed: {0}")]
pub struct SigningFailed(String);

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
        let secret = secret.ok_or(BadSigningKey::Damaged)?;
        let public = public_of(&secret).ok_or(BadSigningKey::Damaged)?;
        let key = Self { secret, public };
        // Signing verifies what it made, which shows that both halves belong together.
        key.sign(b"", "").map_err(|_| BadSigningKey::Damaged)?;
        Ok(key)
    }

    /// The secret key file's text.
    pub fn text(&self) -> Result<Zeroizing<String>, SigningFailed> {
        let comment = format!("minisign secret key {} of a psyopsOS site", self.public.id());
        let boxed = self.secret.to_box(Some(&comment)).map_err(|error| SigningFailed(error.to_string()))?;
        Ok(Zeroizing::new(boxed.into_string()))
    }

    /// The public half.
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
        // What this program would refuse must not leave it.
        signature::verify(content, &text, std::slice::from_ref(&self.public))
            .map_err(|error| SigningFailed(error.to_string()))?;
        Ok(text)
    }
}

fn too_short() -> SigningFailed {
    SigningFailed("the secret key is too short".to_owned())
}

fn public_of(secret: &SecretKey) -> Option<PublicKey> {
    let public = SignersKey::from_secret_key(secret).ok()?;
    public.to_base64().parse().ok()
}

/// Bytes of a secret key: three algorithms, salt and limits of the passphrase, key id, key, checksum.
const SECRET_BYTES: usize = 158;

/// The last of them: the checksum.
const CHECKSUM_BYTES: usize = 32;

/// Where the key id stands in them.
const KEY_ID: Range<usize> = 54..62;

/// Where the secret half stands in them.
const SEED: Range<usize> = 62..62 + SECRET_KEY_LENGTH;

/// What the signature of a prehashed content begins with.
const PREHASHED: &[u8] = b"ED";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{BadSignature, verify};

    #[test]
    fn what_is_signed_verifies_and_nothing_else() {
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
        // The base64 text begins with `Ed`, then two bytes that are zero where the key is not under a passphrase.
        let scrypt = format!("RWRTYw{}", &line[6..]);
        assert_eq!(parse(&text.replace(line, &scrypt)), BadSigningKey::Encrypted);
        let mut damaged = line.to_owned();
        damaged.replace_range(100..101, if &line[100..101] == "A" { "B" } else { "A" });
        assert_eq!(parse(&text.replace(line, &damaged)), BadSigningKey::Damaged);
    }
}
