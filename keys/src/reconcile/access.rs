//! The access to a file or folder of the store: mode, owner, extended attributes (access control lists among them),
//! inode flags and further names. It is compared on an open descriptor, and corrected on it.
//!
//! The builder writes a secret partition with the same constants.

use super::difference::What;
use handoff::manifest::Entry;
use nix::errno::Errno;
use nix::sys::stat::{FileStat, Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown, getegid, geteuid};
use rustix::fs::{IFlags, flistxattr, flistxattr_query, fremovexattr, ioctl_getflags, ioctl_setflags};
use std::os::fd::AsFd;

/// The mode of the node's identity.
pub const KEY_MODE: u32 = 0o600;
/// The mode of every folder of the store, and of the store itself.
pub const FOLDER_MODE: u32 = 0o700;

/// The longest list of attribute names that the kernel returns (`XATTR_LIST_MAX`).
const LONGEST_LIST: usize = 65536;
/// `SELinux` gives every inode this attribute, stored or not. It can only restrict access.
const LABEL: &[u8] = b"security.selinux";
/// Flags that stop root from changing or removing an inode.
const LOCKS: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

/// The mode and owner that a file or folder must have.
pub(super) struct Demand {
    mode: u32,
    owner: (u32, u32),
    is_folder: bool,
}

impl Demand {
    pub(super) fn of_entry(entry: &Entry) -> Self {
        Self {
            mode: entry.attributes.mode,
            owner: (entry.attributes.uid, entry.attributes.gid),
            is_folder: false,
        }
    }

    pub(super) fn of_key() -> Self {
        Self { mode: KEY_MODE, owner: keeper(), is_folder: false }
    }

    pub(super) fn of_folder() -> Self {
        Self { mode: FOLDER_MODE, owner: keeper(), is_folder: true }
    }

    /// How the open file or folder with this status differs from the demand.
    pub(super) fn differences(&self, opened: &impl AsFd, status: &FileStat) -> Vec<What> {
        let mut what = Vec::new();
        let mode = status.st_mode & 0o7777;
        if mode != self.mode {
            what.push(What::Mode { expected: self.mode, found: mode });
        }
        let found = (status.st_uid, status.st_gid);
        if found != self.owner {
            what.push(What::Owner { expected: self.owner, found });
        }
        match attributes(opened) {
            Ok(names) if names.is_empty() => {}
            Ok(names) => {
                let shown = names.iter().map(|name| String::from_utf8_lossy(name).into_owned());
                what.push(What::Attributes(shown.collect()));
            }
            Err(errno) => what.push(What::Unreadable(errno)),
        }
        if flags(opened).intersects(LOCKS) {
            what.push(What::Locked);
        }
        // For a folder, the link count is the number of its subfolders.
        if !self.is_folder && status.st_nlink != 1 {
            what.push(What::Links(status.st_nlink));
        }
        what
    }

    /// Corrects on the open file or folder what [`Self::differences`] finds, except further names.
    pub(super) fn impose(&self, opened: &impl AsFd) -> Result<(), Errno> {
        unlock(opened)?;
        let owner = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        fchown(opened.as_fd(), Some(owner.0), Some(owner.1))?;
        for name in attributes(opened)? {
            fremovexattr(opened, name.as_slice()).map_err(errno)?;
        }
        // An access control list changes the mode, so the mode is set last.
        fchmod(opened.as_fd(), Mode::from_bits_truncate(self.mode))
    }
}

/// The owner of files that are not in the manifest: root. If tests run as another user, that user.
fn keeper() -> (u32, u32) {
    if geteuid().is_root() { (0, 0) } else { (geteuid().as_raw(), getegid().as_raw()) }
}

/// Clears the inode flags that stop root from changing or removing the open file or folder.
pub(super) fn unlock(opened: &impl AsFd) -> Result<(), Errno> {
    let flags = flags(opened);
    if flags.intersects(LOCKS) {
        ioctl_setflags(opened, flags.difference(LOCKS)).map_err(errno)
    } else {
        Ok(())
    }
}

/// The inode flags; none if the file system does not have them.
fn flags(opened: &impl AsFd) -> IFlags {
    ioctl_getflags(opened).unwrap_or(IFlags::empty())
}

/// The names of all extended attributes.
fn attributes(opened: &impl AsFd) -> Result<Vec<Vec<u8>>, Errno> {
    let length = match flistxattr_query(opened) {
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Vec::new()),
        length => length.map_err(errno)?.min(LONGEST_LIST),
    };
    let mut list = vec![0; length];
    if length > 0 {
        let length = flistxattr(opened, &mut list[..]).map_err(errno)?;
        list.truncate(length);
    }
    let names = list.split(|&byte| byte == 0).filter(|name| !name.is_empty() && *name != LABEL);
    Ok(names.map(<[u8]>::to_vec).collect())
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
