//! Private keys under a passphrase: an identity as an age file for a passphrase (age-encryption.org/v1, scrypt), a
//! signing key in minisign's own encrypted form. `age -d` and `minisign` open them.
//!
//! The work that opening needs is checked first: the file decides how much memory scrypt (RFC 7914) takes.

use crate::identity::{BadIdentity, NodeIdentity};
use crate::issue::identity_file;
use crate::issue::signing::{
    BadSigningKey, CHECKSUM_ALGORITHM, KDF_ALGORITHM, KEY_ID, SECRET_BYTES, SigningFailed, SigningKey,
    too_short,
};
use crate::timestamp::Timestamp;
use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::SecretString;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minisign::SecretKeyBox;
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use thiserror::Error;
use zeroize::Zeroizing;

/// How much work each guess of the passphrase is: 2 to this power rounds of scrypt, each of which takes 1 KiB of
/// memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work(u8);

impl Work {
    /// 256 MiB and about a second, the default of age.
    pub const USUAL: Self = Self(18);
    /// 1 GiB: the most that a file may require, the value of minisign.
    pub const MOST: Self = Self(20);
    /// The smallest factor, for tests.
    pub const LEAST: Self = Self(10);

    fn log2(self) -> u8 {
        self.0
    }
}

/// Why a key under a passphrase does not open.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LockedError {
    /// The passphrase is not the right one.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// The file is not under a passphrase: it is encrypted to keys, or damaged.
    #[error("the file is not an age file that a passphrase protects")]
    NotPassphrase,
    /// The file requires more work than [`Work::MOST`].
    #[error("opening the file needs more work than the limit (1 GiB of memory, scrypt work factor 20)")]
    TooMuchWork,
    /// The decrypted content is not an identity.
    #[error(transparent)]
    Identity(#[from] BadIdentity),
    /// The decrypted content is not a signing key.
    #[error(transparent)]
    SigningKey(#[from] BadSigningKey),
}

/// A key could not be put under a passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot encrypt the key with the passphrase: {0}")]
pub struct LockFailed(String);

impl From<SigningFailed> for LockFailed {
    fn from(error: SigningFailed) -> Self {
        Self(error.to_string())
    }
}

/// Whether a file is an age file, so that an identity in it is under a passphrase.
#[must_use]
pub fn is_locked_identity(file: &[u8]) -> bool {
    let file = file.trim_ascii_start();
    file.starts_with(b"age-encryption.org/") || file.starts_with(b"-----BEGIN AGE ENCRYPTED")
}

/// The bytes of an age file, decoded if it is armored.
#[must_use]
pub fn without_armor(file: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    ArmoredReader::new(file).read_to_end(&mut bytes).ok().map(|_| bytes)
}

/// Opens an identity file that is under a passphrase, binary or armored.
pub fn open_identity(file: &[u8], passphrase: &str) -> Result<NodeIdentity, LockedError> {
    let problem = |error: age::DecryptError| match error {
        age::DecryptError::NoMatchingKeys
        | age::DecryptError::DecryptionFailed
        | age::DecryptError::KeyDecryptionFailed => LockedError::WrongPassphrase,
        age::DecryptError::ExcessiveWork { .. } => LockedError::TooMuchWork,
        _ => LockedError::NotPassphrase,
    };
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(file)).map_err(problem)?;
    if !decryptor.is_scrypt() {
        return Err(LockedError::NotPassphrase);
    }
    let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
    identity.set_max_work_factor(Work::MOST.log2());
    let identities = std::iter::once::<&dyn age::Identity>(&identity);
    let mut reader = decryptor.decrypt(identities).map_err(problem)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(file.len()));
    reader.read_to_end(&mut plain).map_err(|_| LockedError::NotPassphrase)?;
    Ok(NodeIdentity::parse(&plain)?)
}

/// The file of an identity under a passphrase, armored.
pub fn lock_identity(
    identity: &NodeIdentity,
    created: Timestamp,
    passphrase: &str,
    work: Work,
) -> Result<String, LockFailed> {
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
    recipient.set_work_factor(work.log2());
    let recipients = std::iter::once::<&dyn age::Recipient>(&recipient);
    let encryptor =
        age::Encryptor::with_recipients(recipients).map_err(|error| LockFailed(error.to_string()))?;
    let plain = identity_file::text(identity, created);
    let write = || -> std::io::Result<Vec<u8>> {
        let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(plain.as_bytes())?;
        writer.finish()?.finish()
    };
    let file = write().map_err(|error| LockFailed(error.to_string()))?;
    String::from_utf8(file).map_err(|error| LockFailed(error.to_string()))
}

/// Opens a signing key that is under a passphrase.
pub fn open_signing_key(file: &[u8], passphrase: &str) -> Result<SigningKey, LockedError> {
    let text = std::str::from_utf8(file).map_err(|_| BadSigningKey::NotAKey)?;
    let line = text.lines().nth(1).ok_or(BadSigningKey::NotAKey)?;
    let bytes = BASE64_STANDARD.decode(line).map_err(|_| BadSigningKey::NotAKey)?;
    let limit = |range: Range<usize>| {
        let limit = bytes.get(range)?.try_into().ok()?;
        Some(u64::from_le_bytes(limit))
    };
    let (Some(operations), Some(memory)) = (limit(OPERATIONS), limit(MEMORY)) else {
        return Err(BadSigningKey::NotAKey.into());
    };
    if bytes.len() != SECRET_BYTES || !bytes.starts_with(b"EdSc") {
        return Err(BadSigningKey::NotAKey.into());
    }
    if operations > MOST_OPERATIONS || memory > MOST_MEMORY {
        return Err(LockedError::TooMuchWork);
    }
    let boxed = SecretKeyBox::from_string(text).map_err(|_| BadSigningKey::NotAKey)?;
    // The checksum shows whether the passphrase is right; a damaged file looks the same.
    let secret =
        boxed.into_secret_key(Some(passphrase.to_owned())).map_err(|_| LockedError::WrongPassphrase)?;
    Ok(SigningKey::of_secret(secret)?)
}

/// The file of a signing key under a passphrase.
pub fn lock_signing_key(
    key: &SigningKey,
    passphrase: &str,
    work: Work,
) -> Result<Zeroizing<String>, LockFailed> {
    let failed = |error: &dyn fmt::Display| SigningFailed(error.to_string());
    let mut bytes = key.with_checksum()?;
    let mut salt = [0; SALT.end - SALT.start];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut salt))
        .map_err(|error| failed(&error))?;
    // libsodium derives N = 2^log2, r = 8, p = 1 from these limits.
    let memory = 1024_u64 << work.log2();
    let operations = memory / 32;
    let fields: [(Range<usize>, &[u8]); 5] = [
        (KDF_ALGORITHM, b"Sc"),
        (CHECKSUM_ALGORITHM, b"B2"),
        (SALT, &salt),
        (OPERATIONS, &operations.to_le_bytes()),
        (MEMORY, &memory.to_le_bytes()),
    ];
    for (range, value) in fields {
        bytes.get_mut(range).ok_or_else(too_short)?.copy_from_slice(value);
    }
    let params = scrypt::Params::new(work.log2(), 8, 1, scrypt::Params::RECOMMENDED_LEN)
        .map_err(|error| failed(&error))?;
    let mut stream = Zeroizing::new([0; SECRET_BYTES - KEY_ID.start]);
    scrypt::scrypt(passphrase.as_bytes(), &salt, &params, &mut *stream).map_err(|error| failed(&error))?;
    let secret = bytes.get_mut(KEY_ID.start..).ok_or_else(too_short)?;
    for (byte, mask) in secret.iter_mut().zip(stream.iter()) {
        *byte ^= mask;
    }
    Ok(key.file("minisign encrypted secret key", &bytes))
}

/// The passphrase's salt in a signing key.
const SALT: Range<usize> = 6..38;

/// The limit of operations for scrypt, in libsodium's unit.
const OPERATIONS: Range<usize> = 38..46;

/// The limit of memory for scrypt, in bytes.
const MEMORY: Range<usize> = 46..54;

/// libsodium's "sensitive" limits, which minisign writes, are the most that a file may ask for.
const MOST_OPERATIONS: u64 = 33_554_432;
const MOST_MEMORY: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_identity_opens_with_its_passphrase_only() {
        let identity = identity_file::generate();
        let file = lock_identity(&identity, Timestamp::from_unix(0), "correct horse", Work::LEAST).unwrap();
        assert!(
            is_locked_identity(file.as_bytes()) && file.starts_with("-----BEGIN AGE ENCRYPTED FILE-----")
        );
        let opened = open_identity(file.as_bytes(), "correct horse").unwrap();
        assert_eq!(opened.recipient(), identity.recipient());
        let wrong = open_identity(file.as_bytes(), "correct horsf").unwrap_err();
        assert_eq!(wrong, LockedError::WrongPassphrase);
        assert_eq!(NodeIdentity::parse(file.as_bytes()).unwrap_err(), BadIdentity::Encrypted);
        let plain = identity_file::text(&identity, Timestamp::from_unix(0));
        assert!(!is_locked_identity(plain.as_bytes()));
        let to_keys = crate::issue::encryption::encrypt(&[identity.recipient()], plain.as_bytes()).unwrap();
        assert_eq!(open_identity(&to_keys, "x").unwrap_err(), LockedError::NotPassphrase);
    }

    #[test]
    fn an_identity_that_asks_for_too_much_work_is_refused_before_it_is_done() {
        let identity = identity_file::generate();
        let mut recipient = age::scrypt::Recipient::new(SecretString::from("x".to_owned()));
        recipient.set_work_factor(10);
        let file =
            age::encrypt(&recipient, identity_file::text(&identity, Timestamp::from_unix(0)).as_bytes());
        let file = file.unwrap();
        // The stanza: `-> scrypt SALT 10`.
        let text = String::from_utf8_lossy(&file[..120]).into_owned();
        let at = text.find(" 10\n").unwrap();
        for (factor, expected) in [
            ("21", LockedError::TooMuchWork),
            ("63", LockedError::TooMuchWork),
            ("11", LockedError::WrongPassphrase),
        ] {
            let mut changed = file.clone();
            changed[at + 1..at + 3].copy_from_slice(factor.as_bytes());
            assert_eq!(open_identity(&changed, "x").unwrap_err(), expected, "{factor}");
        }
    }

    #[test]
    fn a_locked_signing_key_opens_with_its_passphrase_only() {
        let key = SigningKey::generate().unwrap();
        let file = lock_signing_key(&key, "correct horse", Work::LEAST).unwrap();
        let opened = open_signing_key(file.as_bytes(), "correct horse").unwrap();
        assert_eq!(opened.public(), key.public());
        assert_eq!(opened.sign(b"content", "c").unwrap(), key.sign(b"content", "c").unwrap());
        let wrong = open_signing_key(file.as_bytes(), "correct horsf").unwrap_err();
        assert_eq!(wrong, LockedError::WrongPassphrase);
        assert_eq!(SigningKey::parse(file.as_bytes()).unwrap_err(), BadSigningKey::Encrypted);
        // Without a passphrase again, and with another one.
        let plain = opened.text().unwrap();
        assert_eq!(SigningKey::parse(plain.as_bytes()).unwrap().public(), key.public());
        let again = lock_signing_key(&opened, "other", Work::LEAST).unwrap();
        assert_eq!(open_signing_key(again.as_bytes(), "other").unwrap().public(), key.public());
    }

    #[test]
    fn a_signing_key_that_asks_for_too_much_work_is_refused_before_it_is_done() {
        let key = SigningKey::generate().unwrap();
        let file = lock_signing_key(&key, "x", Work::LEAST).unwrap();
        let line = file.lines().nth(1).unwrap();
        let bytes = BASE64_STANDARD.decode(line).unwrap();
        // Limits of operations and of memory: bytes 38 and 46.
        for (at, value) in [(38, 1_u64 << 26), (46, (1 << 30) + 1), (46, u64::MAX), (38, u64::MAX)] {
            let mut changed = bytes.clone();
            changed[at..at + 8].copy_from_slice(&value.to_le_bytes());
            let changed = file.replace(line, &BASE64_STANDARD.encode(changed));
            assert_eq!(
                open_signing_key(changed.as_bytes(), "x").unwrap_err(),
                LockedError::TooMuchWork,
                "{at} {value}"
            );
        }
    }
}
