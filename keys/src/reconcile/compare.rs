//! How a store differs from the manifest: content, type and access of each file, access of the node's key and of each
//! folder, and files that are not in the manifest.
//!
//! Nothing is written. A named pipe in place of a file does not block, and a link is not followed.

use super::access::Demand;
use super::difference::{Difference, FileType, Subject, What};
use super::folder;
use crate::seal::payload::{LOST_AND_FOUND, TEMPORARY};
use handoff::hash::Sha256Digest;
use handoff::manifest::{Entry, Manifest, RelativePath, Store};
use handoff::paths::AGE_KEY;
use nix::errno::Errno;
use nix::fcntl::{OFlag, PosixFadviseAdvice, openat, posix_fadvise};
use nix::sys::stat::{FileStat, Mode, fstat};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// The result of comparing a store with the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Files that match the manifest.
    pub same: Vec<RelativePath>,
    /// Files that do not match, and the node's key and folders if their access is wrong.
    pub differing: Vec<Difference>,
    /// Files that are not in the manifest; of an unknown folder only the folder itself.
    pub unknown: Vec<PathBuf>,
    /// Half-written files of a repair that was interrupted.
    pub leftovers: Vec<PathBuf>,
    /// Folders that cannot be listed, so that unknown files in them are not found.
    pub unreadable: Vec<PathBuf>,
}

impl Comparison {
    fn note(&mut self, subject: Subject, what: Vec<What>) {
        if !what.is_empty() {
            self.differing.push(Difference { subject, what });
        }
    }

    /// Whether a repair would write anything.
    #[must_use]
    pub fn needs_repair(&self, manifest: &Manifest) -> bool {
        !self.differing.is_empty()
            || !self.leftovers.is_empty()
            || (manifest.remove_unknown && !self.unknown.is_empty())
    }
}

/// The store as a whole could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot read the secret files in {}: {}", path.display(), errno.desc())]
pub struct CompareError {
    /// The store's folder.
    pub path: PathBuf,
    /// The kernel's error.
    pub errno: Errno,
}

/// Compares the store in the folder `path` with the entries of `manifest` that are stored on the disk, and the access
/// of the node's key and of all folders with what the builder sets.
pub fn compare(path: &Path, manifest: &Manifest) -> Result<Comparison, CompareError> {
    let store = open(path)?;
    let mut comparison = compare_files(&store, manifest);
    let what = match Opened::open(&store, OsStr::new(AGE_KEY)) {
        Ok(key) => Demand::of_key().differences(&key.file, &key.status),
        Err(what) => vec![what],
    };
    comparison.note(Subject::Key, what);
    let mut known = Known::default();
    known.folders.insert(Path::new(LOST_AND_FOUND));
    manifest.stored_in(Store::Disk).for_each(|entry| known.add(entry.path.as_str()));
    walk(&store, Path::new(""), &known, &mut comparison);
    Ok(comparison)
}

/// Compares only the files: of the copy of a store in memory, which has neither the node's key nor unknown files.
pub fn compare_copy(path: &Path, manifest: &Manifest) -> Result<Comparison, CompareError> {
    Ok(compare_files(&open(path)?, manifest))
}

fn open(path: &Path) -> Result<OwnedFd, CompareError> {
    folder::store(path).map_err(|errno| CompareError { path: path.to_owned(), errno })
}

fn compare_files(store: &OwnedFd, manifest: &Manifest) -> Comparison {
    let mut comparison = Comparison::default();
    let mut buffer = Zeroizing::new(vec![0; BUFFER]);
    let mut folders = Folders { store, last: None };
    let mut entries = manifest.stored_in(Store::Disk).peekable();
    while entries.peek().is_some() {
        // Many files are opened and read ahead at once: a slow medium then delays them once, not for each file.
        let opened: Vec<_> =
            entries.by_ref().take(AT_ONCE).map(|entry| (entry, folders.open(entry))).collect();
        for (entry, opened) in opened {
            let what = opened.map_or_else(|what| vec![what], |opened| opened.differences(entry, &mut buffer));
            if what.is_empty() {
                comparison.same.push(entry.path.clone());
            } else {
                comparison.note(Subject::File(entry.path.clone()), what);
            }
        }
    }
    comparison
}

/// The most bytes read at once.
const BUFFER: usize = 16 * 1024;
/// How many files are open at once; a process may have 1024.
const AT_ONCE: usize = 64;

/// Opens the files of a store in order. The folder of the last one stays open: the next file is often in it, too.
struct Folders<'s, 'm> {
    store: &'s OwnedFd,
    last: Option<(&'m str, OwnedFd)>,
}

impl<'m> Folders<'_, 'm> {
    fn open(&mut self, entry: &'m Entry) -> Result<Opened, What> {
        let path = entry.path.as_str();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let known = self.last.take().filter(|(last, _)| *last == folder);
        let found = match known {
            Some((_, found)) => found,
            None => find(self.store, path)?.0,
        };
        let opened = Opened::open(&found, OsStr::new(name));
        self.last = Some((folder, found));
        opened
    }
}

/// The files in the manifest, and the folders above them.
#[derive(Default)]
struct Known<'m> {
    files: BTreeSet<&'m Path>,
    folders: BTreeSet<&'m Path>,
}

impl<'m> Known<'m> {
    fn add(&mut self, path: &'m str) {
        self.files.insert(Path::new(path));
        self.folders.extend(Path::new(path).ancestors().skip(1));
    }
}

/// Compares the access of an open folder and of known folders below it, and collects the unknown names in them.
fn walk(opened: &OwnedFd, path: &Path, known: &Known<'_>, comparison: &mut Comparison) {
    let what = match fstat(opened) {
        Ok(status) => Demand::of_folder().differences(opened, &status),
        Err(errno) => vec![What::Unreadable(errno)],
    };
    comparison.note(Subject::Folder(path.to_owned()), what);
    let Ok(names) = folder::names(opened) else {
        comparison.unreadable.push(path.to_owned());
        return;
    };
    for name in names {
        let child = path.join(&name);
        let is_key = path.as_os_str().is_empty() && name == AGE_KEY;
        if is_key || known.files.contains(&*child) {
            continue;
        }
        if name == TEMPORARY {
            comparison.leftovers.push(child);
        } else if !known.folders.contains(&*child) {
            comparison.unknown.push(child);
        } else if let Ok(folder) = folder::child(opened, &name) {
            walk(&folder, &child, known, comparison);
        } else if child == Path::new(LOST_AND_FOUND) {
            comparison.unknown.push(child);
        }
        // Something else in place of another known folder is a difference of the files below it.
    }
}

/// The folder and the name of `path`, walked from the store without following links.
fn find<'p>(store: &OwnedFd, path: &'p str) -> Result<(OwnedFd, &'p OsStr), What> {
    let mut folder = store.try_clone().map_err(|_| What::Unreadable(Errno::last()))?;
    let mut parts = path.split('/').peekable();
    let mut walked = PathBuf::new();
    while let Some(part) = parts.next() {
        let part = OsStr::new(part);
        if parts.peek().is_none() {
            return Ok((folder, part));
        }
        walked.push(part);
        folder = match folder::child(&folder, part) {
            Ok(child) => child,
            Err(Errno::ENOENT) => return Err(What::Missing),
            Err(errno) => {
                let found = folder::status(&folder, part).map(|status| FileType::of(status.st_mode));
                return Err(match found {
                    Ok(found) if found != FileType::Folder => What::Parent { folder: walked, found },
                    _ => What::Unreadable(errno),
                });
            }
        };
    }
    Err(What::Missing)
}

/// The node's key: its descriptor, if it is a regular file.
pub(super) fn key(store: &OwnedFd) -> Result<(File, FileStat), What> {
    Opened::open(store, OsStr::new(AGE_KEY)).map(|opened| (opened.file, opened.status))
}

/// How the file `name` in `parent` differs from `entry`; empty if it does not.
pub(super) fn examine(parent: &OwnedFd, name: &OsStr, entry: &Entry) -> Vec<What> {
    let mut buffer = Zeroizing::new(vec![0; BUFFER]);
    Opened::open(parent, name).map_or_else(|what| vec![what], |opened| opened.differences(entry, &mut buffer))
}

/// A regular file of the store.
struct Opened {
    file: File,
    status: FileStat,
}

impl Opened {
    fn open(parent: &OwnedFd, name: &OsStr) -> Result<Self, What> {
        // Checked before opening: opening a device can have effects.
        let is_file = |status: &FileStat| match FileType::of(status.st_mode) {
            FileType::File => Ok(()),
            other => Err(What::Type(other)),
        };
        let unreadable = |errno| match errno {
            Errno::ENOENT => What::Missing,
            errno => What::Unreadable(errno),
        };
        is_file(&folder::status(parent, name).map_err(unreadable)?)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(parent, name, flags, Mode::empty()).map_err(What::Unreadable)?;
        let status = fstat(&file).map_err(What::Unreadable)?;
        is_file(&status)?;
        // A file that was just written must be read from the medium and not from the cache, and soon. This is only
        // advice to the kernel: if it is ignored, the comparison still works.
        for advice in [PosixFadviseAdvice::POSIX_FADV_DONTNEED, PosixFadviseAdvice::POSIX_FADV_WILLNEED] {
            let _ = posix_fadvise(file.as_fd(), 0, 0, advice);
        }
        Ok(Self { file: File::from(file), status })
    }

    fn differences(self, entry: &Entry, buffer: &mut [u8]) -> Vec<What> {
        let Self { file, status } = self;
        let access = Demand::of_entry(entry).differences(&file, &status);
        let mut what = Vec::new();
        if u64::try_from(status.st_size) == Ok(entry.size) {
            match digest(file, buffer) {
                Ok(digest) if digest == entry.digest => {}
                Ok(_) => what.push(What::Content),
                Err(errno) => what.push(What::Unreadable(errno)),
            }
        } else {
            what.push(What::Content);
        }
        what.extend(access);
        what
    }
}

fn digest(mut file: File, buffer: &mut [u8]) -> Result<Sha256Digest, Errno> {
    let mut hasher = Sha256::new();
    loop {
        let count = match file.read(buffer) {
            Ok(0) => return Ok(Sha256Digest::from_bytes(hasher.finalize().into())),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
        };
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
}
