//! Where the system's files are: `/`, or another folder in tests.

use std::path::{Path, PathBuf};

/// The folder under which absolute paths are looked up.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// Uses `folder` in place of `/`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The path under this root of an absolute path.
    #[must_use]
    pub fn at(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        self.0.join(absolute.strip_prefix("/").unwrap_or(absolute))
    }

    /// Whether this is the running system, and not another folder.
    #[must_use]
    pub fn is_running_system(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// The absolute path of a path under this root.
    #[must_use]
    pub fn absolute(&self, place: &Path) -> PathBuf {
        Path::new("/").join(place.strip_prefix(&self.0).unwrap_or(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_converted_in_both_directions() {
        let root = Root::new("/tmp/x");
        assert_eq!(root.at("/etc/hostname"), Path::new("/tmp/x/etc/hostname"));
        assert_eq!(root.absolute(&root.at("/etc/hostname")), Path::new("/etc/hostname"));
        assert_eq!(Root::new("/").at("/etc"), Path::new("/etc"));
    }
}
