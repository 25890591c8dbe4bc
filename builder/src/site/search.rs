//! Which site a command works on: the one that the user names, the one in `PSYOPS_SITE`, or the one around the current
//! folder.
//!
//! A folder above the current one can belong to another user: on a shared machine, all users can put a `site.toml` into
//! `/tmp`. A site that is found this way must therefore belong to the user who runs the command; every other site has to
//! be named.

use super::SITE_FILE;
use crate::error::{Class, Classified};
use crate::next_command::argument;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The environment variable that names a site for all commands of a shell.
pub const SITE_VARIABLE: &str = "PSYOPS_SITE";

/// How a site was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// With `--site`.
    Option,
    /// In the environment.
    Variable,
    /// By its `site.toml`, in the current folder or above it.
    CurrentFolder,
}

/// The folder of a site, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSite {
    /// The folder; absolute if it was found by the current folder.
    pub dir: PathBuf,
    /// How it was found.
    pub by: FoundBy,
}

/// Why no site was found.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum SiteSearchError {
    /// Neither the current folder nor one above it is a site.
    #[error("there is no site here: neither {here} nor a folder above it has a {SITE_FILE}")]
    NoSite {
        /// The path of the current folder.
        here: PathBuf,
    },
    /// The site that was found belongs to another user.
    #[error("the site in {dir} belongs to another user (uid {owner})")]
    OtherUser {
        /// The path of the site's folder.
        dir: PathBuf,
        /// The user to whom the folder or its `site.toml` belongs.
        owner: u32,
    },
    /// The current folder has no path.
    #[error("cannot find the current folder: {0}")]
    CurrentFolder(io::Error),
    /// A folder above the current one could not be looked into.
    #[error("cannot look for a {SITE_FILE} in {dir}: {source}")]
    Look {
        /// The path of the folder.
        dir: PathBuf,
        /// The error from looking.
        r#source: io::Error,
    },
}

impl Classified for SiteSearchError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NoSite { .. } | Self::CurrentFolder(_) => Class::MissingInput,
            Self::OtherUser { .. } => Class::Refused,
            Self::Look { source, .. } => Class::of_reading(source),
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::NoSite { .. } => Some(format!(
                "name a site with --site DIR or the variable {SITE_VARIABLE}, or make one: psyops init DIR"
            )),
            Self::OtherUser { dir, .. } => {
                Some(format!("if it is the one that you want, name it: --site {}", argument(dir)))
            }
            Self::CurrentFolder(_) | Self::Look { .. } => Some("name a site with --site DIR".into()),
        }
    }
}

/// The site that a command works on; `named` is the value of `--site`.
pub fn find_site(named: Option<&Path>) -> Result<FoundSite, SiteSearchError> {
    if let Some(dir) = named {
        return Ok(FoundSite { dir: dir.to_owned(), by: FoundBy::Option });
    }
    if let Some(dir) = in_variable(env::var_os(SITE_VARIABLE)) {
        return Ok(FoundSite { dir, by: FoundBy::Variable });
    }
    let here = env::current_dir().map_err(SiteSearchError::CurrentFolder)?;
    let dir = around(&here, &users())?;
    Ok(FoundSite { dir, by: FoundBy::CurrentFolder })
}

/// An empty variable counts as none, as in a shell.
fn in_variable(value: Option<OsString>) -> Option<PathBuf> {
    value.filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The users whose sites are found without being named: the one who runs the command, and the one who runs it through
/// sudo. (sudo sets `SUDO_UID`; a user who is not root gains nothing by setting it, because it only counts for root.)
fn users() -> Vec<u32> {
    let own = nix::unistd::geteuid();
    let through_sudo = env::var("SUDO_UID").ok().filter(|_| own.is_root()).and_then(|uid| uid.parse().ok());
    [Some(own.as_raw()), through_sudo].into_iter().flatten().collect()
}

/// The nearest folder with a `site.toml`: `here`, or a folder above it.
fn around(here: &Path, users: &[u32]) -> Result<PathBuf, SiteSearchError> {
    for dir in here.ancestors() {
        let facts = match fs::symlink_metadata(dir.join(SITE_FILE)) {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(SiteSearchError::Look { dir: dir.to_owned(), source }),
        };
        let folder =
            fs::metadata(dir).map_err(|source| SiteSearchError::Look { dir: dir.to_owned(), source })?;
        let owners = [folder.uid(), facts.uid()];
        return match owners.into_iter().find(|owner| !users.contains(owner)) {
            Some(owner) => Err(SiteSearchError::OtherUser { dir: dir.to_owned(), owner }),
            None => Ok(dir.to_owned()),
        };
    }
    Err(SiteSearchError::NoSite { here: here.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<u32> {
        vec![nix::unistd::geteuid().as_raw()]
    }

    #[test]
    fn the_nearest_site_is_found_from_any_folder_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("fleet/nodes/deep")).unwrap();
        fs::create_dir_all(top.join("fleet/inner/nodes")).unwrap();
        for site in ["fleet", "fleet/inner"] {
            fs::write(top.join(site).join(SITE_FILE), "").unwrap();
        }
        for (here, site) in
            [("fleet", "fleet"), ("fleet/nodes/deep", "fleet"), ("fleet/inner/nodes", "fleet/inner")]
        {
            assert_eq!(around(&top.join(here), &own()).unwrap(), top.join(site), "{here}");
        }
        let error = around(&top, &own()).unwrap_err();
        assert_eq!(
            (error.to_string(), error.own_class()),
            (
                format!(
                    "there is no site here: neither {} nor a folder above it has a site.toml",
                    top.display()
                ),
                Some(Class::MissingInput)
            )
        );
    }

    #[test]
    fn a_site_of_another_user_has_to_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        fs::create_dir(top.join("nodes")).unwrap();
        fs::write(top.join(SITE_FILE), "").unwrap();
        let [own] = own()[..] else { panic!("one user") };
        let error = around(&top.join("nodes"), &[own + 1]).unwrap_err();
        assert_eq!(
            (error.to_string(), error.own_class(), error.own_advice()),
            (
                format!("the site in {} belongs to another user (uid {own})", top.display()),
                Some(Class::Refused),
                Some(format!("if it is the one that you want, name it: --site {}", top.display()))
            )
        );
        assert_eq!(around(&top, &[own + 1, own]).unwrap(), top);
    }

    #[test]
    fn an_empty_variable_names_no_site() {
        assert_eq!(in_variable(None), None);
        assert_eq!(in_variable(Some("".into())), None);
        assert_eq!(in_variable(Some("fleet".into())), Some("fleet".into()));
    }

    #[test]
    fn a_site_that_is_named_is_not_looked_for() {
        let named = Path::new("/no/such/folder");
        assert_eq!(find_site(Some(named)).unwrap(), FoundSite { dir: named.to_owned(), by: FoundBy::Option });
    }
}
