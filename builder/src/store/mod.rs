//! The store: everything that can be made again, under `$XDG_CACHE_HOME/psyops/` (`~/.cache/psyops/`).
//!
//! ```text
//! debs/SHA256.deb        packages, by their content
//! blobs/SHA256           layers of images, the same way
//! apt/KEY/               apt's own state, a folder for each set of archives
//! indexes/SHA256[.zst]   signed indexes of the archive that locks name: `InRelease`, and `Packages` packed
//! derived/KIND-KEY.EXT   results; KEY is the digest of all their inputs, so no file here is ever outdated
//! roots/KEY/             finished roots, the same way
//! builds/SITE/           the record of each node's last build: its steps and their inputs
//! tmp/                   unfinished files; each is moved to its place by one rename
//! lock                   held by the one process that prepares a base
//! in-use                 held by every process that builds, so that nothing is removed meanwhile
//! ```

mod gc;
mod inputs;
mod owner;
mod step;
mod step_name;
mod sums;

pub use gc::{Collected, Needed, collect_garbage};
pub use inputs::Inputs;
pub use owner::NotPrivate;
pub use step::{Step, StepOrigin};
pub use step_name::StepName;

use crate::atomic;
use crate::error::{Class, Classified};
use crate::folders::{Folder, NoFolder};
use crate::input::digest_of_file;
use crate::next_command::argument;
use crate::scratch::Scratch;
use handoff::hash::Sha256Digest;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;
use tracing::trace;

/// The folders in a store.
const FOLDERS: [&str; 8] = ["debs", "blobs", "apt", "indexes", "derived", "roots", "builds", "tmp"];

/// An open store.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// An exclusive lock: while it exists, no other process prepares a base in this store.
#[derive(Debug)]
pub struct StoreLock {
    _file: File,
}

/// A shared lock: while it exists, nothing is removed from this store.
#[derive(Debug)]
pub struct InUse {
    _file: File,
}

/// A file of the store could not be read or written.
#[derive(Debug, Error, classified::Cause)]
#[error("store: {path}: {source}")]
pub struct StoreError {
    /// The path of the file or folder.
    pub path: PathBuf,
    /// The error from reading or writing it.
    pub r#source: io::Error,
}

impl Classified for StoreError {
    fn own_class(&self) -> Option<Class> {
        Some(if self.not_private().is_some() { Class::Refused } else { Class::of_writing(&self.source) })
    }

    fn own_advice(&self) -> Option<String> {
        if let Some(problem) = self.not_private() {
            let other = "set XDG_CACHE_HOME to a folder of yours";
            return Some(match problem {
                NotPrivate::Mode { path, .. } => {
                    format!("remove the others' right to write (chmod go-w {}), or {other}", argument(path))
                }
                NotPrivate::Owner { .. } => other.to_owned(),
            });
        }
        Some(
            "free some space (psyops store gc), or set XDG_CACHE_HOME to a folder of yours with enough space"
                .into(),
        )
    }
}

impl StoreError {
    fn not_private(&self) -> Option<&NotPrivate> {
        self.source.get_ref()?.downcast_ref()
    }
}

impl Store {
    /// The store of the user who runs this process.
    pub fn from_environment() -> Result<Self, crate::error::Error> {
        let dir = Folder::Cache.of_psyops().map_err(|error: NoFolder| crate::error::Error::from(error))?;
        Ok(Self::at(&dir)?)
    }

    /// The store in `dir`, which is made if it does not exist, accessible only to the user. A store that other users
    /// can write is refused.
    pub fn at(dir: &Path) -> Result<Self, StoreError> {
        for folder in FOLDERS {
            let path = dir.join(folder);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|source| StoreError { path, source })?;
        }
        let failed = |source| StoreError { path: dir.to_owned(), source };
        let dir = fs::canonicalize(dir).map_err(failed)?;
        owner::check(&dir, &FOLDERS).map_err(failed)?;
        Ok(Self { dir })
    }

    /// The folder of the store.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path for the package with that digest.
    #[must_use]
    pub fn deb(&self, digest: &Sha256Digest) -> PathBuf {
        self.dir.join("debs").join(format!("{digest}.deb"))
    }

    /// The path for the layer of an image with that digest.
    #[must_use]
    pub fn blob(&self, digest: &Sha256Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.to_string())
    }

    /// The path for the `InRelease` with that digest.
    #[must_use]
    pub fn index(&self, digest: &Sha256Digest) -> PathBuf {
        self.dir.join("indexes").join(digest.to_string())
    }

    /// The path for the list of packages (`Packages`) with that digest, packed with zstd.
    #[must_use]
    pub fn packed_index(&self, digest: &Sha256Digest) -> PathBuf {
        self.dir.join("indexes").join(format!("{digest}.zst"))
    }

    /// The path for a derived file: `kind` is what it is, `key` is the digest of all its inputs.
    #[must_use]
    pub fn derived(&self, kind: &str, key: &Sha256Digest, extension: &str) -> PathBuf {
        let dot = if extension.is_empty() { "" } else { "." };
        self.dir.join("derived").join(format!("{kind}-{key}{dot}{extension}"))
    }

    /// The path for a finished root.
    #[must_use]
    pub fn root(&self, key: &Sha256Digest) -> PathBuf {
        self.dir.join("roots").join(key.to_string())
    }

    /// The path of apt's folder for one set of archives.
    pub(crate) fn apt(&self, key: &Sha256Digest) -> PathBuf {
        self.dir.join("apt").join(key.to_string())
    }

    /// A folder for unfinished files, on the same file system as the store.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        let path = self.dir.join("tmp");
        Scratch::within(&path, "work-").map_err(|source| StoreError { path, source })
    }

    /// Moves a finished file or folder of [`Self::scratch`] to `place`. If another process was faster, its result
    /// stays.
    pub fn publish(finished: &Path, place: &Path) -> Result<(), StoreError> {
        match fs::rename(finished, place) {
            Err(source) if !place.exists() => Err(StoreError { path: place.to_owned(), source }),
            _ => Ok(()),
        }
    }

    /// Writes the digest of a finished file beside it, for [`Self::holds`].
    pub fn remember(place: &Path) -> Result<(), StoreError> {
        let failed = |source| StoreError { path: place.to_owned(), source };
        let digest = digest_of_file(place).map_err(failed)?;
        let written = atomic::write_file(&digest_place(place), format!("{digest}\n").as_bytes());
        written.map_err(|error| failed(error.into()))
    }

    /// Whether the digests for a place were written.
    pub(crate) fn is_remembered(place: &Path) -> bool {
        digest_place(place).is_file()
    }

    /// Whether the file at `place` exists and has the recorded digest.
    #[must_use]
    pub fn holds(place: &Path) -> bool {
        let expected = fs::read_to_string(digest_place(place)).unwrap_or_default();
        let held = digest_of_file(place).is_ok_and(|found| expected.trim_end() == found.to_string());
        trace!(place = %place.display(), held, "looked in the store");
        held
    }

    /// Writes a result to its place, with its digest beside it.
    pub fn put(place: &Path, bytes: &[u8]) -> Result<Sha256Digest, StoreError> {
        let failed = |error: atomic::AtomicError| StoreError { path: place.to_owned(), source: error.into() };
        let digest = Sha256Digest::of(bytes);
        atomic::write_file(&digest_place(place), format!("{digest}\n").as_bytes()).map_err(failed)?;
        atomic::write_file(place, bytes).map_err(failed)?;
        Ok(digest)
    }

    /// The result at a place and its digest, if it exists and has the recorded digest.
    #[must_use]
    pub fn whole(place: &Path) -> Option<(Vec<u8>, Sha256Digest)> {
        let expected: Sha256Digest = fs::read_to_string(digest_place(place)).ok()?.trim_end().parse().ok()?;
        let bytes = fs::read(place).ok()?;
        let found = Sha256Digest::of(&bytes);
        (found == expected).then_some((bytes, found))
    }

    /// The entries of a folder of the store, sorted by name.
    pub fn entries(&self, folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, StoreError> {
        entries(&self.dir.join(folder))
    }

    /// Waits until no other process prepares a base here.
    pub fn lock(&self) -> Result<StoreLock, StoreError> {
        Ok(StoreLock { _file: self.locked("lock", File::lock)? })
    }

    /// Keeps files from being removed, as long as this or any other process builds. Waits while another process removes
    /// files.
    pub fn in_use(&self) -> Result<InUse, StoreError> {
        Ok(InUse { _file: self.locked("in-use", File::lock_shared)? })
    }

    /// Waits until no process builds, and keeps others from beginning.
    fn exclusive(&self) -> Result<InUse, StoreError> {
        Ok(InUse { _file: self.locked("in-use", File::lock)? })
    }

    fn locked(&self, name: &str, lock: impl FnOnce(&File) -> io::Result<()>) -> Result<File, StoreError> {
        let path = self.dir.join(name);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        file.and_then(|file| lock(&file).map(|()| file)).map_err(|source| StoreError { path, source })
    }
}

/// The entries of a folder, sorted by name.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |source| StoreError { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "sorted right below")]
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The path of the file with the digest of a file of the store.
fn digest_place(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_builders_the_faster_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let place = store.derived("kernel", &Sha256Digest::of(b"x"), "");
        for _ in 0..2 {
            let scratch = store.scratch().unwrap();
            let made = scratch.path().join("made");
            fs::create_dir(&made).unwrap();
            fs::write(made.join("f"), "x").unwrap();
            Store::publish(&made, &place).unwrap();
        }
        assert!(place.join("f").is_file());
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("base.tar");
        assert!(!Store::holds(&place));
        fs::write(&place, "whole").unwrap();
        assert!(!Store::holds(&place));
        Store::remember(&place).unwrap();
        assert!(Store::holds(&place));
        fs::write(&place, "hole!").unwrap();
        assert!(!Store::holds(&place));
    }
}
