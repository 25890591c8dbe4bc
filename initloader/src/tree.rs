//! A file tree that is another system's root: read and written as if after a chroot into it.
//!
//! Links in it are resolved inside of it (`openat2(2)` with `RESOLVE_IN_ROOT`): an absolute link in the new root must
//! not be followed into the initramfs.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The name of a half-written file, in the folder of its final path.
const TEMPORARY: &str = ".psyops-install";

/// Mode and owner of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permissions {
    /// The permission bits.
    pub(crate) mode: u32,
    /// The user id of the owner.
    pub(crate) uid: u32,
    /// The group id.
    pub(crate) gid: u32,
}

/// An open folder that is treated as a root.
pub(crate) struct Tree {
    root: OwnedFd,
}

impl Tree {
    /// The tree whose root is `path`.
    pub(crate) fn open(path: &Path) -> nix::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self { root: open(path, flags, Mode::empty())? })
    }

    /// Opens `path` in the tree.
    pub(crate) fn at(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        openat2(&self.root, path, how)
    }

    /// Writes a file, completely or not at all; a link in its place is replaced, not followed. Missing folders above it
    /// are made with mode 0755.
    pub(crate) fn install(&self, path: &Path, content: &[u8], permissions: Permissions) -> nix::Result<()> {
        let name = path.file_name().ok_or(Errno::EINVAL)?;
        let folder = self.folder(path.parent().unwrap_or(Path::new("/")))?;
        match unlinkat(&folder, TEMPORARY, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&folder, TEMPORARY, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let written =
            file.write_all(content).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)));
        let done = written
            .and_then(|()| {
                fchown(&file, Some(Uid::from_raw(permissions.uid)), Some(Gid::from_raw(permissions.gid)))
            })
            // After the owner: a change of owner clears the set-user-id bit.
            .and_then(|()| fchmod(&file, Mode::from_bits_truncate(permissions.mode)))
            .and_then(|()| renameat(&folder, TEMPORARY, &folder, name));
        if done.is_err() {
            let _ = unlinkat(&folder, TEMPORARY, UnlinkatFlags::NoRemoveDir);
        }
        done
    }

    /// Opens the folder at `path`; makes it and all missing folders above it.
    fn folder(&self, path: &Path) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        match self.at(path, flags) {
            Err(Errno::ENOENT) => {}
            done => return done,
        }
        let name = path.file_name().ok_or(Errno::EINVAL)?;
        let parent = self.folder(path.parent().ok_or(Errno::ENOENT)?)?;
        mkdirat(&parent, name, Mode::from_bits_truncate(0o755))?;
        // mkdir(2) subtracts the umask.
        let made = self.at(path, flags)?;
        fchmod(&made, Mode::from_bits_truncate(0o755))?;
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tree-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn mine(mode: u32) -> Permissions {
        Permissions { mode, uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() }
    }

    #[test]
    fn files_come_with_their_mode_and_missing_folders() {
        let root = folder("mode");
        let tree = Tree::open(&root).unwrap();
        tree.install(Path::new("/etc/ssh/key"), b"one", mine(0o600)).unwrap();
        tree.install(Path::new("/etc/ssh/key"), b"two", mine(0o4640)).unwrap();
        let file = root.join("etc/ssh/key");
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o4640);
        assert_eq!(root.join("etc/ssh").metadata().unwrap().mode() & 0o7777, 0o755);
        assert_eq!(crate::sysfs::names(root.join("etc/ssh")), ["key"]);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn links_lead_inside_and_the_last_one_is_replaced() {
        let root = folder("links");
        let outside = folder("outside");
        std::fs::write(outside.join("victim"), b"whole").unwrap();
        symlink(&outside, root.join("away")).unwrap();
        symlink(outside.join("victim"), root.join("name")).unwrap();
        let tree = Tree::open(&root).unwrap();
        // The absolute link leads to a folder inside that does not exist and that no install creates.
        assert_eq!(tree.install(Path::new("/away/file"), b"x", mine(0o600)), Err(Errno::EEXIST));
        tree.install(Path::new("/name"), b"new", mine(0o600)).unwrap();
        assert!(root.join("name").symlink_metadata().unwrap().is_file());
        assert_eq!(std::fs::read(outside.join("victim")).unwrap(), b"whole");
        assert_eq!(crate::sysfs::names(&outside), ["victim"]);
        std::fs::remove_dir_all(root).unwrap();
        std::fs::remove_dir_all(outside).unwrap();
    }

    #[test]
    fn a_folder_in_the_place_of_a_file_is_an_error_that_leaves_nothing() {
        let root = folder("folder");
        std::fs::create_dir_all(root.join("etc/hostname/x")).unwrap();
        std::fs::set_permissions(root.join("etc"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let tree = Tree::open(&root).unwrap();
        assert_eq!(tree.install(Path::new("/etc/hostname"), b"x", mine(0o644)), Err(Errno::EISDIR));
        assert_eq!(crate::sysfs::names(root.join("etc")), ["hostname"]);
        std::fs::remove_dir_all(root).unwrap();
    }
}
