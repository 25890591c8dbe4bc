//! The two key files of a site: where they are, whether they are locked, opening and rewriting them.

use crate::error::{Class, Classified};
use crate::secrets::key_error::KeyError;
use crate::secrets::locations::{Locations, place};
use crate::secrets::passphrase::{Attempt, Passphrases};
use crate::secrets::private_file::read_private;
use crate::site::Site;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use keys::identity::NodeIdentity;
use keys::issue::identity_file;
use keys::issue::locked::{self, LockFailed, LockedError, Work};
use keys::issue::signing::{BadSigningKey, SigningFailed, SigningKey};
use keys::timestamp::Timestamp;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The file with the admin's age identity, as `age-keygen` writes it.
pub const ADMIN_IDENTITY_FILE: &str = "admin.age.txt";
/// The file with the signing key, as `minisign -G -W` writes it.
pub const SIGNING_KEY_FILE: &str = "signing.key";

/// The bytes of a line of armor (age-encryption.org/v1, which cites RFC 7468): a copy may have the lines, or the bytes.
const PEM_LINE: usize = 48;
/// Shorter pieces could occur by chance, so they are not searched for.
const SHORTEST_PIECE: usize = 32;

/// Which of the two private keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// The admin's age identity.
    Identity,
    /// The signing key.
    Signing,
}

impl KeyKind {
    /// The name for people.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Identity => "admin's identity",
            Self::Signing => "signing key",
        }
    }

    /// The name for programs (JSON).
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Signing => "signing-key",
        }
    }
}

/// A key file and which key is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// The key that it has.
    pub kind: KeyKind,
    /// The path of the file.
    pub path: PathBuf,
}

/// A private key that was read and decrypted.
#[derive(Debug)]
pub enum Key {
    /// The admin's age identity.
    Identity(NodeIdentity),
    /// The signing key.
    Signing(Box<SigningKey>),
}

/// What can be told about a key file without its passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// The file does not exist.
    Missing,
    /// Other users can read the file, or it is not a key.
    Unusable {
        /// What is wrong with it.
        problem: String,
        /// What the user can do about it.
        advice: Option<String>,
    },
    /// The key is locked with a passphrase.
    Locked {
        /// The permission bits of the file.
        mode: u32,
        /// The public half from the file beside it, which is unproven without the passphrase.
        public: Option<String>,
    },
    /// The key is not locked.
    Open {
        /// The permission bits of the file.
        mode: u32,
        /// The public half of the key.
        public: String,
    },
}

/// Why a key file was not rewritten.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum RewriteError {
    /// The key could not be locked with a passphrase.
    #[error(transparent)]
    Lock(#[from] LockFailed),
    /// The text of the key file could not be made.
    #[error(transparent)]
    Text(#[from] SigningFailed),
    /// The new text does not have the same key, so the file was not changed.
    #[error("the new file for {path} does not decrypt to the same key, so the old file was kept")]
    NotTheSame {
        /// The path of the file.
        path: PathBuf,
    },
}

impl Classified for RewriteError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Failure)
    }
}

/// The paths of both keys of a site.
pub fn of_site(site: &Site, at: &Locations) -> Result<[KeyFile; 2], KeyError> {
    Ok([
        KeyFile { kind: KeyKind::Identity, path: place(site, at.identity.as_deref(), ADMIN_IDENTITY_FILE)? },
        KeyFile { kind: KeyKind::Signing, path: place(site, at.signing_key.as_deref(), SIGNING_KEY_FILE)? },
    ])
}

/// Reads an identity; asks for the passphrase if it is locked.
pub fn open_identity(path: &Path, passphrases: &Passphrases) -> Result<NodeIdentity, KeyError> {
    parse_identity(path, &read_private(KeyKind::Identity.what(), path)?, passphrases)
}

/// Reads a signing key; asks for the passphrase if it is locked.
pub fn open_signing_key(path: &Path, passphrases: &Passphrases) -> Result<SigningKey, KeyError> {
    parse_signing_key(path, &read_private(KeyKind::Signing.what(), path)?, passphrases)
}

fn parse_identity(path: &Path, file: &[u8], passphrases: &Passphrases) -> Result<NodeIdentity, KeyError> {
    if locked::is_locked_identity(file) {
        let attempt = |text: &str| locked::open_identity(file, text).map_err(|problem| failed(path, problem));
        return passphrases.open(KeyKind::Identity.what(), path, attempt);
    }
    NodeIdentity::parse(file).map_err(|problem| KeyError::Identity { path: path.to_owned(), problem })
}

fn parse_signing_key(path: &Path, file: &[u8], passphrases: &Passphrases) -> Result<SigningKey, KeyError> {
    match SigningKey::parse(file) {
        Err(BadSigningKey::Encrypted) => {
            let attempt =
                |text: &str| locked::open_signing_key(file, text).map_err(|problem| failed(path, problem));
            passphrases.open(KeyKind::Signing.what(), path, attempt)
        }
        other => other.map_err(|problem| KeyError::SigningKey { path: path.to_owned(), problem }),
    }
}

fn failed(path: &Path, problem: LockedError) -> Attempt<KeyError> {
    match problem {
        LockedError::WrongPassphrase => Attempt::Wrong,
        problem => Attempt::Other(KeyError::Locked { path: path.to_owned(), problem }),
    }
}

impl Key {
    /// The public half of the key.
    #[must_use]
    pub fn public(&self) -> String {
        match self {
            Self::Identity(identity) => identity.recipient().to_string(),
            Self::Signing(key) => key.public().as_str().to_owned(),
        }
    }

    /// The text of a file with the public half, which `age -R` and `minisign -p` can read.
    #[must_use]
    pub fn public_text(&self) -> String {
        match self {
            Self::Identity(identity) => format!("{}\n", identity.recipient()),
            Self::Signing(key) => key.public_text(),
        }
    }

    /// The text of the key file, locked if there is a passphrase.
    pub fn text(
        &self,
        created: Timestamp,
        passphrase: Option<&str>,
    ) -> Result<Zeroizing<String>, RewriteError> {
        Ok(match (self, passphrase) {
            (Self::Identity(identity), None) => identity_file::text(identity, created),
            (Self::Identity(identity), Some(passphrase)) => {
                Zeroizing::new(locked::lock_identity(identity, created, passphrase, Work::USUAL)?)
            }
            (Self::Signing(key), None) => key.text()?,
            (Self::Signing(key), Some(passphrase)) => locked::lock_signing_key(key, passphrase, Work::USUAL)?,
        })
    }
}

impl KeyFile {
    /// Reads the key; asks for the passphrase if it is locked.
    pub fn open(&self, passphrases: &Passphrases) -> Result<Key, KeyError> {
        let what = self.kind.what();
        self.parse(&read_private(what, &self.path)?, passphrases)
    }

    /// The same, but `None` if the file does not exist.
    pub fn open_if_there(&self, passphrases: &Passphrases) -> Result<Option<Key>, KeyError> {
        match self.open(passphrases) {
            Ok(key) => Ok(Some(key)),
            Err(KeyError::File(error)) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the key from the content of the file.
    pub fn parse(&self, file: &[u8], passphrases: &Passphrases) -> Result<Key, KeyError> {
        match self.kind {
            KeyKind::Identity => parse_identity(&self.path, file, passphrases).map(Key::Identity),
            KeyKind::Signing => {
                parse_signing_key(&self.path, file, passphrases).map(|key| Key::Signing(Box::new(key)))
            }
        }
    }

    /// Checks that `file` opens as `key` with the passphrase (or without one).
    pub fn check(&self, file: &[u8], key: &Key, passphrase: Option<&str>) -> Result<(), RewriteError> {
        let passphrases = Passphrases::of(passphrase.as_slice());
        match self.parse(file, &passphrases) {
            Ok(made) if made.public() == key.public() => Ok(()),
            _ => Err(RewriteError::NotTheSame { path: self.path.clone() }),
        }
    }

    /// The path of the file with the public half of a locked key: `admin.age.txt.pub`, `signing.key.pub`.
    #[must_use]
    pub fn public_path(&self) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(".pub");
        path.into()
    }

    /// If the key is locked: bytes that occur only in this file, in pieces, to find copies of the file. An open key is
    /// found by its own bytes.
    pub(super) fn locked_bytes(&self) -> Vec<Vec<u8>> {
        let file = read_private(self.kind.what(), &self.path).ok();
        let pieces = file.and_then(|file| match self.kind {
            KeyKind::Identity if locked::is_locked_identity(&file) => {
                Some(locked::without_armor(&file)?.chunks(PEM_LINE).map(<[u8]>::to_vec).collect())
            }
            KeyKind::Signing if matches!(SigningKey::parse(&file), Err(BadSigningKey::Encrypted)) => {
                let text = std::str::from_utf8(&file).ok()?;
                Some(vec![BASE64_STANDARD.decode(text.lines().nth(1)?.trim()).ok()?])
            }
            KeyKind::Identity | KeyKind::Signing => None,
        });
        let mut pieces: Vec<Vec<u8>> = pieces.unwrap_or_default();
        // The last piece of a file may have only a few bytes.
        pieces.retain(|piece| piece.len() >= SHORTEST_PIECE);
        pieces
    }

    /// Reads what can be told without a passphrase.
    #[must_use]
    pub fn state(&self) -> KeyState {
        let file = match read_private(self.kind.what(), &self.path) {
            Ok(file) => file,
            Err(error) if error.is_missing() => return KeyState::Missing,
            Err(error) => return KeyState::unusable(&error),
        };
        let mode = fs::metadata(&self.path).map_or(0, |found| found.mode() & 0o7777);
        let locked = match self.kind {
            KeyKind::Identity => locked::is_locked_identity(&file),
            KeyKind::Signing => matches!(SigningKey::parse(&file), Err(BadSigningKey::Encrypted)),
        };
        if locked {
            return KeyState::Locked { mode, public: noted(&self.public_path()) };
        }
        match self.parse(&file, &Passphrases::default()) {
            Ok(key) => KeyState::Open { mode, public: key.public() },
            Err(error) => KeyState::unusable(&error),
        }
    }
}

/// The key in a file with a public half: its last line.
fn noted(path: &Path) -> Option<String> {
    let bytes = read_private_or_public(path)?;
    let line = bytes.lines().last()?.trim().to_owned();
    let is_key = line.parse::<keys::identity::Recipient>().is_ok()
        || line.parse::<keys::signature::PublicKey>().is_ok();
    is_key.then_some(line)
}

fn read_private_or_public(path: &Path) -> Option<String> {
    let found = fs::symlink_metadata(path).ok()?;
    if !found.is_file() || found.len() > 4096 {
        return None;
    }
    fs::read_to_string(path).ok()
}

impl KeyState {
    fn unusable(error: &impl Classified) -> Self {
        Self::Unusable { problem: error.to_string(), advice: error.advice() }
    }

    /// The word for the state, for programs (JSON).
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unusable { .. } => "unusable",
            Self::Locked { .. } => "locked",
            Self::Open { .. } => "not locked",
        }
    }

    /// The permission bits, if the file could be read.
    #[must_use]
    pub fn mode(&self) -> Option<u32> {
        match self {
            Self::Locked { mode, .. } | Self::Open { mode, .. } => Some(*mode),
            Self::Missing | Self::Unusable { .. } => None,
        }
    }

    /// The public half, if it is known.
    #[must_use]
    pub fn public(&self) -> Option<&str> {
        match self {
            Self::Locked { public, .. } => public.as_deref(),
            Self::Open { public, .. } => Some(public),
            Self::Missing | Self::Unusable { .. } => None,
        }
    }
}
