//! The two private keys of whoever runs a site: an admin's age identity and the signing key.
//!
//! They lie in `$XDG_CONFIG_HOME/psyops/SITE_ID/` or where an option points, never in the site; files that others could
//! read are refused, as ssh does.

use crate::error::{Class, Classified};
use crate::folders::{Folder, NoFolder};
use crate::site::{ADMIN_IDENTITY_FILE, SIGNING_KEY_FILE, Site};
use handoff::name::Name;
use keys::identity::{BadIdentity, BadRecipient, NodeIdentity, Recipient};
use keys::issue::signing::{BadSigningKey, SigningKey};
use keys::signature::{BadPublicKey, PublicKey};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where the private keys lie, where that is not the usual place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locations {
    /// The admin's age identity.
    pub identity: Option<PathBuf>,
    /// The signing key.
    pub signing_key: Option<PathBuf>,
}

/// The private keys of a site.
#[derive(Debug)]
pub struct Credentials {
    /// Opens everything of the site.
    pub identity: NodeIdentity,
    /// Signs for the site.
    pub signing: SigningKey,
}

/// Why the private keys are of no use.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The user has no folder for them.
    #[error(transparent)]
    NoFolder(#[from] NoFolder),
    /// The file is not there, or cannot be read.
    #[error("cannot read the {what} {path}: {source}")]
    Read {
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner could read it.
    #[error("the {what} {path} has mode {mode:04o}: others can read it")]
    TooOpen {
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// No age identity.
    #[error("{path}: {problem}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: BadIdentity,
    },
    /// No signing key.
    #[error("{path}: {problem}")]
    SigningKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: BadSigningKey,
    },
    /// An intact identity of somebody whom the site does not name.
    #[error(
        "the identity in {path} has the public key {found}, which is no admin recipient of the site {site}"
    )]
    NotAnAdmin {
        /// The site.
        site: Name,
        /// The file.
        path: PathBuf,
        /// Its public key.
        found: Recipient,
    },
    /// An intact signing key whose signatures the site's nodes do not accept.
    #[error("the signing key in {path} is {found}, which is no signing key of the site {site}")]
    NotASigner {
        /// The site.
        site: Name,
        /// The file.
        path: PathBuf,
        /// Its public key.
        found: String,
    },
    /// A recipient in `site.toml` is none.
    #[error("site.toml, admin recipients: {0}")]
    SiteRecipient(#[from] BadRecipient),
    /// A signing key in `site.toml` is none.
    #[error("site.toml, signing keys: {0}")]
    SiteSigningKey(#[from] BadPublicKey),
}

impl Classified for CredentialError {
    fn class(&self) -> Class {
        match self {
            Self::NoFolder(_) | Self::Read { .. } => Class::MissingInput,
            Self::TooOpen { .. } => Class::Refused,
            _ => Class::BadContent,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::NoFolder(_) | Self::Read { .. } | Self::NotAnAdmin { .. } | Self::NotASigner { .. } => {
                Some(
                    "point to the right files with --identity FILE and --signing-key FILE, or copy them to \
                 $XDG_CONFIG_HOME/psyops/SITE_ID/"
                        .into(),
                )
            }
            Self::TooOpen { path, .. } => Some(format!("take it from others: chmod 600 {}", path.display())),
            _ => None,
        }
    }
}

impl Credentials {
    /// Reads both keys, and checks that they are the site's.
    pub fn load(site: &Site, at: &Locations) -> Result<Self, CredentialError> {
        Ok(Self { identity: load_identity(site, at)?, signing: load_signing_key(site, at)? })
    }
}

/// Reads the admin's identity, and checks that it is one of the site's.
pub fn load_identity(site: &Site, at: &Locations) -> Result<NodeIdentity, CredentialError> {
    let path = place(site, at.identity.as_deref(), ADMIN_IDENTITY_FILE)?;
    let identity = NodeIdentity::parse(&read_private("admin's identity", &path)?)
        .map_err(|problem| CredentialError::Identity { path: path.clone(), problem })?;
    let found = identity.recipient();
    if admin_recipients(site)?.contains(&found) {
        Ok(identity)
    } else {
        Err(CredentialError::NotAnAdmin { site: site.id.clone(), path, found })
    }
}

/// Reads the signing key, and checks that it is one of the site's.
pub fn load_signing_key(site: &Site, at: &Locations) -> Result<SigningKey, CredentialError> {
    let path = place(site, at.signing_key.as_deref(), SIGNING_KEY_FILE)?;
    let key = SigningKey::parse(&read_private("signing key", &path)?)
        .map_err(|problem| CredentialError::SigningKey { path: path.clone(), problem })?;
    if trusted_keys(site)?.contains(key.public()) {
        Ok(key)
    } else {
        let found = key.public().as_str().to_owned();
        Err(CredentialError::NotASigner { site: site.id.clone(), path, found })
    }
}

fn place(site: &Site, given: Option<&Path>, name: &str) -> Result<PathBuf, CredentialError> {
    match given {
        Some(path) => Ok(path.to_owned()),
        None => Ok(Folder::Config.of_psyops()?.join(site.id.as_str()).join(name)),
    }
}

/// The admins of the site, to whom everything of it is encrypted.
pub fn admin_recipients(site: &Site) -> Result<Vec<Recipient>, CredentialError> {
    Ok(site.admin_recipients.iter().map(|text| text.parse()).collect::<Result<_, BadRecipient>>()?)
}

/// The keys whose seals the site's nodes accept.
pub fn trusted_keys(site: &Site) -> Result<Vec<PublicKey>, CredentialError> {
    Ok(site.signing_keys.iter().map(|text| text.parse()).collect::<Result<_, BadPublicKey>>()?)
}

/// Reads a file that only its owner may read.
pub fn read_private(what: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let read = |source| CredentialError::Read { what, path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(read)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(CredentialError::TooOpen { what, path: path.to_owned(), mode });
    }
    fs::read(path).map(Zeroizing::new).map_err(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "secret").unwrap();
        for (mode, refused) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match read_private("key", &path) {
                Ok(content) => assert!(!refused && **content == *b"secret"),
                Err(error) => {
                    assert!(
                        refused
                            && matches!(error, CredentialError::TooOpen { mode: found, .. } if found == mode)
                    );
                    assert_eq!(error.class(), Class::Refused);
                }
            }
        }
    }

    #[test]
    fn a_missing_key_says_where_it_was_looked_for() {
        let error = read_private("signing key", Path::new("/nowhere/key")).unwrap_err();
        assert_eq!(error.class(), Class::MissingInput);
        assert!(error.to_string().contains("/nowhere/key"), "{error}");
    }
}
