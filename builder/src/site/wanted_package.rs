//! A package that a site file requests, as a value that errors can name. `package` reads it.

use super::location::Location;
use std::fmt;

/// A package that a site file requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPackage {
    /// The name of the package.
    pub name: String,
    /// The pinned version; `None` for the newest one of the archive.
    pub version: Option<String>,
    /// The position of the request.
    pub at: Location,
}

impl fmt::Display for WantedPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&word(&self.name, self.version.as_deref()))
    }
}

/// A package as it is typed.
pub(super) fn word(name: &str, version: Option<&str>) -> String {
    version.map_or_else(|| name.to_owned(), |version| format!("{name}={version}"))
}
