//! The private keys of a site, made where they are kept: `$XDG_CONFIG_HOME/psyops/SITE/`, never in the site.

use super::init::GeneratedKeys;
use crate::atomic::{self, AtomicError};
use crate::error::{Class, Classified};
use handoff::name::Name;
use keys::identity::{BadIdentity, NodeIdentity};
use keys::issue::identity_file;
use keys::issue::signing::{BadSigningKey, SigningFailed, SigningKey};
use keys::timestamp::Timestamp;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The admin's age identity file, as `age-keygen` writes it.
pub const ADMIN_IDENTITY_FILE: &str = "admin.age.txt";
/// The signing key, as `minisign -G -W` writes it.
pub const SIGNING_KEY_FILE: &str = "signing.key";

/// Why a site's keys were not made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A key file or its folder cannot be read or made.
    #[error("{path}: {source}")]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The age identity that is there already cannot be used.
    #[error("{path}: {source}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BadIdentity,
    },
    /// The signing key that is there already cannot be used.
    #[error("{path}: {source}")]
    SigningKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BadSigningKey,
    },
    /// No signing key could be made.
    #[error(transparent)]
    Signing(#[from] SigningFailed),
    /// A key could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}

impl Classified for IssueError {
    fn class(&self) -> Class {
        match self {
            Self::Files { source, .. } => Class::of_writing(source),
            Self::Identity { .. } | Self::SigningKey { .. } => Class::BadContent,
            Self::Signing(_) => Class::Failure,
            Self::Write(error) => error.class(),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Identity { path, .. } | Self::SigningKey { path, .. } => Some(format!(
                "put the right key there, or move {} away to have a new one made",
                path.display()
            )),
            Self::Write(error) => error.advice(),
            Self::Files { .. } | Self::Signing(_) => None,
        }
    }
}

/// The keys of the site `id` below `config` (the user's `psyops/` folder): those that are there, and new ones for those
/// that are not. A key is never overwritten.
pub fn issue_keys(config: &Path, id: &Name, created: Timestamp) -> Result<GeneratedKeys, IssueError> {
    let folder = config.join(id.as_str());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|source| IssueError::Files { path: folder.clone(), source })?;
    Ok(GeneratedKeys {
        admin_recipient: admin_recipient(&folder.join(ADMIN_IDENTITY_FILE), created)?,
        signing_public: signing_public(&folder.join(SIGNING_KEY_FILE))?,
    })
}

fn admin_recipient(path: &Path, created: Timestamp) -> Result<String, IssueError> {
    if let Some(bytes) = read_if_there(path)? {
        let identity = NodeIdentity::parse(&bytes)
            .map_err(|source| IssueError::Identity { path: path.to_owned(), source })?;
        return Ok(identity.recipient().to_string());
    }
    let identity = identity_file::generate();
    atomic::write_file_with_mode(path, identity_file::text(&identity, created).as_bytes(), 0o600)?;
    Ok(identity.recipient().to_string())
}

fn signing_public(path: &Path) -> Result<String, IssueError> {
    if let Some(bytes) = read_if_there(path)? {
        let key = SigningKey::parse(&bytes)
            .map_err(|source| IssueError::SigningKey { path: path.to_owned(), source })?;
        return Ok(key.public().as_str().to_owned());
    }
    let key = SigningKey::generate()?;
    atomic::write_file_with_mode(path, key.text()?.as_bytes(), 0o600)?;
    Ok(key.public().as_str().to_owned())
}

fn read_if_there(path: &Path) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, IssueError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IssueError::Files { path: path.to_owned(), source }),
    }
}
