//! What of a store differs from the manifest: content, mode, owner and type of each file, and files nobody knows.
//!
//! Nothing is written. A named pipe in the place of a file does not make it wait, a link is not followed.

use super::folder;
use crate::seal::payload::{LOST_AND_FOUND, TEMPORARY};
use handoff::hash::Sha256Digest;
use handoff::manifest::{Entry, Manifest, RelativePath, Store};
use handoff::paths::AGE_KEY;
use nix::errno::Errno;
use nix::fcntl::{OFlag, PosixFadviseAdvice, openat, posix_fadvise};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// What kind of thing stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
}

impl FileType {
    /// The type in the `st_mode` of stat(2).
    pub(super) fn of(st_mode: nix::libc::mode_t) -> Self {
        match SFlag::from_bits_truncate(st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => Self::File,
            SFlag::S_IFDIR => Self::Folder,
            SFlag::S_IFLNK => Self::Link,
            SFlag::S_IFIFO => Self::Pipe,
            SFlag::S_IFSOCK => Self::Socket,
            _ => Self::Device,
        }
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Link => "a symbolic link",
            Self::Pipe => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
        })
    }
}

/// In what a file differs from its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It is not there, or its folder is not.
    Missing,
    /// Something else than a file stands in its place.
    Type(FileType),
    /// Something else than a folder stands in the place of a folder above it.
    Parent {
        /// The folder, relative to the store.
        folder: PathBuf,
        /// What is there.
        found: FileType,
    },
    /// Other bytes.
    Content,
    /// Other permission bits.
    Mode {
        /// As the manifest says.
        expected: u32,
        /// As it is.
        found: u32,
    },
    /// Another owner or group.
    Owner {
        /// User and group as the manifest says.
        expected: (u32, u32),
        /// User and group as they are.
        found: (u32, u32),
    },
    /// It cannot be read.
    Unreadable(Errno),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Type(found) => write!(f, "is {found}, not a file"),
            Self::Parent { folder, found } => write!(f, "{} above it is {found}", folder.display()),
            Self::Content => f.write_str("content"),
            Self::Mode { expected, found } => write!(f, "mode {found:04o}, should be {expected:04o}"),
            Self::Owner { expected, found } => {
                write!(f, "owner {}:{}, should be {}:{}", found.0, found.1, expected.0, expected.1)
            }
            Self::Unreadable(errno) => write!(f, "cannot be read ({})", errno.desc()),
        }
    }
}

/// A file that is not as its entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The file.
    pub path: RelativePath,
    /// Everything in which it differs.
    pub what: Vec<What>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        for (what, nth) in self.what.iter().zip(0_usize..) {
            if nth > 0 {
                f.write_str(", ")?;
            }
            what.fmt(f)?;
        }
        Ok(())
    }
}

/// How a store stands to the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Files that are as they should be.
    pub same: Vec<RelativePath>,
    /// Files that are not.
    pub differing: Vec<Difference>,
    /// What is there and the manifest does not know; of an unknown folder only the folder.
    pub unknown: Vec<PathBuf>,
    /// Half-written files of a repair that was cut off.
    pub leftovers: Vec<PathBuf>,
    /// Folders that cannot be listed, so that unknown files in them stay unseen.
    pub unreadable: Vec<PathBuf>,
}

impl Comparison {
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
#[error("cannot read the secret store {}: {}", path.display(), errno.desc())]
pub struct CompareError {
    /// The store's folder.
    pub path: PathBuf,
    /// What the kernel said.
    pub errno: Errno,
}

/// Compares the store in the folder `path` with the entries of `manifest` that live on the disk.
pub fn compare(path: &Path, manifest: &Manifest) -> Result<Comparison, CompareError> {
    let store = folder::store(path).map_err(|errno| CompareError { path: path.to_owned(), errno })?;
    let mut comparison = Comparison::default();
    let mut known = Known::default();
    let mut buffer = Zeroizing::new(vec![0; BUFFER]);
    let mut folders = Folders { store: &store, last: None };
    let mut entries = manifest.stored_in(Store::Disk).peekable();
    while entries.peek().is_some() {
        // The medium is asked for many files at once: one that is slow to answer is so once, not for each file.
        let opened: Vec<_> =
            entries.by_ref().take(AT_ONCE).map(|entry| (entry, folders.open(entry))).collect();
        for (entry, opened) in opened {
            known.add(entry.path.as_str());
            let what = opened.map_or_else(|what| vec![what], |opened| opened.differences(entry, &mut buffer));
            if what.is_empty() {
                comparison.same.push(entry.path.clone());
            } else {
                comparison.differing.push(Difference { path: entry.path.clone(), what });
            }
        }
    }
    find_unknown(&store, Path::new(""), &known, &mut comparison);
    Ok(comparison)
}

/// The most bytes read at once.
const BUFFER: usize = 16 * 1024;
/// How many files are open at once; a process may have 1024.
const AT_ONCE: usize = 64;

/// Opens the files of a store one after the other. The folder of the last one stays open: the next is often beside it.
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

/// Files that the manifest knows, and the folders above them.
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

fn find_unknown(parent: &OwnedFd, path: &Path, known: &Known<'_>, comparison: &mut Comparison) {
    let Ok(names) = folder::names(parent) else {
        comparison.unreadable.push(path.to_owned());
        return;
    };
    for name in names {
        let child = path.join(&name);
        let on_every_store = path.as_os_str().is_empty() && (name == AGE_KEY || name == LOST_AND_FOUND);
        if on_every_store || known.files.contains(&*child) {
            continue;
        }
        if name == TEMPORARY {
            comparison.leftovers.push(child);
        } else if !known.folders.contains(&*child) {
            comparison.unknown.push(child);
        } else if let Ok(folder) = folder::child(parent, &name) {
            find_unknown(&folder, &child, known, comparison);
        }
        // Something else in the place of a known folder is a difference of the files below it.
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

/// In what the file `name` in `parent` differs from `entry`; nothing where it is right.
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
        // Asked before it is opened: opening a device can have effects.
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
        // What was just written must come from the medium and not from the cache, and soon. It is only advice, so a
        // kernel that does not take it costs nothing but that.
        for advice in [PosixFadviseAdvice::POSIX_FADV_DONTNEED, PosixFadviseAdvice::POSIX_FADV_WILLNEED] {
            let _ = posix_fadvise(file.as_fd(), 0, 0, advice);
        }
        Ok(Self { file: File::from(file), status })
    }

    fn differences(self, entry: &Entry, buffer: &mut [u8]) -> Vec<What> {
        let Self { file, status } = self;
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
        let mode = status.st_mode & 0o7777;
        if mode != entry.mode {
            what.push(What::Mode { expected: entry.mode, found: mode });
        }
        if (status.st_uid, status.st_gid) != (entry.uid, entry.gid) {
            let found = (status.st_uid, status.st_gid);
            what.push(What::Owner { expected: (entry.uid, entry.gid), found });
        }
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
