//! The digests of all files below a folder of the store, beside the folder: they show whether it still has what was put
//! there.
//!
//! The format is that of sha256sum(1). The entry of a link has its target.

use super::{Store, StoreError, digest_place, entries};
use crate::atomic;
use crate::input::digest_of_file;
use handoff::hash::Sha256Digest;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

impl Store {
    /// Writes the digests of a finished folder beside it, for [`Self::damage`], before anything else may use the
    /// folder.
    pub fn remember_folder(folder: &Path, place: &Path) -> Result<(), StoreError> {
        let text = sums(folder)?;
        let path = digest_place(place);
        let written = atomic::write_file(&path, text.as_bytes());
        written.map_err(|error| StoreError { path, source: error.into() })
    }

    /// The first file of a folder that was changed or added since its digests were written.
    pub fn damage(place: &Path) -> Result<Option<PathBuf>, StoreError> {
        let expected = fs::read_to_string(digest_place(place)).unwrap_or_default();
        let found = sums(place)?;
        let mut pairs = expected.lines().zip(found.lines());
        let differs = pairs.find(|(expected, found)| expected != found).map(|(_, found)| found);
        let more = || {
            let longer = if expected.len() > found.len() { &expected } else { &found };
            longer.lines().nth(expected.lines().count().min(found.lines().count()))
        };
        let name = |line: &str| place.join(line.split_once("  ").map_or(line, |(_, name)| name));
        Ok(differs.or_else(more).map(name))
    }
}

fn sums(folder: &Path) -> Result<String, StoreError> {
    let mut text = String::new();
    add_sums(folder, folder, &mut text)?;
    Ok(text)
}

fn add_sums(top: &Path, folder: &Path, text: &mut String) -> Result<(), StoreError> {
    for path in entries(folder)? {
        let failed = |source: io::Error| StoreError { path: path.clone(), source };
        let facts = fs::symlink_metadata(&path).map_err(failed)?;
        if facts.is_dir() {
            add_sums(top, &path, text)?;
            continue;
        }
        let digest = if facts.is_symlink() {
            Sha256Digest::of(fs::read_link(&path).map_err(failed)?.as_os_str().as_encoded_bytes())
        } else {
            digest_of_file(&path).map_err(failed)?
        };
        let name = path.strip_prefix(top).unwrap_or(&path).display();
        text.push_str(&format!("{digest}  {name}\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_added_and_missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let place = store.derived("kernel", &Sha256Digest::of(b"x"), "");
        fs::create_dir_all(place.join("lib")).unwrap();
        for (name, text) in [("boot", "kernel"), ("lib/a.ko", "a"), ("lib/b.ko", "b")] {
            fs::write(place.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("a.ko", place.join("lib/link")).unwrap();
        Store::remember_folder(&place, &place).unwrap();
        let damage =
            || Store::damage(&place).unwrap().map(|path| path.strip_prefix(&place).unwrap().to_owned());
        assert_eq!(damage(), None);
        fs::write(place.join("lib/a.ko"), "A").unwrap();
        assert_eq!(damage(), Some("lib/a.ko".into()));
        fs::write(place.join("lib/a.ko"), "a").unwrap();
        fs::write(place.join("lib/zz"), "z").unwrap();
        assert_eq!(damage(), Some("lib/zz".into()));
        fs::remove_file(place.join("lib/zz")).unwrap();
        fs::remove_file(place.join("lib/link")).unwrap();
        assert_eq!(damage(), Some("lib/link".into()));
        std::os::unix::fs::symlink("b.ko", place.join("lib/link")).unwrap();
        assert_eq!(damage(), Some("lib/link".into()));
        fs::remove_file(digest_place(&place)).unwrap();
        assert!(damage().is_some(), "without digests nothing is known to hold");
    }
}
