//! Reading a file that only its owner may read or replace: private keys, and files beside them.
//!
//! The checks are those of ssh: a file that another user can read is not private, and a file or folder that another
//! user can write is not trusted. They are made on the open file, so nothing can change between check and use.

use crate::error::{Class, Classified};
use crate::next_command::argument;
use crate::width::{to_u64, to_usize};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The largest private file that is read, in bytes. A key file has less than 1 KiB.
const LARGEST: u64 = 1 << 20;

/// Why a private file was not read.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum PrivateFileError {
    /// The file does not exist or could not be read.
    #[error("cannot read the {what} {path}: {source}")]
    Read {
        /// What the file is, for the message.
        what: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error from opening or reading it.
        r#source: io::Error,
    },
    /// The path is a symbolic link, which another user could point to another file.
    #[error("the {what} {path} is a symbolic link")]
    Link {
        /// What the file is, for the message.
        what: &'static str,
        /// The path of the link.
        path: PathBuf,
    },
    /// The path is a folder, a pipe or a device.
    #[error("the {what} {path} is not a plain file")]
    NotAFile {
        /// What the file is, for the message.
        what: &'static str,
        /// The path that is not a file.
        path: PathBuf,
    },
    /// Other users can read the file.
    #[error("the {what} {path} has mode {mode:04o}: other users can read it")]
    TooOpen {
        /// What the file is, for the message.
        what: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The permission bits of the file.
        mode: u32,
    },
    /// The file or its folder belongs to another user, who could replace it.
    #[error("{path} is owned by user {owner}, not by user {user}, who runs this command")]
    OtherOwner {
        /// The path of the file or folder.
        path: PathBuf,
        /// The id of the user that owns it.
        owner: u32,
        /// The id of the user of this process.
        user: u32,
    },
    /// Other users can replace files in the folder.
    #[error("the folder {path} of the {what} has mode {mode:04o}: other users can replace files in it")]
    OpenFolder {
        /// What the file is, for the message.
        what: &'static str,
        /// The path of the folder.
        path: PathBuf,
        /// The permission bits of the folder.
        mode: u32,
    },
    /// The file is much larger than any key.
    #[error("the {what} {path} has more than {LARGEST} bytes")]
    TooLarge {
        /// What the file is, for the message.
        what: &'static str,
        /// The path of the file.
        path: PathBuf,
    },
}

impl PrivateFileError {
    /// Whether the file does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl Classified for PrivateFileError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read { .. } => Class::MissingInput,
            Self::NotAFile { .. } | Self::TooLarge { .. } => Class::BadContent,
            Self::Link { .. } | Self::TooOpen { .. } | Self::OtherOwner { .. } | Self::OpenFolder { .. } => {
                Class::Refused
            }
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::TooOpen { path, .. } => {
                Some(format!("allow only yourself to read it: chmod 600 {}", argument(path)))
            }
            Self::OpenFolder { path, .. } => {
                Some(format!("allow only yourself to write in it: chmod go-w {}", argument(path)))
            }
            Self::OtherOwner { path, user, .. } => Some(format!(
                "copy the file to a folder of your own; or, if it is yours, take the ownership: chown {user} {}",
                argument(path)
            )),
            Self::Link { .. } => Some("name the file itself, or move it to where the link is".into()),
            _ => None,
        }
    }
}

/// Reads a file that only its owner may read, in a folder that only its owner may write.
pub fn read_private(what: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    let read = |source| PrivateFileError::Read { what, path: path.to_owned(), source };
    // Without `O_NONBLOCK`, opening a pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => {
            return Err(PrivateFileError::Link { what, path: path.to_owned() });
        }
        Err(error) => return Err(read(error.into())),
    };
    let found = file.metadata().map_err(read)?;
    if !found.is_file() {
        return Err(PrivateFileError::NotAFile { what, path: path.to_owned() });
    }
    let user = nix::unistd::geteuid().as_raw();
    if found.uid() != user {
        return Err(PrivateFileError::OtherOwner { path: path.to_owned(), owner: found.uid(), user });
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o177 != 0 {
        return Err(PrivateFileError::TooOpen { what, path: path.to_owned(), mode });
    }
    check_folder(what, path, user)?;
    // All memory is reserved first, so that growing leaves no copy of the key in freed memory.
    let mut content =
        Zeroizing::new(Vec::with_capacity(to_usize(found.len().min(LARGEST)).saturating_add(1)));
    file.take(LARGEST + 1).read_to_end(&mut content).map_err(read)?;
    if to_u64(content.len()) > LARGEST {
        return Err(PrivateFileError::TooLarge { what, path: path.to_owned() });
    }
    Ok(content)
}

/// Checks that no other user can replace the file at `path`. In a sticky folder only the owner of the file can.
fn check_folder(what: &'static str, path: &Path, user: u32) -> Result<(), PrivateFileError> {
    let folder = folder_of(path);
    let found = fs::metadata(folder).map_err(|source| PrivateFileError::Read {
        what,
        path: folder.to_owned(),
        source,
    })?;
    if found.uid() != user && found.uid() != 0 {
        return Err(PrivateFileError::OtherOwner { path: folder.to_owned(), owner: found.uid(), user });
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return Err(PrivateFileError::OpenFolder { what, path: folder.to_owned(), mode });
    }
    Ok(())
}

/// The folder that contains `path`.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn key() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "secret").unwrap();
        set_mode(&path, 0o600);
        (folder, path)
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_folder, path) = key();
        for (mode, refused) in
            [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o620, true), (0o700, true)]
        {
            set_mode(&path, mode);
            match read_private("key", &path) {
                Ok(content) => assert!(!refused && **content == *b"secret", "{mode:o}"),
                Err(error) => {
                    assert!(refused, "{mode:o}: {error}");
                    assert!(matches!(error, PrivateFileError::TooOpen { mode: found, .. } if found == mode));
                    assert_eq!(error.class(), Class::Refused);
                }
            }
        }
    }

    #[test]
    fn a_missing_key_is_reported_with_its_path() {
        let error = read_private("signing key", Path::new("/nowhere/key")).unwrap_err();
        assert!(error.is_missing());
        assert_eq!(error.class(), Class::MissingInput);
        assert!(error.to_string().contains("/nowhere/key"), "{error}");
    }

    #[test]
    fn a_key_in_a_folder_that_others_can_write_is_refused() {
        let (folder, path) = key();
        for (mode, refused) in [(0o755, false), (0o1777, false), (0o770, true), (0o707, true)] {
            set_mode(folder.path(), mode);
            match read_private("key", &path) {
                Ok(_) => assert!(!refused, "{mode:o}"),
                Err(PrivateFileError::OpenFolder { mode: found, .. }) => {
                    assert!(refused && found == mode, "{mode:o}");
                }
                Err(other) => panic!("{other}"),
            }
        }
        set_mode(folder.path(), 0o700);
    }

    #[test]
    fn links_pipes_and_large_files_are_not_keys() {
        let (folder, path) = key();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(read_private("key", &link), Err(PrivateFileError::Link { .. })));
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(read_private("key", &pipe), Err(PrivateFileError::NotAFile { .. })));
        assert!(matches!(read_private("key", folder.path()), Err(PrivateFileError::NotAFile { .. })));
        File::options().write(true).open(&path).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(matches!(read_private("key", &path), Err(PrivateFileError::TooLarge { .. })));
    }

    #[test]
    fn a_key_of_another_user_is_refused() {
        let (folder, path) = key();
        // Only root can change the owner of a file; for other users there are the system's own files.
        if chown(&path, Some(65534), None).is_ok() {
            let error = read_private("key", &path).unwrap_err();
            assert!(matches!(error, PrivateFileError::OtherOwner { owner: 65534, .. }), "{error}");
            assert_eq!(error.class(), Class::Refused);
            chown(&path, Some(0), None).unwrap();
            chown(folder.path(), Some(65534), None).unwrap();
            let error = read_private("key", &path).unwrap_err();
            assert!(matches!(&error, PrivateFileError::OtherOwner { path, .. } if path == folder.path()));
        } else {
            let error = read_private("key", Path::new("/etc/passwd")).unwrap_err();
            assert!(matches!(error, PrivateFileError::OtherOwner { owner: 0, .. }), "{error}");
        }
    }
}
