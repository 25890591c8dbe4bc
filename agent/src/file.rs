//! Files of the running system: read with the path in the error, written completely or not at all, listed in order.

use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// An operation on a file or folder that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}", path = path.display())]
pub struct FileError {
    /// The operation, as a verb.
    pub action: &'static str,
    /// The path of the file or folder.
    pub path: PathBuf,
    /// The operating system's error.
    pub source: io::Error,
}

impl FileError {
    /// Whether the file or folder does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Adds the operation and the path to an error.
pub fn failing<T, E: Into<io::Error>>(
    action: &'static str,
    path: &Path,
    result: Result<T, E>,
) -> Result<T, FileError> {
    result.map_err(|source| FileError { action, path: path.to_owned(), source: source.into() })
}

/// Reads a file as text.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    failing("read", path, fs::read_to_string(path))
}

/// Reads a file as bytes.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    failing("read", path, fs::read(path))
}

/// The names in a folder, in order; none if the folder does not exist.
pub fn names(folder: &Path) -> Result<Vec<OsString>, FileError> {
    #[expect(clippy::disallowed_methods, reason = "this is the sorted walk that everything else uses")]
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => failing("list", folder, other)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(failing("list", folder, entry)?.file_name());
    }
    names.sort();
    Ok(names)
}

/// Creates a folder and the missing folders above it.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    failing("create the folder", path, fs::create_dir_all(path))
}

/// Replaces a file by `content` with `mode`; `false` if it has both already. A reader sees the old file or the new one,
/// never a part: it writes a temporary file in the same folder, flushes it to the medium, and renames it.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<bool, FileError> {
    if holds(path, content, mode) {
        return Ok(false);
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    create_folder(folder)?;
    let temporary = temporary_beside(path);
    let _ = fs::remove_file(&temporary);
    let written = write_new(&temporary, content, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    failing("write", path, written)?;
    failing("write", folder, sync_folder(folder))?;
    Ok(true)
}

/// The temporary name of `path`, under which it is written before the rename.
#[must_use]
pub fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".psyops-new");
    path.with_file_name(name)
}

/// Opens a log that only root can read, to append to it.
pub fn open_log(path: &Path) -> Result<File, FileError> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let opened = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    failing("open the log", path, opened)
}

fn holds(path: &Path, content: &[u8], mode: u32) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(descriptor) = rustix::fs::open(path, flags, Mode::empty()) else { return false };
    let mut file = File::from(descriptor);
    let same = file.metadata().is_ok_and(|facts| {
        facts.is_file()
            && facts.permissions().mode() & 0o7777 == mode
            && facts.uid() == rustix::process::geteuid().as_raw()
            && usize::try_from(facts.len()).is_ok_and(|length| length == content.len())
    });
    let mut found = Vec::with_capacity(content.len());
    same && file.read_to_end(&mut found).is_ok() && found == content
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        assert!(write(&path, b"x", 0o640).unwrap());
        assert!(!write(&path, b"x", 0o640).unwrap());
        assert!(write(&path, b"x", 0o600).unwrap(), "another mode is a change");
        assert!(write(&path, b"y", 0o600).unwrap(), "another content is a change");
        assert_eq!(names(path.parent().unwrap()).unwrap(), ["b"], "no temporary file stays");
    }

    #[test]
    fn a_link_in_place_of_a_file_is_replaced_and_its_target_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, b"x").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(write(&link, b"new", 0o644).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"x");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }

    #[test]
    fn the_error_names_the_file() {
        let error = read_text(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.is_missing());
        assert!(error.to_string().starts_with("cannot read /nowhere/at/all: "), "{error}");
    }
}
