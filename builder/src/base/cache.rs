//! The cache: everything that can be made again, under `$XDG_CACHE_HOME/psyops/` (`~/.cache/psyops/`).
//!
//! ```text
//! debs/SHA256.deb        packages, by their content
//! apt/KEY/               apt's own state, one folder for each set of archives
//! derived/KIND-KEY.EXT   what was made of inputs; KEY is the digest of all of them, so nothing here is ever stale
//! tmp/                   what is being made; moved to its place by one rename
//! lock                   one builder at a time prepares a base
//! ```

use super::BaseError;
use crate::folders::Folder;
use handoff::hash::Sha256Digest;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

/// While it lives, no other process prepares a base in this cache.
#[derive(Debug)]
pub struct CacheLock {
    _file: File,
}

impl Cache {
    /// The cache of the user.
    pub fn from_environment() -> Result<Self, BaseError> {
        Self::at(&Folder::Cache.of_psyops()?)
    }

    /// The cache in `dir`, which is made where it does not exist.
    pub fn at(dir: &Path) -> Result<Self, BaseError> {
        for folder in ["debs", "apt", "derived", "tmp"] {
            let path = dir.join(folder);
            fs::create_dir_all(&path).map_err(|source| BaseError::Cache { path, source })?;
        }
        let dir =
            fs::canonicalize(dir).map_err(|source| BaseError::Cache { path: dir.to_owned(), source })?;
        Ok(Self { dir })
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the package with that digest lies, if it is there.
    #[must_use]
    pub fn deb(&self, digest: &Sha256Digest) -> PathBuf {
        self.dir.join("debs").join(format!("{digest}.deb"))
    }

    /// Where something derived lies, if it was made: `kind` says what it is, `key` is the digest of all its inputs.
    #[must_use]
    pub fn derived(&self, kind: &str, key: &Sha256Digest, extension: &str) -> PathBuf {
        let dot = if extension.is_empty() { "" } else { "." };
        self.dir.join("derived").join(format!("{kind}-{key}{dot}{extension}"))
    }

    /// apt's folder for one set of archives.
    pub(super) fn apt(&self, key: &Sha256Digest) -> PathBuf {
        self.dir.join("apt").join(key.to_string())
    }

    /// A folder for something that is being made, on the same file system as its later place.
    pub fn scratch(&self) -> Result<TempDir, BaseError> {
        let path = self.dir.join("tmp");
        tempfile::tempdir_in(&path).map_err(|source| BaseError::Cache { path, source })
    }

    /// Moves a finished folder of [`Self::scratch`] to `place`. Where another one was quicker, its result stays.
    pub fn publish(finished: &Path, place: &Path) -> Result<(), BaseError> {
        match fs::rename(finished, place) {
            Err(source) if !place.exists() => Err(BaseError::Cache { path: place.to_owned(), source }),
            _ => Ok(()),
        }
    }

    /// Waits until no other process prepares a base here.
    pub fn lock(&self) -> Result<CacheLock, BaseError> {
        let path = self.dir.join("lock");
        let open = || -> io::Result<File> {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        open().map(|file| CacheLock { _file: file }).map_err(|source| BaseError::Cache { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quicker_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let place = cache.derived("kernel", &Sha256Digest::of(b"x"), "");
        for _ in 0..2 {
            let scratch = cache.scratch().unwrap();
            let made = scratch.path().join("made");
            fs::create_dir(&made).unwrap();
            fs::write(made.join("f"), "x").unwrap();
            Cache::publish(&made, &place).unwrap();
        }
        assert!(place.join("f").is_file());
    }
}
