//! A root file tree made of layers, in memory but for the contents of its files.
//!
//! Layers are tars, folders and embedded folders; later ones lie over earlier ones, as overlays do. Nothing is ever
//! unpacked, so owners, modes and extended attributes need no privilege. Contents stay where they are until the tree is
//! written: an offset in a tar, a file on disk.
//!
//! Folders that a lower layer has as symbolic links are followed, as dpkg does: `bin/x` lands in `usr/bin/x` of a
//! merged-/usr tree. A `.wh.NAME` removes NAME of the layers below.

mod disk;
mod error;
mod manifest;
mod tar_reader;
mod tar_writer;

pub use error::TreeError;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name at the top of a folder that says modes and owners of what is in it.
pub const MANIFEST_NAME: &str = ".psyops-manifest";
/// Before the name of something that a layer removes.
const WHITEOUT: &str = ".wh.";
/// More links than this in one path are a loop (as `MAXSYMLINKS` of Linux).
const MOST_LINKS: usize = 40;

/// Permission bits, owner, time and extended attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds since 1970; what comes from a folder has none, and gets the time of the whole tree.
    pub mtime: Option<u64>,
    /// Extended attributes, by name.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Metadata {
    /// What belongs to root and has these permission bits.
    #[must_use]
    pub fn root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: None, xattrs: BTreeMap::new() }
    }
}

/// Where the bytes of a file are.
#[derive(Debug, Clone)]
enum Content {
    Bytes(Arc<[u8]>),
    InTar { tar: Arc<File>, offset: u64, length: u64 },
    OnDisk { path: PathBuf, length: u64 },
}

impl Content {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::InTar { length, .. } | Self::OnDisk { length, .. } => *length,
        }
    }
}

/// What a path is.
#[derive(Debug, Clone)]
enum What {
    Directory,
    File(Content),
    Symlink(String),
    Device { character: bool, major: u32, minor: u32 },
    Fifo,
}

impl What {
    fn name(&self) -> &'static str {
        match self {
            Self::Directory => "a folder",
            Self::File(_) => "a file",
            Self::Symlink(_) => "a symbolic link",
            Self::Device { .. } => "a device",
            Self::Fifo => "a pipe",
        }
    }
}

#[derive(Debug, Clone)]
struct Inode {
    what: What,
    metadata: Metadata,
}

/// A tree of layers. Paths have no slash at either end; the top itself is not listed.
#[derive(Debug, Clone, Default)]
pub struct LayeredTree {
    /// Hard links are several paths with one inode. Inodes that no path has any more are never written.
    inodes: Vec<Inode>,
    paths: BTreeMap<String, usize>,
}

impl LayeredTree {
    /// A tree with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.keys().map(String::as_str)
    }

    /// Bytes of all files, those with several names once.
    #[must_use]
    pub fn content_length(&self) -> u64 {
        let used: BTreeSet<usize> = self.paths.values().copied().collect();
        let length = |inode: &Inode| match &inode.what {
            What::File(content) => content.length(),
            _ => 0,
        };
        used.into_iter().filter_map(|number| self.inodes.get(number)).map(length).sum()
    }

    /// Whether something is there. Links in the path are followed, a link at its end is not.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.locate(path).is_ok_and(|path| self.paths.contains_key(&path))
    }

    /// Whether a folder is there, links followed.
    #[must_use]
    pub fn is_directory(&self, path: &str) -> bool {
        self.follow(path).is_ok_and(|path| {
            path.is_empty() || self.inode(&path).is_some_and(|inode| matches!(inode.what, What::Directory))
        })
    }

    /// Whether a plain file is there, links not followed.
    #[must_use]
    pub fn is_file(&self, path: &str) -> bool {
        self.inode(path).is_some_and(|inode| matches!(inode.what, What::File(_)))
    }

    /// The target of the link at `path`.
    #[must_use]
    pub fn link_target(&self, path: &str) -> Option<&str> {
        match &self.inode(path)?.what {
            What::Symlink(target) => Some(target),
            _ => None,
        }
    }

    /// Mode, owner, time and attributes of `path`, links not followed.
    #[must_use]
    pub fn metadata(&self, path: &str) -> Option<&Metadata> {
        self.inode(path).map(|inode| &inode.metadata)
    }

    /// The bytes of all files together.
    #[must_use]
    pub fn content_size(&self) -> u64 {
        let mut inodes: Vec<usize> = self.paths.values().copied().collect();
        inodes.sort_unstable();
        inodes.dedup();
        let sizes = inodes.into_iter().map(|inode| match &self.inodes[inode].what {
            What::File(content) => content.length(),
            _ => 0,
        });
        sizes.sum()
    }

    /// Puts a file with these bytes at `path`.
    pub fn insert_file(
        &mut self,
        path: &str,
        mode: u32,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<(), TreeError> {
        self.insert(path, What::File(Content::Bytes(bytes.into())), Metadata::root(mode))
    }

    /// Puts the file at `source` on this machine to `path`.
    pub fn insert_file_from(&mut self, path: &str, mode: u32, source: &Path) -> Result<(), TreeError> {
        let content = disk::content_of(source)?;
        self.insert(path, What::File(content), Metadata::root(mode))
    }

    /// Makes a folder, or gives the one that is there these permission bits.
    pub fn insert_directory(&mut self, path: &str, mode: u32) -> Result<(), TreeError> {
        self.insert(path, What::Directory, Metadata::root(mode))
    }

    /// Makes a symbolic link.
    pub fn insert_symlink(&mut self, path: &str, target: &str) -> Result<(), TreeError> {
        self.insert(path, What::Symlink(target.to_owned()), Metadata::root(0o777))
    }

    /// Removes what is at `path`, with everything below; nothing there is no error.
    pub fn remove(&mut self, path: &str) {
        let Ok(path) = self.locate(path) else { return };
        self.paths.remove(&path);
        let below = format!("{path}/");
        let gone: Vec<String> = self
            .paths
            .range(below.clone()..)
            .map(|(path, _)| path.clone())
            .take_while(|path| path.starts_with(&below))
            .collect();
        for path in gone {
            self.paths.remove(&path);
        }
    }

    fn inode(&self, path: &str) -> Option<&Inode> {
        self.paths.get(path).map(|&inode| &self.inodes[inode])
    }

    /// Lays one thing at `path`, making the folders above.
    fn insert(&mut self, path: &str, what: What, metadata: Metadata) -> Result<(), TreeError> {
        let mut place = self.locate(path)?;
        if place.is_empty() {
            return match what {
                What::Directory => Ok(()),
                _ => Err(TreeError::BadPath { path: path.to_owned() }),
            };
        }
        if matches!(what, What::Directory) {
            // A folder over a link to a folder is that folder.
            let target = self.follow(&place)?;
            if target != place && self.is_directory(&target) {
                place = target;
            }
        }
        if self.refuse_or_remove_whiteout(&place) {
            return Ok(());
        }
        if let Some(lower) = self.inode(&place) {
            let (lower_folder, upper_folder) =
                (matches!(lower.what, What::Directory), matches!(what, What::Directory));
            if lower_folder != upper_folder {
                return Err(TreeError::Conflict {
                    path: place,
                    lower: lower.what.name(),
                    upper: what.name(),
                });
            }
        }
        self.make_parents(&place)?;
        self.inodes.push(Inode { what, metadata });
        self.paths.insert(place, self.inodes.len() - 1);
        Ok(())
    }

    /// Gives an existing file a second name.
    fn insert_hard_link(&mut self, path: &str, existing: &str) -> Result<(), TreeError> {
        let (place, existing) = (self.locate(path)?, self.locate(existing)?);
        let missing = || TreeError::DanglingHardLink { path: place.clone(), target: existing.clone() };
        let inode = *self.paths.get(&existing).ok_or_else(missing)?;
        if let Some(lower) = self.inode(&place)
            && matches!(lower.what, What::Directory)
        {
            return Err(TreeError::Conflict { path: place, lower: lower.what.name(), upper: "a hard link" });
        }
        self.make_parents(&place)?;
        self.paths.insert(place, inode);
        Ok(())
    }

    fn refuse_or_remove_whiteout(&mut self, place: &str) -> bool {
        let (folder, name) = place.rsplit_once('/').unwrap_or(("", place));
        let Some(hidden) = name.strip_prefix(WHITEOUT) else { return false };
        let target = if folder.is_empty() { hidden.to_owned() } else { format!("{folder}/{hidden}") };
        self.remove(&target);
        true
    }

    fn make_parents(&mut self, place: &str) -> Result<(), TreeError> {
        for (position, _) in place.match_indices('/') {
            let parent = &place[..position];
            match self.inode(parent).map(|inode| &inode.what) {
                Some(What::Directory) => {}
                Some(other) => {
                    let lower = other.name();
                    return Err(TreeError::Conflict { path: parent.to_owned(), lower, upper: "a folder" });
                }
                None => {
                    self.inodes.push(Inode { what: What::Directory, metadata: Metadata::root(0o755) });
                    self.paths.insert(parent.to_owned(), self.inodes.len() - 1);
                }
            }
        }
        Ok(())
    }

    /// `path` without `.` and doubled slashes, and with the links above its last part followed.
    fn locate(&self, path: &str) -> Result<String, TreeError> {
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let Some(name) = parts.pop() else { return Ok(String::new()) };
        if name == ".." {
            return Err(TreeError::BadPath { path: path.to_owned() });
        }
        let folder = self.follow(&parts.join("/"))?;
        Ok(if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") })
    }

    /// `path` with all links followed, those at its end too. Links never lead above the top.
    fn follow(&self, path: &str) -> Result<String, TreeError> {
        let mut done: Vec<String> = Vec::new();
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            let here = done.join("/");
            let Some(What::Symlink(target)) = self.inode(&here).map(|inode| &inode.what) else { continue };
            links += 1;
            if links > MOST_LINKS {
                return Err(TreeError::LinkLoop { path: path.to_owned() });
            }
            done.pop();
            if target.starts_with('/') {
                done.clear();
            }
            todo.extend(target.split('/').rev().map(str::to_owned));
        }
        Ok(done.join("/"))
    }
}

#[cfg(test)]
mod tests;
