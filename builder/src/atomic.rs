//! The only way in which an output file appears: written without a name (`O_TMPFILE`), synced, then given its name in
//! one step.
//!
//! On file systems without unnamed files, and for tools that write to a path, it is a temporary file in the same
//! folder. A signal removes it, and it is locked, so that the next run for the same output removes what a SIGKILL left
//! behind. Until [`AtomicFile::commit`] the final name does not exist or has the old file; if it is dropped before,
//! nothing is left.
//!
//! Links are followed, as in any editor, except those of other users in folders where every user may write.

use crate::beneath::{self, PathProblem};
use crate::error::{Class, Classified};
use crate::leftovers::{self, Entered, Leftover};
use nix::unistd::geteuid;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The part of a temporary file's name between the name of the output and random letters.
const MARK: &str = ".psyops-";
/// How many random names are tried.
const TRIES: u32 = 100;

/// Why an output could not be written.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum AtomicError {
    /// The path exists and is not a plain file, and a rename would destroy it.
    #[error("{path} exists and is not a plain file: choose another output")]
    NotAPlainFile {
        /// The path of the output.
        path: PathBuf,
    },
    /// The path goes through another user's link.
    #[error("the path {path} goes through a symbolic link of another user: {problem}")]
    ForeignLink {
        /// The path of the output.
        path: PathBuf,
        /// The path of the link, and its owner.
        problem: PathProblem,
    },
    /// The path is a file of another user in a folder where every user may write.
    #[error("{path} is a file of user {owner} in a folder where every user may write")]
    ForeignFile {
        /// The path of the output.
        path: PathBuf,
        /// The id of the file's owner.
        owner: u32,
    },
    /// The temporary file could not be created.
    #[error("cannot create {path}: {source}")]
    Create {
        /// The path of the output.
        path: PathBuf,
        /// The error from creating it.
        r#source: io::Error,
    },
    /// Writing the file failed.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The path of the output.
        path: PathBuf,
        /// The error from writing it.
        r#source: io::Error,
    },
    /// The file was written, but could not be given its name.
    #[error("cannot move the finished file to {path}: {source}")]
    Finish {
        /// The path of the output.
        path: PathBuf,
        /// The error from the sync or the rename.
        r#source: io::Error,
    },
}

impl AtomicError {
    fn io(&self) -> Option<&io::Error> {
        match self {
            Self::NotAPlainFile { .. } | Self::ForeignLink { .. } | Self::ForeignFile { .. } => None,
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
            AtomicError::ForeignLink { problem, .. } => problem.into(),
            AtomicError::ForeignFile { .. } => io::ErrorKind::PermissionDenied.into(),
            AtomicError::Create { source, .. }
            | AtomicError::Write { source, .. }
            | AtomicError::Finish { source, .. } => source,
        }
    }
}

impl Classified for AtomicError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::ForeignLink { .. } | Self::ForeignFile { .. } => Class::Refused,
            _ => self.io().map_or(Class::CannotCreate, Class::of_writing),
        })
    }

    fn own_advice(&self) -> Option<String> {
        if matches!(self, Self::ForeignLink { .. } | Self::ForeignFile { .. }) {
            return Some("write to a folder of yours".into());
        }
        let (Self::NotAPlainFile { path }
        | Self::ForeignLink { path, .. }
        | Self::ForeignFile { path, .. }
        | Self::Create { path, .. }
        | Self::Write { path, .. }
        | Self::Finish { path, .. }) = self;
        let folder = folder_of(path);
        match self.io()?.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
                "no space left in {}: free some, or write to another folder; the unfinished file was removed",
                folder.display()
            )),
            io::ErrorKind::NotFound => Some(format!("create the folder {} first", folder.display())),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some(format!("write to a folder of yours instead of {}", folder.display()))
            }
            _ => None,
        }
    }
}

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

/// The temporary name of a file, which is removed when this is dropped.
#[derive(Debug)]
struct Temporary {
    folder: Arc<OwnedFd>,
    name: OsString,
    /// The path of the temporary file, for tools.
    path: PathBuf,
    _entered: Entered,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The file may have its final name by now.
        let _ = rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
    }
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

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

/// The folder and name of an output, which is a plain file of this user or does not exist yet.
fn place_of(path: &Path, me: u32) -> Result<(OwnedFd, OsString), AtomicError> {
    let create = |source| AtomicError::Create { path: path.to_owned(), source };
    let (folder, name) = beneath::parent(path, me).map_err(|source| {
        match source.get_ref().and_then(|inner| inner.downcast_ref::<PathProblem>()) {
            Some(problem @ PathProblem::ForeignLink { .. }) => {
                AtomicError::ForeignLink { path: path.to_owned(), problem: problem.clone() }
            }
            _ => create(source),
        }
    })?;
    match rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {}
        Err(error) => return Err(create(error.into())),
        Ok(facts) if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile => {
            return Err(AtomicError::NotAPlainFile { path: path.to_owned() });
        }
        Ok(facts) => {
            let folder = rustix::fs::fstat(&folder).map_err(|error| create(error.into()))?;
            if !may_replace(&folder, &facts, me) {
                return Err(AtomicError::ForeignFile { path: path.to_owned(), owner: facts.st_uid });
            }
        }
    }
    Ok((folder, name))
}

/// The kernel's rule `protected_regular` (`proc_sys_fs(5)`), applied to replacing as well.
fn may_replace(folder: &Stat, file: &Stat, me: u32) -> bool {
    !beneath::is_shared(folder) || file.st_uid == me || file.st_uid == folder.st_uid
}

/// Creates a file with a temporary name.
fn named(folder: &Arc<OwnedFd>, name: &OsStr, path: &Path, mode: u32) -> io::Result<(File, Temporary)> {
    sweep(folder, name);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    temporary(folder, name, folder_of(path), |name| {
        let file = File::from(rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(mode))?);
        lock(&file)?;
        Ok(file)
    })
}

/// Creates something under a temporary name.
fn temporary<T>(
    folder: &Arc<OwnedFd>,
    name: &OsStr,
    path: &Path,
    make: impl Fn(&OsStr) -> io::Result<T>,
) -> io::Result<(T, Temporary)> {
    let mut tries = 0;
    loop {
        let temporary = temporary_name(name)?;
        let result = leftovers::create(|| {
            let thing = make(&temporary)?;
            Ok((thing, Leftover::File { folder: Arc::clone(folder), name: temporary.clone() }))
        });
        tries += 1;
        match result {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => {}
            Err(error) => return Err(error),
            Ok((thing, entered)) => {
                let path = path.join(&temporary);
                let folder = Arc::clone(folder);
                return Ok((thing, Temporary { folder, name: temporary, path, _entered: entered }));
            }
        }
    }
}

/// `.NAME.psyops-XXXXXXXX`
fn temporary_name(name: &OsStr) -> io::Result<OsString> {
    let mut random = [0_u8; 4];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let mut temporary = prefix_of(name);
    temporary.push(format!("{:08x}", u32::from_ne_bytes(random)));
    Ok(temporary)
}

fn prefix_of(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(MARK);
    prefix
}

/// Shows other runs that the file's writer is alive. On file systems without locks, no file is removed.
fn lock(file: &File) -> io::Result<()> {
    match rustix::fs::flock(file.as_fd(), rustix::fs::FlockOperation::NonBlockingLockShared) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::WOULDBLOCK) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes temporary files of this output whose writers ended without removing them. Files that cannot be removed stay.
fn sweep(folder: &OwnedFd, name: &OsStr) {
    let Ok(open) = rustix::fs::openat(folder, ".", folder_flags(), Mode::empty()) else { return };
    let Ok(entries) = rustix::fs::Dir::new(open) else { return };
    let prefix = prefix_of(name);
    for entry in entries.filter_map(Result::ok) {
        let found = entry.file_name();
        let Some(rest) = found.to_bytes().strip_prefix(prefix.as_encoded_bytes()) else { continue };
        if rest.len() != 8 || !rest.iter().all(u8::is_ascii_hexdigit) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(folder, found, flags, Mode::empty()) else { continue };
        let ours = rustix::fs::fstat(&file).is_ok_and(|facts| facts.st_uid == geteuid().as_raw());
        if ours && rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = rustix::fs::unlinkat(folder, found, AtFlags::empty());
        }
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

/// The folder of `path`; the current one if it has none.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
