//! Folders of the store, opened name by name without following links (openat(2) with `O_NOFOLLOW`).
//!
//! Every path in the store is opened by these functions, so that a planted link cannot lead out of the store.

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, fstatat};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The store's own folder; the caller ensures that its path is safe.
pub(super) fn store(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, FOLDER, Mode::empty())
}

/// A folder in `parent`; a link in its place is an error.
pub(super) fn child(parent: &impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat(parent, name, FOLDER.union(OFlag::O_NOFOLLOW), Mode::empty())
}

/// The status of `name` in `parent`: of a link itself, not of its target.
pub(super) fn status(parent: &impl AsFd, name: &OsStr) -> Result<FileStat, Errno> {
    fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// The names in a folder, sorted, without `.` and `..`.
pub(super) fn names(folder: &impl AsFd) -> Result<Vec<OsString>, Errno> {
    // Reading moves the position of the descriptor, so each listing has its own.
    let mut walked = Dir::openat(folder, ".", FOLDER, Mode::empty())?;
    let mut names = Vec::new();
    for entry in walked.iter() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
