//! A private folder for plain text that a host tool must read from a path: in memory where the host has such a place,
//! readable by its owner alone, and gone with the value that stands for it.

use crate::error::{Class, Classified};
use std::env;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The folder could not be made or filled.
#[derive(Debug, thiserror::Error)]
#[error("cannot stage secrets in {path}: {source}")]
pub struct StagingError {
    /// The folder or file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl Classified for StagingError {
    fn class(&self) -> Class {
        Class::of_writing(&self.source)
    }
}

/// A private folder.
#[derive(Debug)]
pub struct Staging {
    folder: TempDir,
}

impl Staging {
    /// Makes one: under `XDG_RUNTIME_DIR`, else `/dev/shm`, else where temporary files go.
    pub fn new() -> Result<Self, StagingError> {
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let places = runtime.into_iter().chain([PathBuf::from("/dev/shm"), env::temp_dir()]);
        let mut failure =
            StagingError { path: env::temp_dir(), source: io::Error::from(io::ErrorKind::NotFound) };
        for place in places.filter(|place| place.is_absolute()) {
            let made = tempfile::Builder::new()
                .prefix("psyops-")
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(&place);
            match made {
                Ok(folder) => return Ok(Self { folder }),
                Err(source) => failure = StagingError { path: place, source },
            }
        }
        Err(failure)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<(), StagingError> {
        let path = self.folder.path().join(path);
        let failed = |source| StagingError { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        fs::write(&path, content).map_err(failed)
    }
}
