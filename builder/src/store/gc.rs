//! Clearing the store: what no node's last build is made of goes away.
//!
//! Nothing is lost that cannot be made again. Builds of sites that are no longer there count for nothing.

use super::journal::BuildRecord;
use super::{Store, StoreError};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What was cleared away, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Files and folders.
    pub removed: Vec<PathBuf>,
    /// Bytes that they took.
    pub freed: u64,
    /// Bytes that stay.
    pub kept: u64,
}

/// Removes what is not needed; `dry` only says what that is. Waits until nobody builds, and nobody builds meanwhile.
pub fn collect_garbage(store: &Store, dry: bool) -> Result<Collected, StoreError> {
    let _lock = if dry { store.in_use()? } else { store.alone()? };
    let (records, stale) = records(store)?;
    let mut needed = BTreeSet::new();
    for record in &records {
        for step in &record.steps {
            needed.extend(step.places.iter().cloned());
            // Packages are inputs by version and digest.
            let digests = step.inputs.iter().filter_map(|(_, value)| value.rsplit(' ').next()?.parse().ok());
            needed.extend(digests.map(|digest| store.deb(&digest)));
        }
    }
    let mut collected = Collected { removed: Vec::new(), freed: 0, kept: 0 };
    let mut candidates = stale;
    for folder in ["debs", "derived", "roots", "tmp"] {
        candidates.extend(entries(&store.dir().join(folder))?);
    }
    for path in candidates {
        let size = size_of(&path)?;
        // The digest of a file goes where the file goes.
        let of = path.extension().is_some_and(|extension| extension == "sha256");
        if needed.contains(&if of { path.with_extension("") } else { path.clone() }) {
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

/// The builds of sites that are there, and the files of all others.
fn records(store: &Store) -> Result<(Vec<BuildRecord>, Vec<PathBuf>), StoreError> {
    let (mut living, mut stale) = (Vec::new(), Vec::new());
    for folder in entries(&store.dir().join("builds"))? {
        for path in entries(&folder)? {
            match BuildRecord::read_file(&path) {
                Some(record) if record.site_dir.is_dir() => living.push(record),
                _ => stale.push(path),
            }
        }
    }
    Ok((living, stale))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |source| StoreError { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "sorted right below")]
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn size_of(path: &Path) -> Result<u64, StoreError> {
    let facts = fs::symlink_metadata(path).map_err(|source| StoreError { path: path.to_owned(), source })?;
    if !facts.is_dir() {
        return Ok(facts.len());
    }
    entries(path)?.iter().map(|below| size_of(below)).sum()
}

fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|source| StoreError { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::super::{FileMark, Inputs, Origin, Step};
    use super::*;
    use crate::image::digests::Digests;
    use crate::site::{GeneratedKeys, InitOptions, Site, init_site};
    use handoff::hash::Sha256Digest;

    fn site(folder: &Path) -> Site {
        let keys = GeneratedKeys {
            admin_recipient: format!("age1{}", "q".repeat(58)),
            signing_public: format!("RW{}", "Q".repeat(54)),
        };
        let options = InitOptions { build_time: 1_793_491_200, open_consoles: false };
        init_site(folder, &"lab".parse().unwrap(), &"alpha".parse().unwrap(), &keys, &options).unwrap();
        Site::load(folder).unwrap()
    }

    #[test]
    fn what_the_last_build_is_made_of_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&folder.path().join("store")).unwrap();
        let site = site(&folder.path().join("site"));
        let node = "alpha".parse().unwrap();
        let (needed, other) = (Sha256Digest::of(b"needed"), Sha256Digest::of(b"other"));
        for digest in [&needed, &other] {
            fs::write(store.deb(digest), "deb").unwrap();
            fs::write(store.derived("micro", digest, "tar"), "tar").unwrap();
            Store::remember(&store.derived("micro", digest, "tar")).unwrap();
            fs::create_dir(store.root(digest)).unwrap();
            fs::write(store.root(digest).join("root.squashfs"), "root").unwrap();
        }
        let inputs = Inputs::new("x", "1").with("package tree", format!("2.1-1 {needed}"));
        let places = vec![store.derived("micro", &needed, "tar"), store.root(&needed)];
        let step = Step { name: "x", inputs, origin: Origin::Made, places };
        let mark = FileMark::of(&site.dir.join("site.toml")).unwrap();
        let record = BuildRecord::new((&site, &node), (mark, Digests::default()), &[step], None);
        record.write(&store, &site, &node).unwrap();

        let there = |digest: &Sha256Digest| {
            let tar = store.derived("micro", digest, "tar");
            [store.deb(digest).exists(), Store::holds(&tar), store.root(digest).exists()]
        };
        let planned = collect_garbage(&store, true).unwrap();
        assert_eq!((there(&needed), there(&other)), ([true; 3], [true; 3]));
        let collected = collect_garbage(&store, false).unwrap();
        assert_eq!(collected, planned);
        assert_eq!(collected.removed.len(), 4, "{collected:?}");
        assert_eq!((there(&needed), there(&other)), ([true; 3], [false; 3]));

        fs::remove_dir_all(&site.dir).unwrap();
        collect_garbage(&store, false).unwrap();
        assert_eq!(there(&needed), [false; 3]);
        assert!(BuildRecord::read(&store, &site, &node).is_none());
    }

    #[test]
    fn nothing_is_removed_while_somebody_builds() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let builds = store.in_use().unwrap();
        let also_builds = store.in_use().unwrap();
        let (send, done) = std::sync::mpsc::channel();
        let other = store.clone();
        let collector = std::thread::spawn(move || send.send(collect_garbage(&other, false)).unwrap());
        let soon = std::time::Duration::from_millis(200);
        assert!(done.recv_timeout(soon).is_err(), "it did not wait");
        drop(builds);
        assert!(done.recv_timeout(soon).is_err(), "it did not wait for the other");
        drop(also_builds);
        done.recv_timeout(soon * 50).unwrap().unwrap();
        collector.join().unwrap();
    }
}
