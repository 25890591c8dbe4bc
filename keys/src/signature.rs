//! minisign public keys and signatures (jedisct1.github.io/minisign): only verifying.
//!
//! Only prehashed signatures (`ED`) are accepted: an attacker could use the legacy kind for a downgrade. The key id,
//! which minisign prints in its comments, tells "signed by another key" from "changed after signing".

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The id of a key pair, as minisign prints it: hexadecimal digits, without leading zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(u64);

impl KeyId {
    /// Both keys and signatures begin with an algorithm (2 bytes) and the key id (8 bytes, little-endian).
    fn of_base64(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        let id = bytes.get(2..10)?.try_into().ok()?;
        Some(Self(u64::from_le_bytes(id)))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A public key whose signatures may be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: minisign_verify::PublicKey,
    id: KeyId,
    text: String,
}

/// A text that is not a minisign public key; holds the text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a minisign public key; expected the second line of a .pub file (RW...)")]
pub struct BadPublicKey(pub String);

impl PublicKey {
    /// The id of the key pair.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The base64 text, as in the second line of a `.pub` file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for PublicKey {
    type Err = BadPublicKey;

    /// Reads the base64 text (second line of a `.pub` file).
    fn from_str(text: &str) -> Result<Self, BadPublicKey> {
        let bad = || BadPublicKey(text.to_owned());
        let key = minisign_verify::PublicKey::from_base64(text).map_err(|_| bad())?;
        let id = KeyId::of_base64(text).ok_or_else(bad)?;
        Ok(Self { key, id, text: text.to_owned() })
    }
}

/// Why a signature is not valid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadSignature {
    /// Not a minisign signature; holds what is wrong.
    #[error("there is no minisign signature of four lines: {0}")]
    Malformed(&'static str),
    /// The legacy kind without prehashing, by this key.
    #[error(
        "the signature by key {0} is of minisign's legacy kind; sign the file again with a current minisign"
    )]
    Legacy(KeyId),
    /// Signed by a key that is not trusted.
    #[error("it is signed by key {signer}, which is not trusted here (trusted: {})", join(trusted))]
    UntrustedKey {
        /// The key id of the signature.
        signer: KeyId,
        /// The key ids that are trusted.
        trusted: Vec<KeyId>,
    },
    /// Signed by a trusted key, but content or signature were changed afterwards.
    #[error("its signature by key {0} does not match its content, which was changed after signing")]
    Wrong(KeyId),
}

fn join(ids: &[KeyId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The id of the key according to the signature itself. Not verified: only for messages, not for decisions.
#[must_use]
pub fn unproven_signer(signature: &str) -> Option<KeyId> {
    KeyId::of_base64(signature.lines().nth(1)?)
}

/// Verifies that one of `trusted` signed `content`, and returns that key.
pub fn verify<'k>(
    content: &[u8],
    signature: &str,
    trusted: &'k [PublicKey],
) -> Result<&'k PublicKey, BadSignature> {
    let line = signature.lines().nth(1).ok_or(BadSignature::Malformed("it ends before its second line"))?;
    let signer = KeyId::of_base64(line).ok_or(BadSignature::Malformed("its second line is damaged"))?;
    let parsed = minisign_verify::Signature::decode(signature)
        .map_err(|_| BadSignature::Malformed("a line is damaged or missing"))?;
    let mut candidates = trusted.iter().filter(|key| key.id == signer).peekable();
    if candidates.peek().is_none() {
        return Err(BadSignature::UntrustedKey {
            signer,
            trusted: trusted.iter().map(PublicKey::id).collect(),
        });
    }
    let mut problem = BadSignature::Wrong(signer);
    for key in candidates {
        match key.key.verify(content, &parsed, false) {
            Ok(()) => return Ok(key),
            Err(minisign_verify::Error::UnexpectedAlgorithm) => problem = BadSignature::Legacy(signer),
            Err(_) => {}
        }
    }
    Err(problem)
}
