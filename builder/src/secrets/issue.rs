//! Making the private keys of a site where they are stored: `$XDG_CONFIG_HOME/psyops/SITE/`, never in the site.

use crate::atomic::{self, AtomicError};
use crate::error::{Class, Classified};
use crate::secrets::key_error::KeyError;
use crate::secrets::key_file::{self, ADMIN_IDENTITY_FILE, SIGNING_KEY_FILE};
use crate::secrets::passphrase::Passphrases;
use crate::site::GeneratedKeys;
use handoff::name::Name;
use keys::issue::identity_file;
use keys::issue::signing::{SigningFailed, SigningKey};
use keys::timestamp::Timestamp;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Why a site's keys could not be made.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum IssueError {
    /// The folder for the keys could not be made.
    #[error("{path}: {source}")]
    Files {
        /// The path of the folder.
        path: PathBuf,
        /// The error from making it.
        r#source: io::Error,
    },
    /// An existing key cannot be used.
    #[error(transparent)]
    Existing(#[from] Box<KeyError>),
    /// The signing key could not be made.
    #[error(transparent)]
    Signing(#[from] SigningFailed),
    /// A key could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}

impl Classified for IssueError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Files { source, .. } => Class::of_writing(source),
            Self::Signing(_) => Class::Failure,
            Self::Existing(_) | Self::Write(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::Existing(error) => match &**error {
                KeyError::Identity { path, .. } | KeyError::SigningKey { path, .. } => Some(format!(
                    "put the right key there, or move {} away so that a new one is made",
                    path.display()
                )),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The keys of the site `id` below `config` (the user's `psyops/` folder): existing ones, and new ones for those that
/// are missing. A key is never overwritten.
pub fn issue_keys(
    config: &Path,
    id: &Name,
    created: Timestamp,
    passphrases: &Passphrases,
) -> Result<GeneratedKeys, IssueError> {
    let folder = config.join(id.as_str());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|source| IssueError::Files { path: folder.clone(), source })?;
    Ok(GeneratedKeys {
        admin_recipient: admin_recipient(&folder.join(ADMIN_IDENTITY_FILE), created, passphrases)?,
        signing_public: signing_public(&folder.join(SIGNING_KEY_FILE), passphrases)?,
    })
}

fn admin_recipient(path: &Path, created: Timestamp, passphrases: &Passphrases) -> Result<String, IssueError> {
    if let Some(identity) = if_there(key_file::open_identity(path, passphrases))? {
        return Ok(identity.recipient().to_string());
    }
    let identity = identity_file::generate();
    atomic::write_file_with_mode(path, identity_file::text(&identity, created).as_bytes(), 0o600)?;
    Ok(identity.recipient().to_string())
}

fn signing_public(path: &Path, passphrases: &Passphrases) -> Result<String, IssueError> {
    if let Some(key) = if_there(key_file::open_signing_key(path, passphrases))? {
        return Ok(key.public().as_str().to_owned());
    }
    let key = SigningKey::generate()?;
    atomic::write_file_with_mode(path, key.text()?.as_bytes(), 0o600)?;
    Ok(key.public().as_str().to_owned())
}

fn if_there<K>(loaded: Result<K, KeyError>) -> Result<Option<K>, IssueError> {
    match loaded {
        Ok(key) => Ok(Some(key)),
        Err(KeyError::File(error)) if error.is_missing() => Ok(None),
        Err(error) => Err(Box::new(error).into()),
    }
}
