//! Layers that are folders: on disk, or embedded in this program.
//!
//! Neither keeps owners, and of modes only the x-bit (embedded folders not even that), so everything belongs to root
//! and is 0644 or 0755 unless the folder's manifest says otherwise. A folder that a lower layer has stays as it is.

use super::manifest::{self, Line, Make};
use super::{Content, LayeredTree, MANIFEST_NAME, Metadata, TreeError, What};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
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

/// Everything in `dir` in the order of names, folders before what is in them, without the manifest.
pub(super) fn found_in(dir: &Path) -> Result<Vec<Found>, TreeError> {
    let mut files = Vec::new();
    walk(dir, "", &mut files)?;
    let found = |(path, on_disk): (String, PathBuf)| {
        let what = what_is(&on_disk)?;
        let mode = match &what {
            What::File(_) => {
                let bits = fs::metadata(&on_disk).map(|metadata| metadata.permissions().mode());
                let bits = bits.map_err(|source| TreeError::Read { path: on_disk.clone(), source })?;
                if bits & 0o100 == 0 { 0o644 } else { 0o755 }
            }
            What::Symlink(_) => 0o777,
            _ => 0o755,
        };
        Ok(Found { path, on_disk, what, mode })
    };
    files.into_iter().map(found).collect()
}

impl LayeredTree {
    /// Lays the folder `dir` over the tree, at `prefix` (empty: at the top).
    pub fn add_directory(&mut self, dir: &Path, prefix: &str) -> Result<(), TreeError> {
        let manifest_path = dir.join(MANIFEST_NAME);
        let mut lines = match fs::read_to_string(&manifest_path) {
            Ok(text) => manifest::parse(&manifest_path, &text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(TreeError::Read { path: manifest_path, source }),
        };
        for found in found_in(dir)? {
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
        let text =
            dir.get_file(&manifest_path).and_then(include_dir::File::contents_utf8).unwrap_or_default();
        let mut lines = manifest::parse(&manifest_path, text)?;
        for file in files {
            let relative = file.path().strip_prefix(dir.path()).unwrap_or(file.path());
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

/// Everything in `dir` in the order of names, folders before what is in them, without the manifest.
fn walk(dir: &Path, relative: &str, out: &mut Vec<(String, PathBuf)>) -> Result<(), TreeError> {
    let read = |source| TreeError::Read { path: dir.to_owned(), source };
    let mut paths = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "sorted right below")]
    for entry in fs::read_dir(dir).map_err(read)? {
        paths.push(entry.map_err(read)?.path());
    }
    paths.sort();
    for path in paths {
        let name = utf8(Path::new(path.file_name().unwrap_or_default()))?;
        if relative.is_empty() && name == MANIFEST_NAME {
            continue;
        }
        let below = join(relative, &name);
        let is_folder = fs::symlink_metadata(&path)
            .map_err(|source| TreeError::Read { path: path.clone(), source })?
            .is_dir();
        out.push((below.clone(), path.clone()));
        if is_folder {
            walk(&path, &below, out)?;
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

fn what_is(path: &Path) -> Result<What, TreeError> {
    let read = |source| TreeError::Read { path: path.to_owned(), source };
    let metadata = fs::symlink_metadata(path).map_err(read)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        Ok(What::Directory)
    } else if kind.is_symlink() {
        utf8(&fs::read_link(path).map_err(read)?).map(What::Symlink)
    } else if kind.is_file() {
        Ok(What::File(Content::OnDisk { path: path.to_owned(), length: metadata.len() }))
    } else {
        let problem = "neither file, folder nor link: it cannot be laid over a root";
        Err(TreeError::NotLayable { path: path.to_owned(), problem })
    }
}
