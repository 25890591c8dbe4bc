//! The only way in which an output file appears: written without a name (`O_TMPFILE`), synced, then given its name in
//! one step.
//!
//! On file systems without unnamed files, and for tools that write to a path, it is a temporary file in the same
//! folder. A signal removes it, and it is locked, so that the next run for the same output removes what a SIGKILL left
//! behind. Until [`AtomicFile::commit`] the final name does not exist or has the old file; if it is dropped before,
//! nothing is left.
//!
//! Links are followed, as in any editor, except those of other users in folders where every user may write.

mod error;
mod folder;
mod place;
mod temporary;

pub use error::AtomicError;

use folder::{folder_flags, folder_of};
use nix::unistd::geteuid;
use place::place_of;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use temporary::{Temporary, lock, named, sweep, temporary};

/// A file that is being written and appears under its name in one step.
#[derive(Debug)]
pub struct AtomicFile {
    /// The final path, for messages.
    path: PathBuf,
    folder: Arc<OwnedFd>,
    name: OsString,
    file: File,
    temporary: Option<Temporary>,
}

impl AtomicFile {
    /// Begins an output that every user may read (as far as the umask allows).
    pub fn create(path: &Path) -> Result<Self, AtomicError> {
        Self::with_mode(path, 0o644)
    }

    /// Begins an output that only its owner may read.
    pub fn create_private(path: &Path) -> Result<Self, AtomicError> {
        Self::with_mode(path, 0o600)
    }

    /// Begins an output with these permission bits (less the umask).
    pub fn with_mode(path: &Path, mode: u32) -> Result<Self, AtomicError> {
        let (folder, name) = place_of(path, geteuid().as_raw())?;
        Self::within(folder, name, path.to_owned(), mode)
    }

    /// Begins a private output with a temporary name, which it returns, for a tool that writes to a path.
    pub fn create_named(path: &Path) -> Result<(Self, PathBuf), AtomicError> {
        let (folder, name) = place_of(path, geteuid().as_raw())?;
        let (folder, create) =
            (Arc::new(folder), |source| AtomicError::Create { path: path.to_owned(), source });
        let (file, temporary) = named(&folder, &name, path, 0o600).map_err(create)?;
        let at = temporary.path.clone();
        Ok((Self { path: path.to_owned(), folder, name, file, temporary: Some(temporary) }, at))
    }

    /// Begins an output in an open folder. `name` is a file there, or does not exist; `path` is its name in messages.
    pub(crate) fn within(
        folder: OwnedFd,
        name: OsString,
        path: PathBuf,
        mode: u32,
    ) -> Result<Self, AtomicError> {
        let folder = Arc::new(folder);
        sweep(&folder, &name);
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        // The folder may be opened as a path only (`O_PATH`), but "." is not.
        match rustix::fs::openat(&folder, ".", flags, Mode::from_raw_mode(mode)) {
            Ok(file) => Ok(Self { path, folder, name, file: file.into(), temporary: None }),
            // File systems and kernels without unnamed files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let begun = named(&folder, &name, &path, mode);
                let (file, temporary) =
                    begun.map_err(|source| AtomicError::Create { path: path.clone(), source })?;
                Ok(Self { path, folder, name, file, temporary: Some(temporary) })
            }
            Err(error) => Err(AtomicError::Create { path, source: error.into() }),
        }
    }

    /// The final path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The open file, for writing.
    pub fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }

    /// Sets the length of the file in bytes; what was not written is a hole.
    pub fn set_len(&mut self, length: u64) -> Result<(), AtomicError> {
        let result = self.file().set_len(length);
        self.check(result)
    }

    /// Writes `bytes` at `offset`.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), AtomicError> {
        let result = std::os::unix::fs::FileExt::write_all_at(self.file(), bytes, offset);
        self.check(result)
    }

    /// Adds the path to an error of reading or writing this file.
    pub fn check<T>(&self, result: io::Result<T>) -> Result<T, AtomicError> {
        result.map_err(|source| AtomicError::Write { path: self.path.clone(), source })
    }

    /// Writes everything to the disk and gives the file its name.
    pub fn commit(self) -> Result<(), AtomicError> {
        self.file.sync_all().map_err(|source| AtomicError::Write { path: self.path.clone(), source })?;
        let finish = |source: io::Error| AtomicError::Finish { path: self.path.clone(), source };
        match &self.temporary {
            Some(temporary) => self.rename(&temporary.name).map_err(|error| finish(error.into()))?,
            None => self.link().map_err(finish)?,
        }
        // A folder opened as a path only (`O_PATH`) cannot be synced.
        let folder = rustix::fs::openat(&self.folder, ".", folder_flags(), Mode::empty());
        folder.and_then(rustix::fs::fsync).map_err(|error| finish(error.into()))?;
        tracing::debug!(path = %self.path.display(), "wrote");
        Ok(())
    }

    fn rename(&self, temporary: &OsStr) -> Result<(), Errno> {
        rustix::fs::renameat(&self.folder, temporary, &self.folder, &self.name)
    }

    /// Gives an unnamed file its name. Replacing an older file takes two steps; the new file is complete by then.
    fn link(&self) -> io::Result<()> {
        let source = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let link =
            |name: &OsStr| rustix::fs::linkat(CWD, &source, &self.folder, name, AtFlags::SYMLINK_FOLLOW);
        match link(&self.name) {
            Err(Errno::EXIST) => {}
            other => return Ok(other?),
        }
        let path = folder_of(&self.path);
        let ((), temporary) = temporary(&self.folder, &self.name, path, |name| {
            lock(&self.file)?;
            Ok(link(name)?)
        })?;
        Ok(self.rename(&temporary.name)?)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for AtomicFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Writes a whole file in one step, readable by every user.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), AtomicError> {
    write_file_with_mode(path, bytes, 0o644)
}

/// Writes a whole file in one step, with these permission bits.
pub fn write_file_with_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<(), AtomicError> {
    let mut file = AtomicFile::with_mode(path, mode)?;
    let result = file.write_all(bytes);
    file.check(result)?;
    file.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Classified as _};
    use rustix::fs::FileType;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

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
    fn a_dropped_writer_leaves_no_file() {
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
    fn a_full_disk_is_reported_with_its_folder() {
        let full = AtomicError::Write { path: "/big/x".into(), source: io::ErrorKind::StorageFull.into() };
        assert_eq!(full.class(), Class::CannotCreate);
        assert!(full.advice().unwrap().starts_with("no space left in /big"));
    }

    #[test]
    fn a_file_has_no_name_before_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = AtomicFile::create_private(&folder.path().join("out")).unwrap();
        file.write_all(b"AGE-SECRET-KEY-1").unwrap();
        if file.temporary.is_none() {
            assert_eq!(names(folder.path()), [] as [&str; 0]);
        }
        file.commit().unwrap();
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn leftovers_of_a_killed_writer_are_removed_by_the_next_one_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let others = [".out.psyops-0000000", ".out.psyops-0000000g", ".out.backup", ".out2.psyops-00000000"];
        for name in others.into_iter().chain([".out.psyops-0123abcd"]) {
            fs::write(at(name), "key").unwrap();
        }
        let (living, path) = AtomicFile::create_named(&at("out")).unwrap();
        assert!(path.exists() && !at(".out.psyops-0123abcd").exists());
        drop(AtomicFile::create(&at("out")).unwrap());
        assert!(path.exists(), "its writer lives");
        drop(living);
        assert!(!path.exists());
        let mut expected: Vec<String> = others.map(str::to_owned).into();
        expected.sort();
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("real"), "old").unwrap();
        symlink("real", at("link")).unwrap();
        write_file(&at("link"), b"new").unwrap();
        assert!(at("link").is_symlink());
        assert_eq!(fs::read(at("real")).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["link", "real"]);
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "why nothing was tested, for scripts/skipped")]
    fn another_users_link_or_file_in_a_shared_folder_is_refused() {
        const OTHER: u32 = 54_321;
        if !geteuid().is_root() {
            println!("not tested: only root can give files to other users");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("shared")).unwrap();
        fs::set_permissions(at("shared"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::create_dir(at("mine")).unwrap();
        for (link, target) in [("shared/x.img", "../mine/x.img"), ("shared/folder", "../mine")] {
            symlink(target, at(link)).unwrap();
            std::os::unix::fs::lchown(at(link), Some(OTHER), Some(OTHER)).unwrap();
        }
        for path in ["shared/x.img", "shared/folder/x.img"] {
            let error = AtomicFile::create(&at(path)).unwrap_err();
            let name = if path.ends_with("r/x.img") { "folder" } else { "x.img" };
            assert_eq!(
                error.to_string(),
                format!(
                    "the path {} goes through a symbolic link of another user: {name} is a symbolic link of user {OTHER} in a folder where every user may write",
                    at(path).display()
                )
            );
            assert_eq!(error.class(), Class::Refused);
        }
        fs::write(at("shared/y.img"), "theirs").unwrap();
        std::os::unix::fs::lchown(at("shared/y.img"), Some(OTHER), Some(OTHER)).unwrap();
        let error = AtomicFile::create(&at("shared/y.img")).unwrap_err();
        assert!(matches!(error, AtomicError::ForeignFile { owner: OTHER, .. }), "{error}");
        rustix::fs::mknodat(CWD, at("shared/pipe"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        let error = AtomicFile::create(&at("shared/pipe")).unwrap_err();
        assert!(matches!(error, AtomicError::NotAPlainFile { .. }), "{error}");
        // If not every user may write to the folder, links are its owner's responsibility.
        fs::set_permissions(at("shared"), fs::Permissions::from_mode(0o755)).unwrap();
        write_file(&at("shared/x.img"), b"x").unwrap();
        assert_eq!(fs::read(at("mine/x.img")).unwrap(), b"x");
    }
}
