//! A root file tree made of layers. It is in memory, except for the contents of its files.
//!
//! Layers are tars, folders and embedded folders; later ones cover earlier ones, as in an overlay file system. Nothing
//! is unpacked, so owners, modes and extended attributes need no privilege. Contents stay where they are until the tree
//! is written: at an offset in a tar, or in a file on disk.
//!
//! If a lower layer has a folder as a symbolic link, the link is followed, as dpkg does: `bin/x` becomes `usr/bin/x` in
//! a merged-/usr tree. In the layers of images and in a site's overlays, a `.wh.NAME` removes NAME from the layers
//! below.

mod disk;
mod error;
mod image_layer;
mod links;
mod overlay;
mod tar_reader;
mod tar_writer;
mod whiteout;

pub use error::TreeError;

use crate::site::SiteFolder;
use crate::width::to_u64;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Permission bits, owner, time and extended attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The permission bits.
    pub mode: u32,
    /// The user id of the owner.
    pub uid: u64,
    /// The id of the group.
    pub gid: u64,
    /// Seconds since 1970; `None` for entries from a folder, which get the time of the whole tree.
    pub mtime: Option<u64>,
    /// The extended attributes by name.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Metadata {
    /// The metadata of an entry of root with these permission bits.
    #[must_use]
    pub fn root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: None, xattrs: BTreeMap::new() }
    }
}

/// Where the bytes of a file are stored.
#[derive(Debug, Clone)]
enum Content {
    Bytes(Arc<[u8]>),
    InTar {
        tar: Arc<File>,
        offset: u64,
        length: u64,
    },
    OnDisk {
        path: PathBuf,
        length: u64,
    },
    /// A file in a folder whose links are data.
    InFolder {
        folder: SiteFolder,
        path: PathBuf,
        length: u64,
    },
}

impl Content {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => to_u64(bytes.len()),
            Self::InTar { length, .. } | Self::OnDisk { length, .. } | Self::InFolder { length, .. } => {
                *length
            }
        }
    }
}

/// The kind of an entry, and its content.
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
    layer: Arc<Layer>,
}

/// The layer of an entry, for messages; and whether two layers of its kind may have the same file.
#[derive(Debug, Default)]
struct Layer {
    name: String,
    is_overlay: bool,
}

impl Layer {
    fn called(&self, otherwise: &str) -> String {
        if self.name.is_empty() { otherwise.to_owned() } else { self.name.clone() }
    }
}

/// A tree made of layers. Paths have no slash at either end; the top folder itself is not listed.
#[derive(Debug, Clone, Default)]
pub struct LayeredTree {
    /// A file with hard links is one inode with several paths. Inodes without a path are never written.
    inodes: Vec<Inode>,
    paths: BTreeMap<String, usize>,
    /// The layer that new entries belong to.
    layer: Arc<Layer>,
}

impl LayeredTree {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a new layer with this name, for messages.
    pub fn begin_layer(&mut self, name: impl Into<String>) {
        self.layer = Arc::new(Layer { name: name.into(), is_overlay: false });
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.keys().map(String::as_str)
    }

    /// The bytes of all files; a file with several names counts once.
    #[must_use]
    pub fn content_length(&self) -> u64 {
        let used: BTreeSet<usize> = self.paths.values().copied().collect();
        let length = |inode: &Inode| match &inode.what {
            What::File(content) => content.length(),
            _ => 0,
        };
        used.into_iter().filter_map(|number| self.inodes.get(number)).map(length).sum()
    }

    /// Whether the path exists. Links in the path are followed, a link at its end is not.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.locate(path).is_ok_and(|path| self.paths.contains_key(&path))
    }

    /// Whether the path is a folder, following links.
    #[must_use]
    pub fn is_directory(&self, path: &str) -> bool {
        self.follow(path).is_ok_and(|path| {
            path.is_empty() || self.inode(&path).is_some_and(|inode| matches!(inode.what, What::Directory))
        })
    }

    /// Whether the path is a plain file, without following a link.
    #[must_use]
    pub fn is_file(&self, path: &str) -> bool {
        self.inode(path).is_some_and(|inode| matches!(inode.what, What::File(_)))
    }

    /// All names (hard links) of the file at `path`, following links; empty if that is not a file.
    #[must_use]
    pub fn names_of(&self, path: &str) -> Vec<&str> {
        let found = self.follow(path).ok().and_then(|path| self.paths.get(&path).copied());
        let file = found.filter(|&number| matches!(self.inodes[number].what, What::File(_)));
        let names = self.paths.iter().filter(|(_, number)| Some(**number) == file);
        names.map(|(path, _)| path.as_str()).collect()
    }

    /// The target of the link at `path`.
    #[must_use]
    pub fn link_target(&self, path: &str) -> Option<&str> {
        match &self.inode(path)?.what {
            What::Symlink(target) => Some(target),
            _ => None,
        }
    }

    /// Mode, owner, time and attributes of `path`, without following a link.
    #[must_use]
    pub fn metadata(&self, path: &str) -> Option<&Metadata> {
        self.inode(path).map(|inode| &inode.metadata)
    }

    /// Adds a file with these bytes at `path`.
    pub fn insert_file(
        &mut self,
        path: &str,
        mode: u32,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<(), TreeError> {
        self.insert(path, What::File(Content::Bytes(bytes.into())), Metadata::root(mode))
    }

    /// Adds the file at `source` on this machine at `path`.
    pub fn insert_file_from(&mut self, path: &str, mode: u32, source: &Path) -> Result<(), TreeError> {
        let content = disk::content_of(source)?;
        self.insert(path, What::File(content), Metadata::root(mode))
    }

    /// Replaces the bytes at `path`, with this mode, owner and time.
    pub(crate) fn replace_file(
        &mut self,
        path: &str,
        bytes: Vec<u8>,
        metadata: Metadata,
    ) -> Result<(), TreeError> {
        self.insert(path, What::File(Content::Bytes(bytes.into())), metadata)
    }

    /// Makes a folder, or gives an existing one these permission bits.
    pub fn insert_directory(&mut self, path: &str, mode: u32) -> Result<(), TreeError> {
        self.insert(path, What::Directory, Metadata::root(mode))
    }

    /// Makes a symbolic link.
    pub fn insert_symlink(&mut self, path: &str, target: &str) -> Result<(), TreeError> {
        self.insert(path, What::Symlink(target.to_owned()), Metadata::root(0o777))
    }

    /// Removes `path` with everything below; it need not exist.
    pub fn remove(&mut self, path: &str) {
        let Ok(path) = self.locate(path) else { return };
        self.paths.remove(&path);
        self.remove_below(&path);
    }

    /// Removes everything below the folder at `path`, whose links are already resolved; empty for the top folder.
    fn remove_below(&mut self, path: &str) {
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
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

    /// Adds an entry at `path`, with the folders above it.
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
        if let Some(lower) = self.inode(&place) {
            let (lower_folder, upper_folder) =
                (matches!(lower.what, What::Directory), matches!(what, What::Directory));
            if lower_folder != upper_folder {
                return Err(self.conflict(&place, lower, what.name()));
            }
        }
        self.put(place, what, metadata)
    }

    /// Adds an entry at `place`, whose links are already resolved, in place of any other.
    fn put(&mut self, place: String, what: What, metadata: Metadata) -> Result<(), TreeError> {
        self.make_parents(&place)?;
        self.inodes.push(Inode { what, metadata, layer: Arc::clone(&self.layer) });
        self.paths.insert(place, self.inodes.len() - 1);
        Ok(())
    }

    fn conflict(&self, place: &str, lower: &Inode, upper: &'static str) -> TreeError {
        TreeError::Conflict {
            path: place.to_owned(),
            lower: lower.what.name(),
            lower_layer: lower.layer.called("a lower layer"),
            upper,
            upper_layer: self.layer.called("an upper one"),
        }
    }

    /// Gives an existing file another name.
    fn insert_hard_link(&mut self, path: &str, existing: &str) -> Result<(), TreeError> {
        let (place, existing) = (self.locate(path)?, self.locate(existing)?);
        let missing = || TreeError::DanglingHardLink { path: place.clone(), target: existing.clone() };
        let inode = *self.paths.get(&existing).ok_or_else(missing)?;
        if let Some(lower) = self.inode(&place)
            && matches!(lower.what, What::Directory)
        {
            return Err(self.conflict(&place, lower, "a hard link"));
        }
        self.make_parents(&place)?;
        self.paths.insert(place, inode);
        Ok(())
    }

    fn make_parents(&mut self, place: &str) -> Result<(), TreeError> {
        for (position, _) in place.match_indices('/') {
            let parent = &place[..position];
            match self.inode(parent) {
                Some(Inode { what: What::Directory, .. }) => {}
                Some(lower) => return Err(self.conflict(parent, lower, "a folder")),
                None => {
                    let (metadata, layer) = (Metadata::root(0o755), Arc::clone(&self.layer));
                    self.inodes.push(Inode { what: What::Directory, metadata, layer });
                    self.paths.insert(parent.to_owned(), self.inodes.len() - 1);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod image_tests;
#[cfg(test)]
mod overlay_tests;
#[cfg(test)]
mod tests;
