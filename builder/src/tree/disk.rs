//! Layers that are folders: on disk, or embedded in this program.
//!
//! Neither has owners, and of modes they have only the x-bit (embedded folders not even that), so all files belong to
//! root and have mode 0644 or 0755. A folder that a lower layer has is not changed.

use super::{Content, LayeredTree, Metadata, TreeError, What};
use crate::site::{DataFolder, SiteEntryKind, SiteFolder};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The content of a file on disk, which is not read yet.
pub(super) fn content_of(path: &Path) -> Result<Content, TreeError> {
    let metadata = fs::metadata(path).map_err(|source| TreeError::Read { path: path.to_owned(), source })?;
    Ok(Content::OnDisk { path: path.to_owned(), length: metadata.len() })
}

/// An entry of a folder, with its default attributes.
#[derive(Debug)]
pub(super) struct Found {
    /// The path below the folder.
    pub(super) path: String,
    pub(super) on_disk: PathBuf,
    pub(super) what: What,
    /// The permission bits, which depend only on the x-bit, and not on the umask with which the files were made.
    pub(super) mode: u32,
}

/// All entries of a folder sorted by name, folders before their entries.
pub(super) fn found_in(folder: &SiteFolder) -> Result<Vec<Found>, TreeError> {
    let data = folder.data().map_err(|source| TreeError::Read { path: folder.path(), source })?;
    let mut found = Vec::new();
    walk(folder, &data, "", &mut found)?;
    Ok(found)
}

impl LayeredTree {
    /// Adds the folder `dir` of this machine as a layer, at `prefix` (empty: at the top).
    pub fn add_directory(&mut self, dir: &Path, prefix: &str) -> Result<(), TreeError> {
        let folder = SiteFolder::open(dir);
        self.add_folder(&folder.map_err(|source| TreeError::Read { path: dir.to_owned(), source })?, prefix)
    }

    /// Adds a folder of a site as a layer, at `prefix`. Links in it stay links.
    pub fn add_folder(&mut self, folder: &SiteFolder, prefix: &str) -> Result<(), TreeError> {
        for found in found_in(folder)? {
            let path = join(prefix, &found.path);
            if !(matches!(found.what, What::Directory) && self.is_directory(&path)) {
                self.insert(&path, found.what, Metadata::root(found.mode))?;
            }
        }
        Ok(())
    }

    /// Adds the files of a folder that was embedded with `include_dir` as a layer. `metadata` gets each file with its
    /// default attributes; `None` leaves the file out.
    pub fn add_embedded(
        &mut self,
        dir: &include_dir::Dir<'_>,
        metadata: &dyn Fn(&str, Metadata) -> Option<Metadata>,
    ) -> Result<(), TreeError> {
        let mut files = Vec::new();
        walk_embedded(dir, &mut files);
        files.sort_by_key(|file| file.path());
        for file in files {
            let relative = file.path().strip_prefix(dir.path());
            let outside = |_| TreeError::NotLayable {
                path: file.path().to_owned(),
                problem: "it is outside of its folder",
            };
            let relative = relative.map_err(outside)?;
            let relative = utf8(relative)?;
            let bytes = file.contents();
            let program = bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF");
            let own = Metadata::root(if program { 0o755 } else { 0o644 });
            if let Some(metadata) = metadata(&relative, own) {
                self.insert(&relative, What::File(Content::Bytes(Arc::from(bytes))), metadata)?;
            }
        }
        Ok(())
    }
}

fn join(prefix: &str, relative: &str) -> String {
    match prefix.trim_matches('/') {
        "" => relative.to_owned(),
        prefix => format!("{prefix}/{relative}"),
    }
}

fn utf8(path: &Path) -> Result<String, TreeError> {
    let problem = "the name is not UTF-8";
    path.to_str().map(str::to_owned).ok_or_else(|| TreeError::NotLayable { path: path.to_owned(), problem })
}

fn walk(
    folder: &SiteFolder,
    data: &DataFolder,
    relative: &str,
    out: &mut Vec<Found>,
) -> Result<(), TreeError> {
    let read = |path: &str| {
        let path = folder.path_of(path);
        move |source| TreeError::Read { path, source }
    };
    for entry in data.entries(Path::new(relative)).map_err(read(relative))? {
        let name = utf8(Path::new(&entry.name))?;
        let below = join(relative, &name);
        let on_disk = folder.path_of(&below);
        let (what, mode) = match entry.kind {
            SiteEntryKind::Folder => (What::Directory, 0o755),
            SiteEntryKind::Link => {
                let target = data.link(Path::new(&below)).map_err(read(&below))?;
                (What::Symlink(utf8(&target)?), 0o777)
            }
            SiteEntryKind::File => {
                let (folder, path) = (folder.clone(), below.clone().into());
                let content = Content::InFolder { folder, path, length: entry.length };
                (What::File(content), if entry.executable { 0o755 } else { 0o644 })
            }
            SiteEntryKind::Other(_) => {
                let problem = "not a file, folder or link: an overlay cannot have it";
                return Err(TreeError::NotLayable { path: on_disk, problem });
            }
        };
        let is_folder = matches!(what, What::Directory);
        out.push(Found { path: below.clone(), on_disk, what, mode });
        if is_folder {
            walk(folder, data, &below, out)?;
        }
    }
    Ok(())
}

fn walk_embedded<'a>(dir: &'a include_dir::Dir<'a>, out: &mut Vec<&'a include_dir::File<'a>>) {
    for entry in dir.entries() {
        match entry {
            include_dir::DirEntry::Dir(dir) => walk_embedded(dir, out),
            include_dir::DirEntry::File(file) => out.push(file),
        }
    }
}
