//! Why a key file of the user could not be used.

use crate::error::{Class, Classified};
use crate::folders::NoFolder;
use crate::secrets::passphrase::PassphraseError;
use crate::secrets::private_file::PrivateFileError;
use keys::identity::BadIdentity;
use keys::issue::locked::LockedError;
use keys::issue::signing::BadSigningKey;
use std::path::PathBuf;

/// Why a key file of the user could not be used.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum KeyError {
    /// The user has no folder for private keys.
    #[error(transparent)]
    NoFolder(#[from] NoFolder),
    /// A key file is missing, or other users can read it.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The file is not an age identity.
    #[error("{path}: {problem}")]
    Identity {
        /// The path of the file.
        path: PathBuf,
        /// What is not valid in it.
        problem: BadIdentity,
    },
    /// The file is not a signing key.
    #[error("{path}: {problem}")]
    SigningKey {
        /// The path of the file.
        path: PathBuf,
        /// What is not valid in it.
        problem: BadSigningKey,
    },
    /// The file is locked with a passphrase, but is not valid even with the right one.
    #[error("{path}: {problem}")]
    Locked {
        /// The path of the file.
        path: PathBuf,
        /// What is not valid in it.
        problem: LockedError,
    },
    /// The passphrase is wrong or could not be asked for.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

impl Classified for KeyError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NoFolder(_) => Class::MissingInput,
            Self::File(_) | Self::Passphrase(_) => return None,
            Self::Identity { .. } | Self::SigningKey { .. } | Self::Locked { .. } => Class::BadContent,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::File(error) if error.class() == Class::MissingInput => {
                Some("copy the file there, or name it with --identity FILE or --signing-key FILE".into())
            }
            _ => None,
        }
    }
}
