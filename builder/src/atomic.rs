//! The one way an output file appears: a temporary file in the same folder, fsync, rename, fsync of the folder.
//!
//! Until [`AtomicFile::commit`] nothing is seen under the final name; dropped before, nothing is left behind.

use crate::error::{Class, Classified};
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Why an output could not be written.
#[derive(Debug, thiserror::Error)]
pub enum AtomicError {
    /// There is something under that name that a rename would destroy without being a plain file.
    #[error("{path} exists and is no plain file: choose another output")]
    NotAPlainFile {
        /// The output.
        path: PathBuf,
    },
    /// The temporary file could not be made.
    #[error("cannot create {path}: {source}")]
    Create {
        /// The output.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed midway.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The output.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Written, but it did not reach its name.
    #[error("cannot move the finished file to {path}: {source}")]
    Finish {
        /// The output.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl AtomicError {
    fn io(&self) -> Option<&io::Error> {
        match self {
            Self::NotAPlainFile { .. } => None,
            Self::Create { source, .. } | Self::Write { source, .. } | Self::Finish { source, .. } => {
                Some(source)
            }
        }
    }
}

impl From<AtomicError> for io::Error {
    fn from(error: AtomicError) -> Self {
        match error {
            AtomicError::NotAPlainFile { .. } => io::ErrorKind::AlreadyExists.into(),
            AtomicError::Create { source, .. }
            | AtomicError::Write { source, .. }
            | AtomicError::Finish { source, .. } => source,
        }
    }
}

impl Classified for AtomicError {
    fn class(&self) -> Class {
        self.io().map_or(Class::CannotCreate, Class::of_writing)
    }

    fn advice(&self) -> Option<String> {
        let (Self::NotAPlainFile { path }
        | Self::Create { path, .. }
        | Self::Write { path, .. }
        | Self::Finish { path, .. }) = self;
        let folder = folder_of(path);
        match self.io()?.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
                "no room left in {}: free some, or write to another place; nothing was left there",
                folder.display()
            )),
            io::ErrorKind::NotFound => Some(format!("make the folder {} first", folder.display())),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some(format!("write to a folder that is yours instead of {}", folder.display()))
            }
            _ => None,
        }
    }
}

/// A file that is being written and appears under its name in one step.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    temporary: NamedTempFile,
}

impl AtomicFile {
    /// Begins an output that everybody may read (as far as the umask allows).
    pub fn create(path: &Path) -> Result<Self, AtomicError> {
        Self::with_mode(path, 0o644)
    }

    /// Begins an output that only its owner may read.
    pub fn create_private(path: &Path) -> Result<Self, AtomicError> {
        Self::with_mode(path, 0o600)
    }

    /// Begins an output with these permission bits (less the umask).
    pub fn with_mode(path: &Path, mode: u32) -> Result<Self, AtomicError> {
        let create = |source| AtomicError::Create { path: path.to_owned(), source };
        // A link stays a link: what it points to is replaced, as with any editor.
        let path = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => fs::canonicalize(path).map_err(create)?,
            Ok(metadata) if !metadata.is_file() => {
                return Err(AtomicError::NotAPlainFile { path: path.to_owned() });
            }
            _ => path.to_owned(),
        };
        if path.is_dir() || (path.exists() && !path.is_file()) {
            return Err(AtomicError::NotAPlainFile { path });
        }
        let mut prefix = OsString::from(".");
        prefix.push(path.file_name().unwrap_or_default());
        prefix.push(".");
        let temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder_of(&path))
            .map_err(|source| AtomicError::Create { path: path.clone(), source })?;
        Ok(Self { path, temporary })
    }

    /// The name under which it will appear.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it lies meanwhile, for tools that write to a path. It must stay the same file.
    #[must_use]
    pub fn temporary_path(&self) -> &Path {
        self.temporary.path()
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        self.temporary.as_file()
    }

    /// The open file, to write to.
    pub fn file_mut(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// Makes the file `length` bytes long; what was not written is a hole.
    pub fn set_len(&mut self, length: u64) -> Result<(), AtomicError> {
        let result = self.file().set_len(length);
        self.check(result)
    }

    /// Writes `bytes` at `offset`.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), AtomicError> {
        let result = std::os::unix::fs::FileExt::write_all_at(self.file(), bytes, offset);
        self.check(result)
    }

    /// Gives an error of reading or writing this file its name.
    pub fn check<T>(&self, result: io::Result<T>) -> Result<T, AtomicError> {
        result.map_err(|source| AtomicError::Write { path: self.path.clone(), source })
    }

    /// Brings everything to the disk and gives the file its name.
    pub fn commit(self) -> Result<(), AtomicError> {
        let Self { path, temporary } = self;
        temporary.as_file().sync_all().map_err(|source| AtomicError::Write { path: path.clone(), source })?;
        let finish = |source| AtomicError::Finish { path: path.clone(), source };
        temporary.persist(&path).map_err(|error| finish(error.error))?;
        File::open(folder_of(&path)).and_then(|folder| folder.sync_all()).map_err(finish)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.as_file_mut().flush()
    }
}

impl Read for AtomicFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.temporary.as_file_mut().read(bytes)
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.temporary.as_file_mut().seek(to)
    }
}

/// Writes a whole file at once, readable for everybody.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), AtomicError> {
    write_file_with_mode(path, bytes, 0o644)
}

/// Writes a whole file at once, with these permission bits.
pub fn write_file_with_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<(), AtomicError> {
    let mut file = AtomicFile::with_mode(path, mode)?;
    let result = file.write_all(bytes);
    file.check(result)?;
    file.commit()
}

/// The folder that holds `path`; the current one where it has none.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        #[expect(clippy::disallowed_methods, reason = "sorted right below")]
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_appears_before_the_commit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn dropped_means_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = AtomicFile::create(&folder.path().join("out")).unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_at(5, b"x").unwrap();
        drop(file);
        assert_eq!(names(folder.path()), [] as [&str; 0]);
    }

    #[test]
    fn a_private_file_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let mut file = AtomicFile::create_private(&path).unwrap();
        file.write_all(b"k").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = AtomicFile::create(&folder.path().join("no/out")).unwrap_err();
        assert!(matches!(&error, AtomicError::Create { .. }), "{error}");
        assert_eq!(error.class(), Class::CannotCreate);
        assert!(error.advice().unwrap().ends_with("/no first"));
    }

    #[test]
    fn a_folder_or_device_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), Path::new("/dev/null")] {
            let error = AtomicFile::create(path).unwrap_err();
            assert!(matches!(error, AtomicError::NotAPlainFile { .. }), "{error}");
        }
    }

    #[test]
    fn a_full_disk_is_said_with_its_folder() {
        let full = AtomicError::Write { path: "/big/x".into(), source: io::ErrorKind::StorageFull.into() };
        assert_eq!(full.class(), Class::CannotCreate);
        assert!(full.advice().unwrap().starts_with("no room left in /big"));
    }
}
