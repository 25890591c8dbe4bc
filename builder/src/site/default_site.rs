//! The site that is used if the user names none: the template of `psyops init`, written once for each user.
//!
//! Its keys are made at that time, so no private key is ever in this repository. It differs from any other site in two
//! things: its id is `demo`, and its consoles give every user a root shell.

use super::init::{InitError, InitOptions, init_site};
use super::issue::{IssueError, issue_keys};
use super::{SITE_FILE, Site, SiteError};
use crate::error::{Class, Classified};
use crate::folders::{Folder, NoFolder};
use crate::scratch::Scratch;
use crate::secrets::credentials::CredentialError;
use crate::secrets::passphrase::Passphrases;
use crate::secrets::trust::accept_new_site;
use handoff::name::{BadName, Name};
use keys::timestamp::Timestamp;
use std::fs::{self, OpenOptions};
use std::path::Path;

/// The id of the default site, and the name of its node.
pub const DEFAULT_NAME: &str = "demo";
/// 2026-01-01T00:00:00Z: fixed, so that the default site is the same for all users except for its keys.
const BUILD_TIME: u64 = 1_767_225_600;

/// Why the default site could not be made or read.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum DefaultSiteError {
    /// The user has no folders for data or configuration.
    #[error(transparent)]
    Folder(#[from] NoFolder),
    /// The name of the default site is not valid.
    #[error("the default site's name: {0}")]
    Name(BadName),
    /// The site could not be read.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The keys could not be made.
    #[error(transparent)]
    Keys(#[from] IssueError),
    /// The keys could not be accepted.
    #[error(transparent)]
    Trust(#[from] Box<CredentialError>),
    /// The site could not be written.
    #[error(transparent)]
    Init(#[from] InitError),
}

impl From<BadName> for DefaultSiteError {
    fn from(error: BadName) -> Self {
        Self::Name(error)
    }
}

impl Classified for DefaultSiteError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Name(_) => Class::Failure,
            Self::Folder(_) | Self::Site(_) | Self::Keys(_) | Self::Trust(_) | Self::Init(_) => return None,
        })
    }
}

/// The site in a folder, or the default site.
pub fn site_or_default(dir: Option<&Path>) -> Result<Site, DefaultSiteError> {
    match dir {
        Some(dir) => Ok(Site::load(dir)?),
        None => default_site(),
    }
}

/// The user's default site, which is made at the first call.
pub fn default_site() -> Result<Site, DefaultSiteError> {
    default_site_in(&Folder::Data.of_psyops()?, &Folder::Config.of_psyops()?)
}

/// Whether the user has the default site, which is in this folder.
#[must_use]
pub fn has_default_site_in(data: &Path) -> bool {
    data.join("default-site").join(SITE_FILE).exists()
}

/// The default site in these folders, made if necessary.
pub fn default_site_in(data: &Path, config: &Path) -> Result<Site, DefaultSiteError> {
    let dir = data.join("default-site");
    if dir.join(SITE_FILE).exists() {
        return Ok(Site::load(&dir)?);
    }
    let folder = |source| InitError::Folder { path: data.to_owned(), source };
    fs::create_dir_all(data).map_err(folder)?;
    // If two processes make it at the same time, the second one waits and then finds the site.
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).open(data.join("default-site.lock"));
    let lock = lock.and_then(|file| file.lock().map(|()| file)).map_err(folder)?;
    if !dir.join(SITE_FILE).exists() {
        // Made elsewhere and moved in one step, so that the site is never incomplete.
        let scratch = Scratch::within(data, ".new-site-").map_err(folder)?;
        let made = scratch.path().join("site");
        let name: Name = DEFAULT_NAME.parse()?;
        let passphrases = Passphrases::default();
        let keys = issue_keys(config, &name, Timestamp::from_unix(BUILD_TIME), &passphrases)?;
        let options = InitOptions { build_time: BUILD_TIME, open_consoles: true };
        let site = init_site(&made, &name, &name, &keys, &options)?;
        accept_new_site(site, config, &passphrases).map_err(Box::new)?;
        fs::rename(&made, &dir).map_err(folder)?;
    }
    drop(lock);
    Ok(Site::load(&dir)?)
}
