//! The site of `psyops demo`: the template of `psyops init`, written once for each user.
//!
//! Its keys are made at that time, so no private key is ever in this repository. It differs from any other site in two
//! things: its id is `demo`, and its consoles give every user a root shell.

use crate::error::{Class, Classified};
use crate::folders::{Folder, NoFolder};
use crate::scratch::Scratch;
use crate::secrets::credentials::{CredentialError, accept_new_site};
use crate::secrets::issue::{IssueError, issue_keys};
use crate::secrets::passphrase::Passphrases;
use crate::site::{DEFAULT_NAME, InitError, InitOptions, default_site_dir, has_default_site_in, init_site};
use handoff::name::{BadName, Name};
use keys::timestamp::Timestamp;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

/// 2026-01-01T00:00:00Z: fixed, so that the default site is the same for all users except for its keys.
const BUILD_TIME: u64 = 1_767_225_600;

/// Why the default site could not be made.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum DefaultSiteError {
    /// The user has no folders for data or configuration.
    #[error(transparent)]
    Folder(#[from] NoFolder),
    /// The name of the default site is not valid.
    #[error("the default site's name: {0}")]
    Name(BadName),
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
            Self::Folder(_) | Self::Keys(_) | Self::Trust(_) | Self::Init(_) => return None,
        })
    }
}

/// The folder of the default site, which is made if it is not there.
pub fn default_site() -> Result<PathBuf, DefaultSiteError> {
    make_default_site(&Folder::Data.of_psyops()?, &Folder::Config.of_psyops()?)
}

/// The same in these folders of the user.
fn make_default_site(data: &Path, config: &Path) -> Result<PathBuf, DefaultSiteError> {
    let dir = default_site_dir(data);
    if has_default_site_in(data) {
        return Ok(dir);
    }
    let folder = |source| InitError::Folder { path: data.to_owned(), source };
    fs::create_dir_all(data).map_err(folder)?;
    // If two processes make it at the same time, the second one waits and then finds the site.
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).open(data.join("default-site.lock"));
    let _lock = lock.and_then(|file| file.lock().map(|()| file)).map_err(folder)?;
    if !has_default_site_in(data) {
        // Made elsewhere and moved in one step, so that the site is never incomplete.
        let scratch = Scratch::within(data, ".new-site-").map_err(folder)?;
        let made = scratch.path().join("site");
        let name: Name = DEFAULT_NAME.parse()?;
        let passphrases = Passphrases::default();
        let keys = issue_keys(config, &name, Timestamp::from_unix(BUILD_TIME), &passphrases)?;
        let options = InitOptions { build_time: BUILD_TIME, open_consoles: true, ..InitOptions::default() };
        let site = init_site(&made, &name, &name, &keys, &options)?;
        accept_new_site(site, config, &passphrases).map_err(Box::new)?;
        fs::rename(&made, &dir).map_err(folder)?;
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::key_file::{ADMIN_IDENTITY_FILE, SIGNING_KEY_FILE};
    use crate::site::Site;
    use handoff::login::ConsoleLogin;

    #[test]
    fn the_default_site_is_made_once_with_private_keys_outside() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (data, config) = (folder.path().join("data"), folder.path().join("config"));
        let default_site = || make_default_site(&data, &config).map(|dir| Site::load(&dir).unwrap());
        let first = default_site().unwrap();
        assert_eq!((first.id.as_str(), &first.console.login), ("demo", &ConsoleLogin::Shell));
        first.node("demo").unwrap();
        assert_eq!(default_site().unwrap(), first);
        for file in [ADMIN_IDENTITY_FILE, SIGNING_KEY_FILE] {
            let path = config.join("demo").join(file);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        // When it is made again, it has the same keys: they are never overwritten.
        fs::remove_dir_all(data.join("default-site")).unwrap();
        assert_eq!(default_site().unwrap(), first);
        let broken = config.join("demo").join(ADMIN_IDENTITY_FILE);
        fs::write(&broken, "nonsense").unwrap();
        fs::remove_dir_all(data.join("default-site")).unwrap();
        let error = default_site().unwrap_err();
        assert!(matches!(error, DefaultSiteError::Keys(IssueError::Existing(_))), "{error}");
    }
}
