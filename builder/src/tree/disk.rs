//! Layers that are folders: on disk, or embedded in this program.
//!
//! Neither keeps owners, and of modes only the x-bit (embedded folders not even that), so everything belongs to root
//! and is 0644 or 0755 unless the folder's manifest says otherwise. A folder that a lower layer has stays as it is.

use super::manifest::{self, Line, Make};
use super::{Content, LayeredTree, MANIFEST_NAME, Metadata, TreeError, What};
use crate::site::{DataFolder, Kind, SiteFolder};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The content of a file on disk, not read yet.
pub(super) fn content_of(path: &Path) -> Result<Content, TreeError> {
    let metadata = fs::metadata(path).map_err(|source| TreeError::Read { path: path.to_owned(), source })?;
    Ok(Content::OnDisk { path: path.to_owned(), length: metadata.len() })
}

/// Something in a folder, as it is laid where nothing else is said.
#[derive(Debug)]
pub(super) struct Found {
    /// Its path below the folder.
    pub(super) path: String,
    pub(super) on_disk: PathBuf,
    pub(super) what: What,
    /// Permission bits that depend on the x-bit alone, and not on whose umask the files were made with.
    pub(super) mode: u32,
}

/// Everything in a folder in the order of names, folders before what is in them, without the manifest.
pub(super) fn found_in(folder: &SiteFolder) -> Result<Vec<Found>, TreeError> {
    let data = folder.data().map_err(|source| TreeError::Read { path: folder.path(), source })?;
    let mut found = Vec::new();
    walk(folder, &data, "", &mut found)?;
    Ok(found)
}

impl LayeredTree {
    /// Lays the folder `dir` of this machine over the tree, at `prefix` (empty: at the top).
    pub fn add_directory(&mut self, dir: &Path, prefix: &str) -> Result<(), TreeError> {
        let folder = SiteFolder::open(dir);
        self.add_folder(&folder.map_err(|source| TreeError::Read { path: dir.to_owned(), source })?, prefix)
    }

    /// Lays a folder of a site over the tree, at `prefix`. Links in it are laid as links.
    pub fn add_folder(&mut self, folder: &SiteFolder, prefix: &str) -> Result<(), TreeError> {
        let manifest_path = folder.path_of(MANIFEST_NAME);
        let found = found_in(folder)?;
        let mut lines = match folder.text(MANIFEST_NAME) {
            Ok(text) => manifest::parse(&manifest_path, &text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(TreeError::Read { path: manifest_path, source }),
        };
        for found in found {
            let line = lines.remove(&found.path);
            self.lay(prefix, &found.path, found.what, found.mode, line)?;
        }
        self.make_the_rest(&manifest_path, prefix, lines)
    }

    /// Lays a folder that was embedded with `include_dir` over the tree, but for files that `keep` turns down.
    pub fn add_embedded(
        &mut self,
        dir: &include_dir::Dir<'_>,
        keep: &dyn Fn(&str) -> bool,
    ) -> Result<(), TreeError> {
        let mut files = Vec::new();
        walk_embedded(dir, &mut files);
        files.sort_by_key(|file| file.path());
        let manifest_path = dir.path().join(MANIFEST_NAME);
        let not_layable = |path: &Path, problem| TreeError::NotLayable { path: path.to_owned(), problem };
        let text = match dir.get_file(&manifest_path) {
            Some(file) => file
                .contents_utf8()
                .ok_or_else(|| not_layable(&manifest_path, "the manifest is not UTF-8"))?,
            None => "",
        };
        let mut lines = manifest::parse(&manifest_path, text)?;
        for file in files {
            let relative = file.path().strip_prefix(dir.path());
            let relative = relative.map_err(|_| not_layable(file.path(), "it is outside of its folder"))?;
            let relative = utf8(relative)?;
            if !keep(&relative) {
                continue;
            }
            let bytes = file.contents();
            let program = bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF");
            let content = What::File(Content::Bytes(Arc::from(bytes)));
            let line = lines.remove(&relative);
            self.lay("", &relative, content, if program { 0o755 } else { 0o644 }, line)?;
        }
        self.make_the_rest(&manifest_path, "", lines)
    }

    fn lay(
        &mut self,
        prefix: &str,
        relative: &str,
        what: What,
        mode: u32,
        line: Option<Line>,
    ) -> Result<(), TreeError> {
        let path = join(prefix, relative);
        if matches!(what, What::Directory) && line.is_none() && self.is_directory(&path) {
            return Ok(());
        }
        let line = line.unwrap_or_default();
        let metadata = Metadata { uid: line.uid, gid: line.gid, ..Metadata::root(line.mode.unwrap_or(mode)) };
        self.insert(&path, what, metadata)
    }

    /// Makes what stands in the manifest only.
    fn make_the_rest(
        &mut self,
        manifest_path: &Path,
        prefix: &str,
        lines: BTreeMap<String, Line>,
    ) -> Result<(), TreeError> {
        for (path, line) in lines {
            let (what, mode) = match &line.make {
                Make::Directory => (What::Directory, 0o755),
                Make::Link(target) => (What::Symlink(target.clone()), 0o777),
                Make::Nothing => {
                    let problem = format!("{path} is not in this folder");
                    let (path, line) = (manifest_path.to_owned(), line.number);
                    return Err(TreeError::BadManifest { path, line, problem });
                }
            };
            self.lay(prefix, &path, what, mode, Some(line))?;
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
        if relative.is_empty() && name == MANIFEST_NAME {
            continue;
        }
        let below = join(relative, &name);
        let on_disk = folder.path_of(&below);
        let (what, mode) = match entry.kind {
            Kind::Folder => (What::Directory, 0o755),
            Kind::Link => {
                let target = data.link(Path::new(&below)).map_err(read(&below))?;
                (What::Symlink(utf8(&target)?), 0o777)
            }
            Kind::File => {
                let (folder, path) = (folder.clone(), below.clone().into());
                let content = Content::InFolder { folder, path, length: entry.length };
                (What::File(content), if entry.executable { 0o755 } else { 0o644 })
            }
            Kind::Other(_) => {
                let problem = "neither file, folder nor link: it cannot be laid over a root";
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
            include_dir::DirEntry::File(file) => {
                if !file.path().ends_with(MANIFEST_NAME) {
                    out.push(file);
                }
            }
        }
    }
}
