//! A private folder for plain text that a host tool must read from a path: in memory where the host has such a place,
//! readable by its owner alone, and gone with the value that stands for it.

use crate::error::{Class, Classified};
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use std::env;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The folder could not be made or filled.
#[derive(Debug, thiserror::Error)]
#[error("cannot stage secrets in {path}: {source}")]
pub struct StagingError {
    /// The folder or file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl Classified for StagingError {
    fn class(&self) -> Class {
        Class::of_writing(&self.source)
    }
}

/// The beginning of a folder's name.
const PREFIX: &str = "psyops-staging-";

/// A private folder. As long as it lives it is locked; one that is not was left behind by a process that was killed.
#[derive(Debug)]
pub struct Staging {
    folder: TempDir,
    _lock: File,
}

impl Staging {
    /// Makes one: under `XDG_RUNTIME_DIR`, else `/dev/shm`, else where temporary files go. What killed processes of this
    /// user left behind there is removed.
    pub fn new() -> Result<Self, StagingError> {
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let places = runtime.into_iter().chain([PathBuf::from("/dev/shm"), env::temp_dir()]);
        let mut failure =
            StagingError { path: env::temp_dir(), source: io::Error::from(io::ErrorKind::NotFound) };
        for place in places.filter(|place| place.is_absolute()) {
            match Self::within(&place) {
                Ok(staging) => return Ok(staging),
                Err(source) => failure = StagingError { path: place, source },
            }
        }
        Err(failure)
    }

    fn within(place: &Path) -> io::Result<Self> {
        sweep(place);
        loop {
            let folder = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(place)?;
            // In between, somebody who sweeps may take it for one that was left behind: then another is made.
            match lock(folder.path()) {
                Ok(lock) if is_at(&lock, folder.path()) => return Ok(Self { folder, _lock: lock }),
                Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotFound) => {
                    return Err(error);
                }
                _ => {}
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<(), StagingError> {
        let path = self.folder.path().join(path);
        let failed = |source| StagingError { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        fs::write(&path, content).map_err(failed)
    }
}

/// Removes the folders of this user that nobody has locked. Those that cannot be removed stay.
fn sweep(place: &Path) {
    #[expect(clippy::disallowed_methods, reason = "all are removed, so there is no order")]
    let Ok(entries) = fs::read_dir(place) else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for path in names.filter(|name| name.starts_with(PREFIX)).map(|name| place.join(name)) {
        if let Ok(_lock) = lock(&path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Locks a folder of this user; a link is none.
fn lock(folder: &Path) -> io::Result<File> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let file = File::options().read(true).custom_flags(flags.bits()).open(folder)?;
    if file.metadata()?.uid() != geteuid().as_raw() {
        return Err(ErrorKind::PermissionDenied.into());
    }
    file.try_lock()?;
    Ok(file)
}

/// Whether the open folder is the one at `path`.
fn is_at(folder: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    folder.metadata().map(identity).ok() == fs::symlink_metadata(path).map(identity).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_a_killed_process_left_behind_is_removed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let left = place.path().join(format!("{PREFIX}left"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("age.key"), "secret").unwrap();
        let others = ["psyops-other", "elsewhere"].map(|name| place.path().join(name));
        for other in &others {
            fs::create_dir(other).unwrap();
        }
        let link = place.path().join(format!("{PREFIX}link"));
        symlink(&others[1], &link).unwrap();
        let first = Staging::within(place.path()).unwrap();
        assert!(!left.exists());
        first.write("folder/file", b"secret").unwrap();
        let second = Staging::within(place.path()).unwrap();
        assert_eq!(fs::read(first.path().join("folder/file")).unwrap(), b"secret");
        assert!(others.iter().all(|other| other.exists()) && link.is_symlink());
        let path = second.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(second);
        assert!(!path.exists() && first.path().exists());
    }
}
