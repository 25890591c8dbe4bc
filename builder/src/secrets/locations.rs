//! Where the two private keys of a person who runs a site are.

use crate::folders::Folder;
use crate::secrets::key_error::KeyError;
use crate::secrets::passphrase::Passphrases;
use crate::site::Site;
use std::path::{Path, PathBuf};

/// Where the private keys are, if not in the usual place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locations {
    /// The path of the admin's age identity.
    pub identity: Option<PathBuf>,
    /// The path of the signing key.
    pub signing_key: Option<PathBuf>,
    /// The passphrases for keys that are locked.
    pub passphrases: Passphrases,
}

/// The path of a key: the one that an option names, or the usual one.
pub(super) fn place(site: &Site, given: Option<&Path>, name: &str) -> Result<PathBuf, KeyError> {
    match given {
        Some(path) => Ok(path.to_owned()),
        None => Ok(Folder::Config.of_psyops()?.join(site.id.as_str()).join(name)),
    }
}
