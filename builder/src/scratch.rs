//! A folder for work that is removed when its value is dropped, by a signal, or at the latest by the next run.
//!
//! It is locked (`flock(2)`) as long as it is in use, and the kernel releases the lock however the process ends. So a
//! folder with such a name that is not locked was left behind; the process that makes the next one beside it removes
//! it.

use crate::leftovers::{self, Entered, Leftover};
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use tempfile::TempDir;

/// A private folder (mode 0700).
#[derive(Debug)]
pub struct Scratch {
    // In this order: the folder is removed before its lock is released, and both before it is taken from the register.
    folder: TempDir,
    _lock: File,
    _entered: Entered,
}

impl Scratch {
    /// Makes one in `place`, with a name that begins with `prefix`. Folders of this user with such names that ended
    /// processes left behind there are removed.
    pub fn within(place: &Path, prefix: &str) -> io::Result<Self> {
        sweep(place, prefix);
        loop {
            let (folder, entered) = leftovers::create(|| {
                let folder = tempfile::Builder::new()
                    .prefix(prefix)
                    .permissions(Permissions::from_mode(0o700))
                    .tempdir_in(place)?;
                let leftover = Leftover::Folder(folder.path().to_owned());
                Ok((folder, leftover))
            })?;
            // Meanwhile another process may have taken it for one that was left behind: then another one is made.
            match lock(folder.path()) {
                Ok(lock) if is_at(&lock, folder.path()) => {
                    return Ok(Self { folder, _lock: lock, _entered: entered });
                }
                Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotFound) => {
                    return Err(error);
                }
                _ => {}
            }
        }
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes folders of this user with such names that are not locked. Those that cannot be removed stay.
fn sweep(place: &Path, prefix: &str) {
    #[expect(clippy::disallowed_methods, reason = "all are removed, so there is no order")]
    let Ok(entries) = fs::read_dir(place) else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for path in names.filter(|name| name.starts_with(prefix)).map(|name| place.join(name)) {
        if let Ok(_lock) = lock(&path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Locks a folder of this user; a link is an error.
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
    let (open, there) = (folder.metadata().map(identity), fs::symlink_metadata(path).map(identity));
    matches!((open, there), (Ok(open), Ok(there)) if open == there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn leftovers_of_a_killed_process_are_removed_and_nothing_else() {
        const PREFIX: &str = "psyops-staging-";
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
        let first = Scratch::within(place.path(), PREFIX).unwrap();
        assert!(!left.exists());
        fs::write(first.path().join("file"), b"secret").unwrap();
        let second = Scratch::within(place.path(), PREFIX).unwrap();
        assert_eq!(fs::read(first.path().join("file")).unwrap(), b"secret");
        assert!(others.iter().all(|other| other.exists()) && link.is_symlink());
        let path = second.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(second);
        assert!(!path.exists() && first.path().exists());
    }
}
