//! The site that is used where none is given: the template of `psyops init`, written out once for each user.
//!
//! Its keys are made then and there, so that no private key is ever in this repository. It differs from any other site
//! in two things: its id is `demo`, and its consoles give a root shell to everybody.

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

/// Id of the default site, and name of its node.
pub const DEFAULT_NAME: &str = "demo";
/// 2026-01-01T00:00:00Z: fixed, so that the default site is the same for everybody but for its keys.
const BUILD_TIME: u64 = 1_767_225_600;

/// Why there is no default site.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum DefaultSiteError {
    /// The user has no folders.
    #[error(transparent)]
    Folder(#[from] NoFolder),
    /// Its name is none.
    #[error("the default site's name: {0}")]
    Name(BadName),
    /// It cannot be read.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// Its keys could not be made.
    #[error(transparent)]
    Keys(#[from] IssueError),
    /// Its keys could not be accepted.
    #[error(transparent)]
    Trust(#[from] Box<CredentialError>),
    /// It could not be written.
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

/// The site in a folder; the default site where none is named.
pub fn site_or_default(dir: Option<&Path>) -> Result<Site, DefaultSiteError> {
    match dir {
        Some(dir) => Ok(Site::load(dir)?),
        None => default_site(),
    }
}

/// The default site of the user, which is made at the first call.
pub fn default_site() -> Result<Site, DefaultSiteError> {
    default_site_in(&Folder::Data.of_psyops()?, &Folder::Config.of_psyops()?)
}

/// Whether the user has the default site, which is in this folder.
#[must_use]
pub fn has_default_site_in(data: &Path) -> bool {
    data.join("default-site").join(SITE_FILE).exists()
}

/// The default site in these folders.
pub fn default_site_in(data: &Path, config: &Path) -> Result<Site, DefaultSiteError> {
    let dir = data.join("default-site");
    if dir.join(SITE_FILE).exists() {
        return Ok(Site::load(&dir)?);
    }
    let folder = |source| InitError::Folder { path: data.to_owned(), source };
    fs::create_dir_all(data).map_err(folder)?;
    // Of two first calls at once, the second one waits and then finds the site.
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).open(data.join("default-site.lock"));
    let lock = lock.and_then(|file| file.lock().map(|()| file)).map_err(folder)?;
    if !dir.join(SITE_FILE).exists() {
        // Made elsewhere and moved in one step, so that there is never a half of it.
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
