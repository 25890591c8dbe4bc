//! What is in a folder of a site: its entries, their kinds, and which of them is a file to read.

use crate::beneath::PathProblem;
use rustix::fs::{AtFlags, Dir, FileType};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name in the folder.
    pub name: OsString,
    /// The kind of file, without following a link.
    pub kind: SiteEntryKind,
    /// Whether the owner may execute it.
    pub executable: bool,
    /// The size of a file in bytes.
    pub length: u64,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteEntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A pipe, socket or device: its name with an article.
    Other(&'static str),
}

impl SiteEntryKind {
    pub(super) fn of(mode: u32) -> Self {
        match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            FileType::Fifo => Self::Other("a pipe"),
            FileType::Socket => Self::Other("a socket"),
            _ => Self::Other("a device"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Link => "a symbolic link",
            Self::Other(name) => name,
        }
    }
}

/// The file that was opened; any other kind is an error.
pub(super) fn plain_file(file: OwnedFd) -> io::Result<File> {
    match SiteEntryKind::of(rustix::fs::fstat(&file)?.st_mode) {
        SiteEntryKind::File => Ok(file.into()),
        other => Err(PathProblem::NotAFile { kind: other.name() }.into()),
    }
}

/// The entries of an open folder, sorted by name.
pub(super) fn entries(folder: &OwnedFd) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder.as_fd())? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let facts = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        found.push(Entry {
            name: name.to_owned(),
            kind: SiteEntryKind::of(facts.st_mode),
            executable: facts.st_mode & 0o100 != 0,
            length: u64::try_from(facts.st_size).unwrap_or_default(),
        });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}
