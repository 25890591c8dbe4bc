//! The folders for a user's files, by the XDG Base Directory Specification.

use crate::error::{Class, Classified};
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// One of the base folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// For files that can be made again.
    Cache,
    /// For settings, including private keys.
    Config,
    /// For files that belong to the user.
    Data,
}

/// The user has no such folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, classified::Cause)]
#[error("cannot find your home folder: neither {variable} nor HOME is an absolute path")]
pub struct NoFolder {
    variable: &'static str,
}

impl Classified for NoFolder {
    fn own_class(&self) -> Option<Class> {
        Some(Class::CannotCreate)
    }

    fn own_advice(&self) -> Option<String> {
        Some(format!("set {} to a folder of yours", self.variable))
    }
}

impl Folder {
    /// `psyops/` in this folder, according to the environment. It need not exist.
    pub fn of_psyops(self) -> Result<PathBuf, NoFolder> {
        self.chosen(env::var_os(self.variable()), env::var_os("HOME"))
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Cache => "XDG_CACHE_HOME",
            Self::Config => "XDG_CONFIG_HOME",
            Self::Data => "XDG_DATA_HOME",
        }
    }

    /// As the specification requires, a relative path in a variable is ignored.
    fn chosen(self, xdg: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, NoFolder> {
        let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
        let in_home = match self {
            Self::Cache => ".cache",
            Self::Config => ".config",
            Self::Data => ".local/share",
        };
        absolute(xdg)
            .or_else(|| absolute(home).map(|home| home.join(in_home)))
            .map(|folder| folder.join("psyops"))
            .ok_or(NoFolder { variable: self.variable() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_variable_wins_if_it_is_absolute() {
        let folder = |xdg: Option<&str>, home: Option<&str>| {
            Folder::Data.chosen(xdg.map(Into::into), home.map(Into::into))
        };
        assert_eq!(folder(Some("/c"), Some("/h")).unwrap(), Path::new("/c/psyops"));
        assert_eq!(folder(Some("c"), Some("/h")).unwrap(), Path::new("/h/.local/share/psyops"));
        assert_eq!(folder(None, None), Err(NoFolder { variable: "XDG_DATA_HOME" }));
    }
}
