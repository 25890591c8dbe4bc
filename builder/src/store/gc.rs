//! Garbage collection of the store: everything that is not needed is removed. All of it can be made again.

use super::{Store, StoreError};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What must stay in a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needed {
    /// Files and folders of the store to keep.
    pub places: BTreeSet<PathBuf>,
    /// Other files of the store that are outdated, to be removed.
    pub stale: Vec<PathBuf>,
}

/// The result of a garbage collection, or of a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The files and folders that were removed.
    pub removed: Vec<PathBuf>,
    /// The bytes that they took.
    pub freed: u64,
    /// The bytes that remain.
    pub kept: u64,
}

/// Removes everything that `needed` does not name; with `dry`, only tells what that is. Waits until no process builds,
/// and lets none begin meanwhile.
pub fn collect_garbage(
    store: &Store,
    dry: bool,
    needed: impl FnOnce(&Store) -> Result<Needed, StoreError>,
) -> Result<Collected, StoreError> {
    let _lock = if dry { store.in_use()? } else { store.exclusive()? };
    let Needed { places, stale } = needed(store)?;
    let mut collected = Collected { removed: Vec::new(), freed: 0, kept: 0 };
    let mut candidates = stale;
    for folder in ["debs", "blobs", "indexes", "derived", "roots", "tmp"] {
        candidates.extend(store.entries(folder)?);
    }
    for path in candidates {
        let size = size_of(store, &path)?;
        // The digest of a file is removed with the file.
        let is_digest = path.extension().is_some_and(|extension| extension == "sha256");
        if places.contains(&if is_digest { path.with_extension("") } else { path.clone() }) {
            collected.kept += size;
            continue;
        }
        if !dry {
            remove(&path)?;
        }
        collected.freed += size;
        collected.removed.push(path);
    }
    Ok(collected)
}

fn size_of(store: &Store, path: &Path) -> Result<u64, StoreError> {
    let facts = fs::symlink_metadata(path).map_err(|source| StoreError { path: path.to_owned(), source })?;
    if !facts.is_dir() {
        return Ok(facts.len());
    }
    store.entries(path)?.iter().map(|below| size_of(store, below)).sum()
}

fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|source| StoreError { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_removed_during_a_build() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let builds = store.in_use().unwrap();
        let also_builds = store.in_use().unwrap();
        let (send, done) = std::sync::mpsc::channel();
        let other = store.clone();
        let collector = std::thread::spawn(move || {
            send.send(collect_garbage(&other, false, |_| Ok(Needed::default()))).unwrap();
        });
        let soon = std::time::Duration::from_millis(200);
        assert!(done.recv_timeout(soon).is_err(), "it did not wait");
        drop(builds);
        assert!(done.recv_timeout(soon).is_err(), "it did not wait for the other");
        drop(also_builds);
        done.recv_timeout(soon * 50).unwrap().unwrap();
        collector.join().unwrap();
    }
}
