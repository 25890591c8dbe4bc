//! What can be wrong with a file or folder of the store, and the messages for it.

use handoff::manifest::RelativePath;
use handoff::paths::AGE_KEY;
use nix::errno::Errno;
use nix::libc::nlink_t;
use nix::sys::stat::SFlag;
use std::fmt;
use std::path::{Path, PathBuf};

/// The most attribute names that a message shows: a stick can have any number of them.
const MOST_SHOWN: usize = 4;

/// The type of a name in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
}

impl FileType {
    /// The type in the `st_mode` of stat(2).
    pub(super) fn of(st_mode: nix::libc::mode_t) -> Self {
        match SFlag::from_bits_truncate(st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => Self::File,
            SFlag::S_IFDIR => Self::Folder,
            SFlag::S_IFLNK => Self::Link,
            SFlag::S_IFIFO => Self::Pipe,
            SFlag::S_IFSOCK => Self::Socket,
            _ => Self::Device,
        }
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Link => "a symbolic link",
            Self::Pipe => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
        })
    }
}

/// How a file or folder differs from what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The file, or its folder, does not exist.
    Missing,
    /// The name is not a regular file.
    Type(FileType),
    /// A folder above the file is not a folder.
    Parent {
        /// The folder, relative to the store.
        folder: PathBuf,
        /// What is in its place.
        found: FileType,
    },
    /// The content is different.
    Content,
    /// The permission bits are different.
    Mode {
        /// The bits that it should have.
        expected: u32,
        /// The bits that it has.
        found: u32,
    },
    /// The owner or group is different.
    Owner {
        /// The user and group that it should have.
        expected: (u32, u32),
        /// The user and group that it has.
        found: (u32, u32),
    },
    /// It has extended attributes, including access control lists; a store has none. Holds their names.
    Attributes(Vec<String>),
    /// Inode flags that stop root from changing it (chattr(1) `+i`, `+a`).
    Locked,
    /// It has further names (hard links), through which it can be reached too. Holds the number of all its names.
    Links(nlink_t),
    /// It cannot be read; holds the kernel's error.
    Unreadable(Errno),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Type(found) => write!(f, "is {found}, not a file"),
            Self::Parent { folder, found } => write!(f, "{} above it is {found}", folder.display()),
            Self::Content => f.write_str("content"),
            Self::Mode { expected, found } => write!(f, "mode {found:04o}, should be {expected:04o}"),
            Self::Owner { expected, found } => {
                write!(f, "owner {}:{}, should be {}:{}", found.0, found.1, expected.0, expected.1)
            }
            Self::Attributes(names) => {
                f.write_str("has attributes")?;
                for name in names.iter().take(MOST_SHOWN) {
                    write!(f, " {}", name.escape_debug())?;
                }
                match names.len().saturating_sub(MOST_SHOWN) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::Locked => f.write_str("is immutable or append-only"),
            Self::Links(count) => write!(f, "has {count} names, should have one"),
            Self::Unreadable(errno) => write!(f, "cannot be read ({})", errno.desc()),
        }
    }
}

/// A file or folder that the store must have in a certain state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A file of the manifest.
    File(RelativePath),
    /// The node's identity: only its mode, owner and attributes are compared and repaired, never its content.
    Key,
    /// A folder of the store, relative to it; the store itself is the empty path.
    Folder(PathBuf),
}

impl Subject {
    /// The path relative to the store; `/` for the store itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) => Path::new(path.as_str()),
            Self::Key => Path::new(AGE_KEY),
            Self::Folder(path) if path.as_os_str().is_empty() => Path::new("/"),
            Self::Folder(path) => path,
        }
    }

    /// The file of the manifest, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&RelativePath> {
        match self {
            Self::File(path) => Some(path),
            Self::Key | Self::Folder(_) => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}

/// A file or folder that does not match the seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The file, key or folder.
    pub subject: Subject,
    /// Everything in which it differs.
    pub what: Vec<What>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.subject)?;
        for (what, nth) in self.what.iter().zip(0_usize..) {
            if nth > 0 {
                f.write_str(", ")?;
            }
            what.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_itself_and_hostile_attribute_names_are_shown() {
        let what = vec![
            What::Mode { expected: 0o700, found: 0o755 },
            What::Attributes(["user.a\nb", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec()),
        ];
        let difference = Difference { subject: Subject::Folder(PathBuf::new()), what };
        assert_eq!(
            difference.to_string(),
            "/: mode 0755, should be 0700, has attributes user.a\\nb b c d and 2 more"
        );
    }
}
