//! The two private keys of whoever runs a site: an admin's age identity and the signing key.
//!
//! They lie in `$XDG_CONFIG_HOME/psyops/SITE_ID/` or where an option points, never in the site; files that others could
//! read are refused, as ssh does.

use crate::atomic::{self, AtomicError};
use crate::error::{Class, Classified};
use crate::site::Site;
use handoff::name::Name;
use keys::identity::{BadIdentity, BadRecipient, NodeIdentity, Recipient};
use keys::issue::identity_file;
use keys::issue::signing::{BadSigningKey, SigningFailed, SigningKey};
use keys::signature::{BadPublicKey, PublicKey};
use keys::timestamp::Timestamp;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The admin's age identity, as age-keygen writes it.
pub const IDENTITY_FILE: &str = "admin.age.txt";
/// The signing key, as `minisign -G -W` writes it.
pub const SIGNING_FILE: &str = "signing.key";

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

/// The public halves, as they stand in `site.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicHalves {
    /// The admin's recipient.
    pub admin_recipient: String,
    /// The minisign public key (base64).
    pub signing_public: String,
}

/// Why the private keys are of no use.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Neither `XDG_CONFIG_HOME` nor `HOME` is set.
    #[error("the private keys' folder is unknown: neither XDG_CONFIG_HOME nor HOME is set")]
    NoHome,
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
    #[error("the identity in {path} has the public key {found}, which is no admin recipient of the site {site}")]
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
    /// New keys could not be made.
    #[error(transparent)]
    Make(#[from] SigningFailed),
    /// Their folder could not be made.
    #[error("cannot create the folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// They could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}

impl Classified for CredentialError {
    fn class(&self) -> Class {
        match self {
            Self::NoHome | Self::Read { .. } => Class::MissingInput,
            Self::TooOpen { .. } => Class::Refused,
            Self::Make(_) => Class::Failure,
            Self::Folder { source, .. } => Class::of_writing(source),
            Self::Write(error) => error.class(),
            _ => Class::BadContent,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::NoHome | Self::Read { .. } | Self::NotAnAdmin { .. } | Self::NotASigner { .. } => Some(
                "point to the right files with --identity FILE and --signing-key FILE, or copy them to \
                 $XDG_CONFIG_HOME/psyops/SITE_ID/"
                    .into(),
            ),
            Self::TooOpen { path, .. } => Some(format!("take it from others: chmod 600 {}", path.display())),
            Self::Write(error) => error.advice(),
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
    let path = place(site, at.identity.as_deref(), IDENTITY_FILE)?;
    let identity = NodeIdentity::parse(&read_private("admin's identity", &path)?)
        .map_err(|problem| CredentialError::Identity { path: path.clone(), problem })?;
    let found = identity.recipient();
    if admin_recipients(site)?.contains(&found) {
        Ok(identity)
    } else {
        Err(CredentialError::NotAnAdmin { site: site.id.clone(), path, found })
    }
}

fn load_signing_key(site: &Site, at: &Locations) -> Result<SigningKey, CredentialError> {
    let path = place(site, at.signing_key.as_deref(), SIGNING_FILE)?;
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
    given.map_or_else(|| Ok(folder(&site.id)?.join(name)), |path| Ok(path.to_owned()))
}

/// The admins of the site, to whom everything of it is encrypted.
pub fn admin_recipients(site: &Site) -> Result<Vec<Recipient>, CredentialError> {
    Ok(site.admin_recipients.iter().map(|text| text.parse()).collect::<Result<_, BadRecipient>>()?)
}

/// The keys whose seals the site's nodes accept.
pub fn trusted_keys(site: &Site) -> Result<Vec<PublicKey>, CredentialError> {
    Ok(site.signing_keys.iter().map(|text| text.parse()).collect::<Result<_, BadPublicKey>>()?)
}

/// The folder of a site's private keys.
pub fn folder(site: &Name) -> Result<PathBuf, CredentialError> {
    let set = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    Ok(config.ok_or(CredentialError::NoHome)?.join("psyops").join(site.as_str()))
}

/// Makes the private keys of a site in `folder`, with their time from the site; keys that are there already are kept.
pub fn make(folder: &Path, created: Timestamp) -> Result<PublicHalves, CredentialError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| CredentialError::Folder { path: folder.to_owned(), source })?;
    let path = folder.join(IDENTITY_FILE);
    if !path.exists() {
        let text = identity_file::text(&identity_file::generate(), created);
        atomic::write_file_with_mode(&path, text.as_bytes(), 0o600)?;
    }
    let identity = NodeIdentity::parse(&read_private("admin's identity", &path)?)
        .map_err(|problem| CredentialError::Identity { path, problem })?;
    let path = folder.join(SIGNING_FILE);
    if !path.exists() {
        let text = SigningKey::generate()?.text()?;
        atomic::write_file_with_mode(&path, text.as_bytes(), 0o600)?;
    }
    let key = SigningKey::parse(&read_private("signing key", &path)?)
        .map_err(|problem| CredentialError::SigningKey { path, problem })?;
    Ok(PublicHalves {
        admin_recipient: identity.recipient().to_string(),
        signing_public: key.public().as_str().to_owned(),
    })
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
    fn keys_are_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("a/b");
        let made = make(&folder, Timestamp::from_unix(0)).unwrap();
        for name in [IDENTITY_FILE, SIGNING_FILE] {
            assert_eq!(fs::metadata(folder.join(name)).unwrap().mode() & 0o7777, 0o600);
        }
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(make(&folder, Timestamp::from_unix(9)).unwrap(), made);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), Timestamp::from_unix(0)).unwrap();
        let path = folder.path().join(SIGNING_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = make(folder.path(), Timestamp::from_unix(0)).unwrap_err();
        assert!(matches!(error, CredentialError::TooOpen { mode: 0o640, .. }), "{error}");
        assert_eq!(error.class(), Class::Refused);
    }
}
